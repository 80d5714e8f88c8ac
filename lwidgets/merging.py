"""One model from several, without training.

Every method returns a new `State` whose label tells how it was made; nothing it is given changes. Sums are made in
float64. Buffers are the first model's: BatchNorm statistics fit no merged model, so measure it with
``objective.measure(merged, "recalibrate")`` or as a point between models.

A method with a base works on task vectors, tau_t = model_t - base. One with objectives leaves parameters that do not
move there as the first model, or the base, has them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from lwidgets.directions import gaussian
from lwidgets.features import watch
from lwidgets.gradients import DifferentiableLoss
from lwidgets.objective import FunctionObjective, Objective
from lwidgets.parameters import Source, State
from lwidgets.subspaces import fitted, letters

Array = NDArray[np.float64]
Curvature = Literal["hessian", "fisher"]
CURVATURES: tuple[str, ...] = get_args(Curvature)

_DAMPINGS = (math.inf, 100.0, 10.0, 1.0, 0.1, 0.01, 0.001, 0.0)  # the first of equals wins: the plain mean
_SMALL = 1e-10  # of the largest eigenvalue or singular value: below it is rounding


def average(*models: Source, weights: Sequence[float] | None = None) -> State:
    """The mean of the parameters.

    Args:
        *models: One or more.
        weights: One for each; they are divided by their sum. By default all alike.

    Raises:
        ValueError: A model does not fit the first, and the message has the key; or weights that cannot be.

    Example:
        >>> average({"w": torch.tensor([1.0, 2.0])}, {"w": torch.tensor([3.0, 6.0])}).parameters["w"].tolist()
        [2.0, 4.0]
    """
    states = _states("average", models)
    shares = _shares("average", weights, len(states))
    return _made(
        "average",
        states,
        lambda name: sum(c * state.parameters[name].double() for c, state in zip(shares, states, strict=True)),
    )


def task_arithmetic(base: Source, *models: Source, scale: float = 1.0) -> State:
    r"""The base and the sum of the task vectors, :math:`\theta_0 + \lambda \sum_t \tau_t`.

    Source: Ilharco et al., "Editing Models with Task Arithmetic", ICLR 2023.

    Args:
        base: What the models were trained from.
        *models: One or more; of one, scale 1 returns it and scale -1 forgets it.
        scale: lambda.

    Raises:
        ValueError: A model does not fit the base.
    """
    start, *states = _states("task_arithmetic", (base, *models), fewest=2)
    return _moved("task arithmetic", start, states, lambda name, taus: scale * sum(taus))


def ties(base: Source, *models: Source, keep: float = 0.2, scale: float = 1.0) -> State:
    """Trim, elect signs, merge: means over those entries that agree with the sign of most of the mass.

    Source: Yadav et al., "TIES-Merging: Resolving Interference When Merging Models", NeurIPS 2023, section 4.

    Args:
        base: What the models were trained from.
        *models: One or more.
        keep: Share of the entries of a task vector that are kept, those of the largest magnitude, in (0, 1].
        scale: Of the merged task vector.

    Raises:
        ValueError: A model does not fit the base; a share out of range.
    """
    start, *states = _states("ties", (base, *models), fewest=2)
    _in_range("ties", "keep", keep, 0 < keep <= 1, "(0, 1]")
    least = [_threshold(start, state, keep) for state in states]

    def merged(name: str, taus: list[Tensor]) -> Tensor:
        kept = torch.stack([torch.where(tau.abs() >= bound, tau, 0.0) for tau, bound in zip(taus, least, strict=True)])
        agree = kept.sum(dim=0).sign() == kept.sign()
        return scale * torch.where(agree, kept, 0.0).sum(dim=0) / agree.sum(dim=0).clamp(min=1)

    return _moved(f"ties, keep {keep:g}", start, states, merged)


def dare(base: Source, *models: Source, drop: float = 0.9, scale: float = 1.0, seed: int = 0) -> State:
    """Drop entries of the task vectors at random, rescale the others by 1 / (1 - drop), and add all up.

    Source: Yu et al., "Language Models are Super Mario", ICML 2024.

    Args:
        base: What the models were trained from.
        *models: One or more; model i is thinned out with seed + i.
        drop: Share of the entries, in [0, 1).
        scale: Of the sum.
        seed: Which entries.

    Raises:
        ValueError: A model does not fit the base; a share out of range.
    """
    start, *states = _states("dare", (base, *models), fewest=2)
    _in_range("dare", "drop", drop, 0 <= drop < 1, "[0, 1)")

    def merged(name: str, taus: list[Tensor]) -> Tensor:
        uniform = (torch.special.ndtr(gaussian(seed + i, name, tau.shape)).to(tau) for i, tau in enumerate(taus))
        kept = [torch.where(chance >= drop, tau, 0.0) for chance, tau in zip(uniform, taus, strict=True)]
        return torch.as_tensor(scale / (1 - drop) * sum(kept))

    return _moved(f"dare, drop {drop:g}, seed {seed}", start, states, merged)


def isotropic(base: Source, *models: Source, scale: float = 1.0) -> State:
    """The sum of the task vectors with all singular values of a matrix made their mean (Iso-C).

    Tensors of more than two axes count as matrices of (filters, entries); of those with fewer, the mean is added.

    Source: Marczak et al., "No Task Left Behind: Isotropic Model Merging with Common and Task-Specific Subspaces",
    ICML 2025.

    Args:
        base: What the models were trained from.
        *models: One or more.
        scale: Of the merged task vector.

    Raises:
        ValueError: A model does not fit the base.
    """
    start, *states = _states("isotropic", (base, *models), fewest=2)

    def merged(name: str, taus: list[Tensor]) -> Tensor:
        total = torch.stack(taus).sum(dim=0)
        if total.ndim < 2:
            return torch.as_tensor(scale * total / len(taus))
        left, sizes, right = torch.linalg.svd(total.flatten(1), full_matrices=False)
        return torch.as_tensor(scale * sizes.mean() * (left @ right).reshape(total.shape))

    return _moved("isotropic", start, states, merged)


def fisher(
    models: Sequence[Source],
    objectives: Objective | Sequence[Objective],
    *,
    examples: int = 256,
    weights: Sequence[float] | None = None,
) -> State:
    r"""The mean of the parameters weighted by Fisher information, :math:`\sum_t F_t \theta_t / \sum_t F_t`.

    A parameter that no model is sensitive to is averaged.

    Source: Matena, Raffel, "Merging Models with Fisher-Weighted Averaging", NeurIPS 2022; F is the empirical diagonal,
    see `fisher_diagonal`.

    Args:
        models: One or more.
        objectives: Each model's own task, or one for all.
        examples: How many of each task's data F is averaged over.
        weights: Of the tasks; by default all alike.

    Raises:
        ValueError: A model does not fit; the numbers of models and objectives differ.
    """
    tasks = _tasks("fisher", models, objectives)
    states = [state for _, state in tasks]
    shares = _shares("fisher", weights, len(states))
    information = [fisher_diagonal(objective, state, examples=examples) for objective, state in tasks]

    def merged(name: str) -> Tensor:
        thetas = [state.parameters[name].double() for state in states]
        if name not in information[0]:
            return thetas[0]
        each = [c * f[name] for c, f in zip(shares, information, strict=True)]
        total: Tensor = torch.stack(each).sum(dim=0)
        weighted = torch.stack([f * theta for f, theta in zip(each, thetas, strict=True)]).sum(dim=0)
        mean = torch.stack([c * theta for c, theta in zip(shares, thetas, strict=True)]).sum(dim=0)
        return torch.where(total > 0, weighted / total.where(total > 0, 1.0), mean)

    return _made("fisher", states, merged)


def fisher_diagonal(objective: Objective, source: Source, *, examples: int = 256) -> dict[str, Tensor]:
    """The mean over examples of the squared gradient of the loss, for every parameter that moves; float64.

    This is the empirical Fisher information where the loss is a negative log-likelihood: labels are the data's.

    Args:
        objective: Whose loss and data; of data that cannot be divided, a batch counts as an example.
        source: Where.
        examples: How many, spread evenly over the labels.
    """
    total: dict[str, Tensor] = {}
    count = 0
    for slope in _slopes(objective, objective.space.select(State.of(source), objective.device), examples):
        count += 1
        for name, g in slope.items():
            total[name] = total.get(name, 0) + g.double().square()
    return {name: tensor / count for name, tensor in total.items()}


def regmean(
    models: Sequence[Source], objectives: Objective | Sequence[Objective], *, off_diagonal: float = 0.9
) -> State:
    r"""Linear layers whose outputs are nearest to those of each model on its own inputs; all else is averaged.

    .. math:: W = \big( \sum_t X_t^\top X_t \big)^{-1} \sum_t X_t^\top X_t W_t

    with a bias as the weight of one more input, which is 1. Where no input varies, weights are averaged. For linear
    regressions that fit their own data best, and off_diagonal = 1, this is the best fit to all data together.

    Source: Jin et al., "Dataless Knowledge Fusion by Merging Weights of Language Models", ICLR 2023, who average
    biases.

    Args:
        models: One or more.
        objectives: Each model's own task, or one for all.
        off_diagonal: What inner products of different inputs are multiplied by, in [0, 1]; less than 1 regularises.

    Raises:
        ValueError: A model does not fit; the numbers of models and objectives differ; a share out of range.
    """
    _in_range("regmean", "off_diagonal", off_diagonal, 0 <= off_diagonal <= 1, "[0, 1]")
    tasks = _tasks("regmean", models, objectives)
    states = [state for _, state in tasks]
    products = [_input_products(objective, state) for objective, state in tasks]
    solved: dict[str, Tensor] = {}
    for layer in set.intersection(*(set(each) for each in products)):
        grams = [each[layer] for each in products]
        grams = [off_diagonal * gram + (1 - off_diagonal) * gram.diagonal().diag() for gram in grams]
        names = _weights_of(layer, tasks[0][0].module)
        wide = [
            torch.cat([s.parameters[n].double().reshape(len(s.parameters[n]), -1) for n in names], dim=1).T
            for s in states
        ]
        mean = torch.stack(wide).mean(dim=0)
        pull = torch.stack([gram @ (w - mean) for gram, w in zip(grams, wide, strict=True)]).sum(dim=0)
        best = (mean + torch.linalg.pinv(torch.stack(grams).sum(dim=0), rtol=_SMALL, hermitian=True) @ pull).T
        widths = [states[0].parameters[name][0].numel() for name in names]
        solved |= dict(zip(names, best.split(widths, dim=1), strict=True))

    def merged(name: str) -> Tensor:
        thetas = [state.parameters[name].double() for state in states]
        if name in solved:
            return solved[name].reshape(thetas[0].shape)
        return torch.stack(thetas).mean(dim=0) if name in tasks[0][0].space.moved else thetas[0]

    return _made("regmean", states, merged)


def epimer(
    base: Source,
    models: Sequence[Source],
    objectives: Objective | Sequence[Objective],
    *,
    rank: int | None = 8,
    scale: float = 1.0,
    curvature: Curvature = "hessian",
    damping: float | None = None,
    examples: int = 256,
) -> State:
    r"""The curvature-weighted Fréchet mean of the models, in the subspace of their task vectors.

    The subspace is spanned by the leading singular directions :math:`u v^\top` of each tensor of each task vector, made
    orthonormal together. In it, with H_t the curvature of task t at its model and d_t the coordinates of its task
    vector, the mean is :math:`(\sum_t H_t)^{-1} \sum_t H_t d_t`; see `frechet_mean`. The label has its gain over the
    plain mean, as predicted, and the damping.

    The Hessian of a well-trained classifier sees a part of what the loss rises by on the way to the mean, so a full
    step may overshoot, and damping is chosen by measuring. On networks trained on digits upright and rotated it sees a
    half, and the error is less than half of the plain mean's; on two halves of the classes a sixth, and only the loss
    falls, not the error.

    Source: EpiMer, which whitens the factors u and v instead of their products, scales by alpha = scale / T, and does
    not damp.

    Args:
        base: What the models were trained from.
        models: One or more.
        objectives: Each model's own task, or one for all.
        rank: Singular directions of each tensor and task; None for all, so that the task vectors lie in the subspace.
        scale: Of the mean.
        curvature: "hessian": a Hessian-vector product for every direction, negative eigenvalues set to 0; "fisher":
            gradients of single examples.
        damping: See `frechet_mean`. None: whichever of 0, powers of 10 from 0.001 to 100, and no step from the plain
            mean in the subspace has the lowest sum of losses on all data of the objectives.
        examples: How many gradients "fisher" takes of each task.

    Raises:
        ValueError: A model does not fit; the numbers of models and objectives differ; an unknown curvature; a negative
            damping.
    """
    if curvature not in CURVATURES or (rank is not None and rank < 1):
        raise ValueError(
            f"epimer: curvature must be one of {', '.join(CURVATURES)} and rank at least 1, got {curvature!r} and "
            f"{rank}. Leave them out for the usual."
        )
    if damping is not None:
        _in_range("epimer", "damping", damping, damping >= 0, "[0, inf]")
    tasks = _tasks("epimer", models, objectives)
    states = [state for _, state in tasks]
    start = tasks[0][0].space.select(State.of(base), tasks[0][0].device)
    taus = [
        {name: state.parameters[name].double() - start.parameters[name].double() for name in tasks[0][0].space.moved}
        for state in states
    ]
    atoms = {name: _atoms([tau[name] for tau in taus], rank) for name in taus[0]}

    def inside(vector: Mapping[str, Tensor]) -> Array:
        parts = [atoms[name] @ vector[name].double().flatten() for name in atoms]
        return np.asarray(torch.cat(parts).cpu().numpy(), dtype=np.float64)

    curved = [
        _hessian_inside(objective, state, atoms, inside)
        if curvature == "hessian"
        else np.mean([np.outer(g, g) for g in map(inside, _slopes(objective, state, examples))], axis=0)
        for objective, state in tasks
    ]
    points = [inside(tau) for tau in taus]
    sizes = [len(each) for each in atoms.values()]

    def merged(damping: float) -> State:
        mean, gain = frechet_mean(curved, points, damping=damping)
        shares = dict(zip(atoms, torch.as_tensor(scale * mean).split(sizes), strict=True))

        def make(name: str) -> Tensor:
            here = start.parameters[name].double()
            return here + (shares[name].to(here) @ atoms[name]).reshape(here.shape) if name in atoms else here

        return _made(f"epimer, gain {gain:.3g}, damping {damping:g}", [start, *states], make, skip=1)

    def loss(state: State) -> float:
        found = sum(each.measure(state, each.resolve(between_models=True))["loss"] for each, _ in tasks)
        return found if math.isfinite(found) else math.inf

    return merged(damping) if damping is not None else min(map(merged, _DAMPINGS), key=loss)


def frechet_mean(
    curvatures: ArrayLike, points: ArrayLike, weights: Sequence[float] | None = None, *, damping: float = 0.0
) -> tuple[Array, float]:
    r"""The point that is nearest to all points, each by its own curvature; and how much nearer than their mean.

    Minimises :math:`F(d) = \sum_t \lambda_t (d - d_t)^\top H_t (d - d_t)`; where no task is curved, the mean stays:

    .. math:: d = \bar d + \bar H^{-1} c, \quad \bar H = \sum_t \lambda_t H_t, \quad
              c = \sum_t \lambda_t (H_t - \bar H)(d_t - \bar d), \quad \eta = F(\bar d) - F(d) = c^\top \bar H^{-1} c

    Args:
        curvatures: Symmetric, positive semidefinite, shape (T, m, m).
        points: Shape (T, m).
        weights: lambda, divided by their sum; by default all alike.
        damping: So many times the mean eigenvalue of H is added to all of them, which draws the point to the mean; at
            infinity it is the mean.

    Returns:
        The point, shape (m,), and eta, of the damped point where there is damping.

    Raises:
        ValueError: Weights that cannot be.

    Example:
        >>> frechet_mean([[[3.0]], [[1.0]]], [[0.0], [4.0]])
        (array([1.]), 2.0)
    """
    h, d = np.asarray(curvatures, dtype=np.float64), np.asarray(points, dtype=np.float64)
    shares = np.array(_shares("frechet_mean", weights, len(d)))
    flat = np.asarray(shares @ d)
    if math.isinf(damping):
        return flat, 0.0
    pull = np.einsum("t,tij,tj->i", shares, h, d - flat)
    together = np.einsum("t,tij->ij", shares, h)
    ridge = damping * np.trace(together) / max(1, len(flat)) * np.eye(len(flat))
    step = np.linalg.pinv(together + ridge, rcond=_SMALL, hermitian=True) @ pull
    return flat + step, float((2 * pull - together @ step) @ step)


def _states(asking: str, models: Sequence[Source], fewest: int = 1) -> tuple[State, ...]:
    if len(models) < fewest:
        raise ValueError(
            f"{asking}: models must be one or more, got none. Pass for example {asking}({'base, ' * (fewest - 1)}a, b)."
        )
    space, states = fitted(models, letters(len(models)))
    device = next(iter(states[0].parameters.values())).device
    return tuple(space.select(state, device) for state in states)


def _tasks(
    asking: str, models: Sequence[Source], objectives: Objective | Sequence[Objective]
) -> list[tuple[Objective, State]]:
    each = [objectives] * len(models) if isinstance(objectives, Objective) else list(objectives)
    if not models or len(each) != len(models):
        raise ValueError(
            f"{asking}: objectives must be one for each of one or more models, got {len(each)} for {len(models)}. "
            "Pass a list of each, or one objective for all."
        )
    states = [State.of(model) for model in models]
    return [
        (objective, objective.space.select(replace(state, label=f"{letter}: {state.label}"), objective.device))
        for objective, state, letter in zip(each, states, letters(len(states)), strict=True)
    ]


def _made(told: str, states: Sequence[State], make: Callable[[str], Any], skip: int = 0) -> State:
    first = states[0]
    parameters = {name: torch.as_tensor(make(name)).to(tensor, copy=True) for name, tensor in first.parameters.items()}
    names = ", ".join(state.label.partition(": ")[2] or state.label for state in states[skip:])
    return State(parameters, {name: b.clone() for name, b in first.buffers.items()}, f"{told} of {names}")


def _moved(told: str, start: State, states: Sequence[State], merge: Callable[[str, list[Tensor]], Any]) -> State:
    def make(name: str) -> Tensor:
        here = start.parameters[name].double()
        moved: Tensor = here + merge(name, [state.parameters[name].double() - here for state in states])
        return moved

    return _made(told, [start, *states], make, skip=1)


def _threshold(start: State, state: State, keep: float) -> float:
    """The magnitude of the smallest entry that is kept of a task vector."""
    sizes = torch.cat(
        [
            (state.parameters[name].double() - tensor.double()).abs().flatten()
            for name, tensor in start.parameters.items()
        ]
    )
    count = max(1, round(keep * len(sizes)))
    return float(sizes.kthvalue(len(sizes) - count + 1).values)


def _slopes(objective: Objective, state: State, count: int) -> Iterator[dict[str, Tensor]]:
    """Gradients of the loss on single examples."""
    loss = DifferentiableLoss(objective, state, _own_statistics(objective))
    for example in _examples(objective, count):
        yield loss.gradient(state.parameters, example)


def _examples(objective: Objective, count: int) -> Iterator[Any]:
    if isinstance(objective, FunctionObjective):
        yield None
        return
    part = objective.part(count)
    cut = None if part is None else part.data.cut
    if part is None or cut is None:
        yield from (batch for batch, weight in objective.data if weight)
        return
    (batch,) = part.data.batches
    for i in range(part.samples):
        yield cut.take(batch, [i])


def _own_statistics(objective: Objective) -> str:
    """The BatchNorm mode at a trained model: its own running statistics where there are any."""
    mode = objective.resolve(between_models=False)
    return "frozen" if mode == "recalibrate" else mode


def _input_products(objective: Objective, state: State) -> dict[str, Tensor]:
    """X^T X of the inputs of every linear layer that has its weights for itself, with a column of ones for a bias."""
    space, found = objective.space, dict[str, Tensor]()
    if isinstance(objective, FunctionObjective):
        raise ValueError("regmean: objective must have a model, got an analytic one. Use Objective(model, data).")
    alone = set(space.moved) - set(space.aliases.values())
    layers = {
        name: part
        for name, part in objective.module.named_modules()
        if isinstance(part, nn.Linear) and alone.issuperset(_weights_of(name, objective.module))
    }

    def see(name: str, inputs: Any, output: Any) -> None:
        x = inputs[0].detach().reshape(-1, inputs[0].shape[-1]).double()
        if layers[name].bias is not None:
            x = torch.cat([x, x.new_ones(len(x), 1)], dim=1)
        found[name] = found.get(name, 0) + x.T @ x

    watch(objective, state, layers, see, batchnorm=_own_statistics(objective))
    return found


def _weights_of(layer: str, module: nn.Module) -> list[str]:
    """Names of the weight and of the bias, if it has one, of a linear layer."""
    return [f"{layer}.{name}".lstrip(".") for name, _ in module.get_submodule(layer).named_parameters(recurse=False)]


def _atoms(taus: Sequence[Tensor], rank: int | None) -> Tensor:
    """Orthonormal rows that span the leading singular directions of one tensor of all tasks, (atoms, entries)."""
    rows = []
    for tau in taus:
        matrix = tau.flatten(1) if tau.ndim > 1 else tau.reshape(-1, 1)
        left, sizes, right = torch.linalg.svd(matrix, full_matrices=False)
        count = int((sizes[:rank] > _SMALL * sizes.max()).sum()) if sizes.numel() else 0
        rows += [torch.outer(left[:, i], right[i]).flatten() for i in range(count)]
    if not rows:
        return taus[0].new_zeros(0, taus[0].numel())
    _, sizes, spanned = torch.linalg.svd(torch.stack(rows), full_matrices=False)
    return torch.as_tensor(spanned[sizes > _SMALL * sizes[0]])


def _hessian_inside(
    objective: Objective, state: State, atoms: Mapping[str, Tensor], inside: Callable[[Mapping[str, Tensor]], Array]
) -> Array:
    """The Hessian in the coordinates of the atoms, its negative eigenvalues set to 0."""
    loss = DifferentiableLoss(objective, state, _own_statistics(objective))
    columns = [
        inside(loss.hessian_product(state.parameters, {name: row.reshape(like.shape).to(like)}))
        for name, rows in atoms.items()
        for like in (state.parameters[name],)
        for row in rows
    ]
    matrix = np.array(columns).reshape(len(columns), len(columns))
    sizes, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return np.asarray((vectors * sizes.clip(0)) @ vectors.T)


def _shares(asking: str, weights: Sequence[float] | None, count: int) -> list[float]:
    given = np.asarray([1.0] * count if weights is None else weights, dtype=np.float64)
    if given.shape != (count,) or not (np.isfinite(given).all() and given.sum() > 0):
        raise ValueError(
            f"{asking}: weights must be {count} numbers with a positive sum, got {weights}. Leave them out for a mean."
        )
    return [float(w) for w in given / given.sum()]


def _in_range(asking: str, name: str, value: float, right: bool, interval: str) -> None:
    if not right:
        raise ValueError(f"{asking}: {name} must lie in {interval}, got {value}. Leave it out for the usual.")
