"""Paths and sets of low loss between models, found by training.

Sources: Garipov et al., "Loss Surfaces, Mode Connectivity, and Fast Ensembling of DNNs", NeurIPS 2018, section 3;
Fort, Jastrzebski, "Large Scale Structure of Neural Network Loss Landscapes", NeurIPS 2019, on m-connectors;
Benton et al., "Loss Surface Simplexes for Mode Connecting Volumes and Fast Ensembling", ICML 2021, section 4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lwidgets.basis import combination, inner
from lwidgets.directions import Gaussian
from lwidgets.gradients import DifferentiableLoss
from lwidgets.objective import Objective
from lwidgets.parameters import Source, State
from lwidgets.progress import Progress
from lwidgets.subspaces import Bezier, Chain, Simplex

Connector = Literal["bezier", "chain"]
CONNECTORS: tuple[str, ...] = get_args(Connector)

"""Called after every step with (steps done, steps in all); raise in it to stop."""

_Point = dict[str, Tensor]
_PARALLEL = 1e-12  # of the largest eigenvalue of edges' inner products: below it an edge is one of the others
_APART = 0.01  # of each tensor's norm, how far a new vertex of a simplex starts from the middle of the others


def connect(
    objective: Objective,
    a: Source,
    b: Source,
    kind: Connector = "bezier",
    *,
    bends: int = 1,
    steps: int = 1500,
    batch: int = 128,
    lr: float = 1e-2,
    seed: int = 0,
    progress: Progress | None = None,
) -> Bezier | Chain:
    r"""Train the bends of a curve between two models, so that the loss stays low on the way.

    Minimises :math:`E_{t \sim U(0, 1)} L(\theta(t))` by Adam, with one t and one mini-batch a step. Bends start on the
    line, ends never move. The rate is constant for half of the steps, then falls linearly to 1 % of itself at nine
    tenths. Where BatchNorm is recalibrated between models, training uses each mini-batch's own statistics.

    Args:
        objective: Its loss on its data; the parameters that move there are trained.
        a: The model at t = 0.
        b: The model at t = 1.
        kind: "bezier" or "chain".
        bends: How many.
        steps: Of training.
        batch: Examples a step; a batch of the data that cannot be divided into examples is taken whole.
        lr: Adam's rate in the first half.
        seed: Of t and the mini-batches.
        progress: Called after every step.

    Returns:
        The curve; its ends are the models to the last bit.

    Raises:
        ValueError: An unknown kind, a number out of range, or models that do not fit.

    Example:
        >>> import lwidgets as lw, torch
        >>> ring = lw.Objective.from_function(lambda u: (u.square().sum(dim=1) - 1).square(), dim=2)
        >>> a, b = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
        >>> straight, curved = lw.Line(a, b), connect(ring, a, b, steps=300)
        >>> [round(ring.measure(path.point([0.5]))["loss"], 2) for path in (straight, curved)]
        [0.25, 0.0]
    """
    if kind not in CONNECTORS:
        raise ValueError(f"connect: kind must be one of {', '.join(CONNECTORS)}, got {kind!r}. Use bezier.")
    _at_least_one("connect", bends=bends, steps=steps, batch=batch)
    ends = State.of(a), State.of(b)
    line = Simplex(*ends).bound(objective.space, objective.device)
    between = [line.point([i / (bends + 1)]) for i in range(1, bends + 1)]
    curve = Bezier if kind == "bezier" else Chain
    path = curve(ends[0], *between, ends[1]).bound(objective.space, objective.device)
    found = _train(
        objective,
        path.vertices,
        bends=range(1, bends + 1),
        draw=lambda rng: path.coefficients([rng.random()]),
        steps=steps,
        batch=batch,
        lr=lr,
        seed=seed,
        progress=progress,
    )
    return curve(ends[0], *found, ends[1]).bound(objective.space, objective.device)


def connector(
    objective: Objective,
    *models: Source,
    steps: int = 500,
    batch: int = 128,
    lr: float = 3e-3,
    seed: int = 0,
    progress: Progress | None = None,
) -> State:
    """Train a model that straight lines of low loss may join to all the given ones.

    It starts in the mean of the models and minimises the loss there by Adam, as in `connect`, orthogonal to all their
    differences: the gradient and every step are projected. Nothing is trained on the way, so whether the loss is low on
    the lines is a finding. For two models c is the corner of ``Chain(a, c, b)``. For three it is a vertex of
    ``Simplex(a, ab, c)``, where ab is the connector of a and b alone; the line from a to b is as high as ever.

    Args:
        objective: Its loss on its data; the parameters that move there are trained.
        *models: Two or more.
        steps: Of training.
        batch: Examples a step.
        lr: Adam's rate in the first half; at larger ones the connector ends further away, and the lines rise.
        seed: Of the mini-batches.
        progress: Called after every step.

    Returns:
        The connector.

    Raises:
        ValueError: Fewer than two models, a number out of range, or models that do not fit.

    Example:
        >>> import lwidgets as lw, torch
        >>> ring = lw.Objective.from_function(lambda u: (u.square().sum(dim=1) - 1).square(), dim=3)
        >>> c = connector(ring, torch.tensor([0.6, 0.8, 0.0]), torch.tensor([0.6, -0.8, 0.0]))
        >>> c.parameters["x"].numpy().round(3)
        array([1., 0., 0.])
    """
    if len(models) < 2:
        raise ValueError(f"connector: models must be two or more, got {len(models)}. Pass connector(objective, a, b).")
    _at_least_one("connector", steps=steps, batch=batch)
    if not lr > 0:
        raise ValueError(f"connector: lr must be above 0, got {lr}. Leave it out for the usual.")
    hull = Simplex(*models).bound(objective.space, objective.device)
    first, *others = [{name: v.parameters[name] for name in objective.space.moved} for v in hull.vertices]
    (found,) = _train(
        objective,
        [hull.point([1 / len(models)] * len(others))],
        bends=[0],
        draw=lambda _: np.ones((1, 1)),
        steps=steps,
        batch=batch,
        lr=lr,
        seed=seed,
        progress=progress,
        free=_beside([_difference(other, first) for other in others]),
    )
    return replace(found, label=f"connector {found.label}")


def simplexes(
    objective: Objective,
    *models: Source,
    vertices: int = 1,
    volume: float = 1.0,
    steps: int = 1500,
    batch: int = 128,
    lr: float = 1e-2,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Simplex, ...]:
    r"""Grow simplices of low loss, one at each model, that share all of their other vertices.

    From one model this explores the valley around it. From several it connects them: every model is a vertex of its own
    simplex, and the shared vertices lead from one to the next. Each new vertex starts in the middle of what is there
    and is trained while the others stay, by Adam as in `connect`, to minimise

    .. math:: \frac1m \sum_{i=1}^m \big( E_{\theta \sim U(S_i)} L(\theta) - \lambda \log \text{Vol}(S_i) \big),

    with one point of each simplex a step. The volume's gradient is added beside Adam's step, as weight decay is in
    AdamW: Adam would take full steps where the loss does not depend on a weight, however small lambda is.

    Args:
        objective: Its loss on its data; the parameters that move there are trained.
        *models: One or more.
        vertices: How many are added.
        volume: lambda; by itself it moves a vertex about sqrt(2 lr lambda steps) away from the others.
        steps: Of training, for each new vertex.
        batch: Examples a step.
        lr: Adam's rate in the first half.
        seed: Of the points, the mini-batches and the start.
        progress: Called after every step.

    Returns:
        ``Simplex(model, *new)`` for each model.

    Raises:
        ValueError: No model, a number out of range, or models that do not fit.

    Example:
        >>> import lwidgets as lw, torch
        >>> valley = lw.Objective.from_function(lambda u: (u[:, 0] ** 2 - u[:, 1]) ** 2 + u[:, 2] ** 2, dim=3)
        >>> models = [torch.tensor([x, x**2, 0.0]) for x in (-1.0, 1.0)]
        >>> left, right = simplexes(valley, *models, steps=300)
        >>> bool((left.vertices[1].parameters["x"] == right.vertices[1].parameters["x"]).all())
        True
    """
    if not models:
        raise ValueError("simplexes: models must be one or more, got none. Pass simplexes(objective, a, b).")
    _at_least_one("simplexes", vertices=vertices, steps=steps, batch=batch)
    states = [State.of(model) for model in models]
    points = [objective.space.select(state, objective.device) for state in states]
    count = len(points)

    def draw(rng: np.random.Generator) -> NDArray[np.float64]:
        shares = rng.exponential(size=(count, len(points) - count + 1))
        shares /= shares.sum(axis=1, keepdims=True)
        return np.hstack([np.diag(shares[:, 0]), shares[:, 1:]])

    def outwards(vectors: Sequence[_Point]) -> _Point:
        *others, new = vectors
        each = [_away(new, [others[i], *others[count:]]) for i in range(count)]
        return {name: volume * torch.stack([away[name] for away in each]).mean(dim=0) for name in new}

    for i in range(vertices):
        points.append(_middle(objective, points, seed + i))
        points[-1:] = _train(
            objective,
            points,
            bends=[len(points) - 1],
            draw=draw,
            steps=steps,
            batch=batch,
            lr=lr,
            seed=seed + i,
            progress=None if progress is None else _shifted(progress, i * steps, vertices * steps),
            pull=outwards if volume else None,
        )
    return tuple(Simplex(state, *points[count:]).bound(objective.space, objective.device) for state in states)


def _train(
    objective: Objective,
    vertices: Sequence[State],
    *,
    bends: Sequence[int],
    draw: Callable[[np.random.Generator], NDArray[np.float64]],
    steps: int,
    batch: int,
    lr: float,
    seed: int,
    progress: Progress | None,
    pull: Callable[[Sequence[_Point]], _Point] | None = None,
    free: Callable[[_Point], _Point] | None = None,
) -> list[State]:
    """Train some of the vertices on the mean loss of drawn combinations.

    Args:
        objective: Of which the loss.
        vertices: K points of its space.
        bends: Which of them are trained.
        draw: Coefficients of the points of one step, shape (n, K).
        steps: Of Adam.
        batch: Examples a step.
        lr: The rate.
        seed: Of ``draw`` and mini-batches.
        progress: Called after every step.
        pull: Moves the last vertex beside Adam, at the same rate.
        free: What is allowed of a movement away from the start: a projection, by default all.
    """
    origin, mode = vertices[0], objective.resolve(between_models=True)
    loss = DifferentiableLoss(objective, origin, "batch" if mode == "recalibrate" else mode)
    vectors = [{name: v.parameters[name] for name in loss.names} for v in vertices]
    for k in bends:
        vectors[k] = {name: tensor.clone() for name, tensor in vectors[k].items()}
    optimizer = torch.optim.Adam([tensor for k in bends for tensor in vectors[k].values()], lr=lr)
    rng = np.random.default_rng(seed)
    batches = objective.mini_batches(batch, rng)
    for step in range(steps):
        rows, examples = draw(rng), next(batches)
        found = [loss.gradient(_combined(row, vectors), examples) for row in rows]
        for k in bends:
            slope = {
                name: sum((row[k] * g[name] for row, g in zip(rows, found, strict=True)), torch.zeros_like(tensor))
                for name, tensor in vectors[k].items()
            }
            for name, tensor in (slope if free is None else free(slope)).items():
                vectors[k][name].grad = tensor
        rate = lr * _rate(step / steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        aside = {} if pull is None else pull(vectors)
        optimizer.step()
        for name, tensor in aside.items():
            vectors[-1][name].add_(tensor, alpha=rate)
        if free is not None:  # Adam scales each weight by itself, which leads out of any subspace
            for k in bends:
                start = vertices[k].parameters
                for name, tensor in free(_difference(vectors[k], start)).items():
                    torch.add(start[name], tensor, out=vectors[k][name])
        if progress is not None:
            progress(step + 1, steps)
    told = f"trained {steps} steps, seed {seed}"
    return [replace(origin, parameters={**origin.parameters, **vectors[k]}, label=told) for k in bends]


def _rate(done: float) -> float:
    """Garipov's schedule: constant to one half, linear to 1 % at nine tenths."""
    return 1 - 0.99 * min(1.0, max(0.0, (done - 0.5) / 0.4))


def _combined(row: NDArray[np.float64], vectors: Sequence[_Point]) -> _Point:
    point = {name: torch.empty_like(tensor) for name, tensor in vectors[0].items()}
    for name, out in point.items():
        combination(row, [vector[name] for vector in vectors], out)
    return point


def _middle(objective: Objective, points: Sequence[State], seed: int) -> State:
    """The mean of the points, a little off them all."""
    vectors = [{name: p.parameters[name] for name in objective.space.moved} for p in points]
    mean = _combined(np.full(len(points), 1 / len(points)), vectors)
    state = replace(points[0], parameters={**points[0].parameters, **mean})
    off = Gaussian(seed, "layer", zero_1d=False).vector(state, objective.space)
    return replace(state, parameters={**state.parameters, **{n: t + _APART * off[n] for n, t in mean.items()}})


def _away(vertex: Mapping[str, Tensor], others: Sequence[Mapping[str, Tensor]]) -> _Point:
    """The gradient of log Vol by one vertex: r / |r|^2 with r what leads to it from the plane through the others."""
    edges = [_difference(other, others[0]) for other in others[1:]]
    r = _beside(edges)(_difference(vertex, others[0]))
    square = inner(r, r)
    return {name: tensor / square if square > 0 else tensor for name, tensor in r.items()}


def _beside(edges: Sequence[_Point]) -> Callable[[_Point], _Point]:
    """The projection orthogonal to all edges."""
    gram = np.array([[inner(e, f) for f in edges] for e in edges]).reshape(len(edges), len(edges))
    inverse = np.linalg.pinv(gram, rcond=_PARALLEL, hermitian=True)

    def project(vector: _Point) -> _Point:
        shares = inverse @ np.array([inner(e, vector) for e in edges])
        return _combined(np.array([1.0, *-shares]), [vector, *edges])

    return project


def _difference(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> _Point:
    return {name: tensor - b[name] for name, tensor in a.items()}


def _shifted(progress: Progress, done: int, total: int) -> Progress:
    return lambda step, _: progress(done + step, total)


def _at_least_one(asking: str, **numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{asking}: {name} must be at least 1, got {number}. Leave it out for the usual.")
