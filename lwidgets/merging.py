"""One model from several, without training.

Every method takes models one by one, the base first where it has one, and returns a new `State` whose label tells how
it was made; nothing it is given changes. Sums are made in float64. Buffers are the first model's: BatchNorm statistics
fit no merged model, so measure it with ``objective.measure(merged, "recalibrate")`` or as a point between models.

Parameters are merged where models differ. A module among the models, or as ``like``, tells what is a parameter. Of
state dicts and checkpoint files alone, all floating-point tensors in which they differ count, but for what torch names
itself: BatchNorm's statistics, masks of pruning, vectors of spectral norm. What is the same in all, as masks and tables
of positions are, stays as it is to the last bit.

A method with a base works on task vectors, tau_t = model_t - base. One with objectives leaves parameters that do not
move there as the first model, or the base, has them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from lwidgets.data import same_bits
from lwidgets.directions import gaussian
from lwidgets.gradients import DifferentiableLoss
from lwidgets.grams import Entries, disjoint, input_grams
from lwidgets.objective import Objective
from lwidgets.parameters import ParameterSpace, Source, State, as_real
from lwidgets.pauses import pause
from lwidgets.subspaces import letters
from lwidgets.subspaces.base import space_of

Array = NDArray[np.float64]
Curvature = Literal["hessian", "fisher"]
CURVATURES: tuple[str, ...] = get_args(Curvature)
Objectives = Objective | Sequence[Objective] | Mapping[Any, Objective]
"""One for each model, in the order of the models, or one for all."""

_DAMPINGS = (math.inf, 100.0, 10.0, 1.0, 0.1, 0.01, 0.001, 0.0)  # the first of equals wins: the plain mean
_SMALL = 1e-10  # of the largest eigenvalue or singular value: below it is rounding


def average(*models: Source, weights: Sequence[float] | None = None, like: nn.Module | None = None) -> State:
    """The mean of the parameters.

    Args:
        *models: One or more.
        weights: One for each; they are divided by their sum. By default all alike.
        like: A module that tells which tensors of bare state dicts are parameters.

    Raises:
        ValueError: A model does not fit the first, and the message has the key; or weights that cannot be.

    Example:
        >>> average({"w": torch.tensor([1.0, 2.0])}, {"w": torch.tensor([3.0, 6.0])}).parameters["w"].tolist()
        [2.0, 4.0]
    """
    given = _models("average", models, like)
    shares = _shares("average", weights, len(models))
    return given.made(
        "average",
        lambda name: sum(c * state.parameters[name].double() for c, state in zip(shares, given.states, strict=True)),
    )


def task_arithmetic(base: Source, *models: Source, scale: float = 1.0, like: nn.Module | None = None) -> State:
    r"""The base and the sum of the task vectors, :math:`\theta_0 + \lambda \sum_t \tau_t`.

    Source: Ilharco et al., "Editing Models with Task Arithmetic", ICLR 2023.

    Args:
        base: What the models were trained from.
        *models: One or more; of one, scale 1 returns it and scale -1 forgets it.
        scale: lambda.
        like: As for `average`.

    Raises:
        ValueError: A model does not fit the base.
    """
    given = _models("task_arithmetic", (base, *models), like, base=True)
    return given.moved("task arithmetic", lambda name, taus: scale * sum(taus))


def ties(base: Source, *models: Source, keep: float = 0.2, scale: float = 1.0, like: nn.Module | None = None) -> State:
    """Trim, elect signs, merge: means over those entries that agree with the sign of most of the mass.

    Source: Yadav et al., "TIES-Merging: Resolving Interference When Merging Models", NeurIPS 2023, section 4.

    Args:
        base: What the models were trained from.
        *models: One or more.
        keep: Share of the entries of a task vector that are kept, those of the largest magnitude, in (0, 1].
        scale: Of the merged task vector.
        like: As for `average`.

    Raises:
        ValueError: A model does not fit the base; a share out of range.
    """
    given = _models("ties", (base, *models), like, base=True)
    _in_range("ties", "keep", keep, 0 < keep <= 1, "(0, 1]")
    least = [_threshold(given, state, keep) for state in given.states[1:]]

    def merged(name: str, taus: list[Tensor]) -> Tensor:
        kept = torch.stack([torch.where(tau.abs() >= bound, tau, 0.0) for tau, bound in zip(taus, least, strict=True)])
        agree = kept.sum(dim=0).sign() == kept.sign()
        return scale * torch.where(agree, kept, 0.0).sum(dim=0) / agree.sum(dim=0).clamp(min=1)

    return given.moved(f"ties, keep {keep:g}", merged)


def dare(
    base: Source,
    *models: Source,
    drop: float = 0.9,
    scale: float = 1.0,
    seed: int = 0,
    like: nn.Module | None = None,
) -> State:
    """Drop entries of the task vectors at random, rescale the others by 1 / (1 - drop), and add all up.

    Source: Yu et al., "Language Models are Super Mario", ICML 2024.

    Args:
        base: What the models were trained from.
        *models: One or more; model i is thinned out with seed + i.
        drop: Share of the entries, in [0, 1).
        scale: Of the sum.
        seed: Which entries.
        like: As for `average`.

    Raises:
        ValueError: A model does not fit the base; a share out of range.
    """
    given = _models("dare", (base, *models), like, base=True)
    _in_range("dare", "drop", drop, 0 <= drop < 1, "[0, 1)")

    def merged(name: str, taus: list[Tensor]) -> Tensor:
        uniform = (torch.special.ndtr(gaussian(seed + i, name, tau.shape)).to(tau) for i, tau in enumerate(taus))
        kept = [torch.where(chance >= drop, tau, 0.0) for chance, tau in zip(uniform, taus, strict=True)]
        return torch.as_tensor(scale / (1 - drop) * sum(kept))

    return given.moved(f"dare, drop {drop:g}, seed {seed}", merged)


def isotropic(base: Source, *models: Source, scale: float = 1.0, like: nn.Module | None = None) -> State:
    """The sum of the task vectors with all singular values of a matrix made their mean (Iso-C).

    Tensors of more than two axes count as matrices of (filters, entries); of those with fewer, the mean is added.

    Source: Marczak et al., "No Task Left Behind: Isotropic Model Merging with Common and Task-Specific Subspaces",
    ICML 2025.

    Args:
        base: What the models were trained from.
        *models: One or more.
        scale: Of the merged task vector.
        like: As for `average`.

    Raises:
        ValueError: A model does not fit the base.
    """
    given = _models("isotropic", (base, *models), like, base=True)

    def merged(name: str, taus: list[Tensor]) -> Tensor:
        total = torch.stack(taus).sum(dim=0)
        if total.ndim < 2:
            return torch.as_tensor(scale * total / len(taus))
        left, sizes, right = torch.linalg.svd(total.flatten(1), full_matrices=False)
        return torch.as_tensor(scale * sizes.mean() * (left @ right).reshape(total.shape))

    return given.moved("isotropic", merged)


def fisher(
    *models: Source,
    objectives: Objectives,
    examples: int = 256,
    weights: Sequence[float] | None = None,
) -> State:
    r"""The mean of the parameters weighted by Fisher information, :math:`\sum_t F_t \theta_t / \sum_t F_t`.

    A parameter that no model is sensitive to is averaged.

    Source: Matena, Raffel, "Merging Models with Fisher-Weighted Averaging", NeurIPS 2022; F is the empirical diagonal,
    see `fisher_diagonal`.

    Args:
        *models: One or more.
        objectives: Each model's own task in a list or dict, in the order of the models, or one for all.
        examples: How many of each task's data F is averaged over.
        weights: Of the tasks; by default all alike.

    Raises:
        ValueError: A model does not fit; the numbers of models and objectives differ.
    """
    tasks, given = _tasks("fisher", models, objectives)
    shares = _shares("fisher", weights, len(models))
    information = [fisher_diagonal(objective, state, examples=examples) for objective, state in tasks]

    def merged(name: str) -> Tensor:
        thetas = [state.parameters[name].double() for state in given.states]
        each = [c * f[name] for c, f in zip(shares, information, strict=True)]
        total: Tensor = torch.stack(each).sum(dim=0)
        weighted = torch.stack([f * theta for f, theta in zip(each, thetas, strict=True)]).sum(dim=0)
        mean = torch.stack([c * theta for c, theta in zip(shares, thetas, strict=True)]).sum(dim=0)
        return torch.where(total > 0, weighted / total.where(total > 0, 1.0), mean)

    return given.made("fisher", merged)


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


def regmean(*models: Source, objectives: Objectives, off_diagonal: float = 0.9) -> State:
    r"""Linear maps whose outputs are nearest to those of each model on its own inputs; all else is averaged.

    .. math:: W = \big( \sum_t X_t^\top X_t \big)^{-1} \sum_t X_t^\top X_t W_t

    with a bias as the weight of one more input, which is 1. Where no input varies, weights are averaged. For linear
    regressions that fit their own data best, and off_diagonal = 1, this is the best fit to all data together.

    Maps are found by what is computed, in a pass over all data, whatever the class of the layer: products with a
    parameter, in attention, recurrent cells and experts too; convolutions, as products with patches; embeddings, as
    products with one-hot rows, so that a row is weighted by how often it was looked up. A parameter that is computed
    from others (weight norm), tied, or used in more than one of these ways is averaged; the label says how many
    parameters were not.

    Source: Jin et al., "Dataless Knowledge Fusion by Merging Weights of Language Models", ICLR 2023, who average
    biases.

    Args:
        *models: One or more.
        objectives: Each model's own task in a list or dict, in the order of the models, or one for all.
        off_diagonal: What inner products of different inputs are multiplied by, in [0, 1]; less than 1 regularises.

    Raises:
        ValueError: A model does not fit; the numbers of models and objectives differ; a share out of range.
    """
    _in_range("regmean", "off_diagonal", off_diagonal, 0 <= off_diagonal <= 1, "[0, 1]")
    tasks, given = _tasks("regmean", models, objectives)
    alone = set(given.names) - set(tasks[0][0].space.aliases.values())
    solved = _solved(tasks, alone, off_diagonal)
    return given.made(
        f"regmean, {len(solved)} of {len(given.names)} parameters solved for,",
        lambda name: solved[name] if name in solved else _mean(given.states, name),
    )


def epimer(
    base: Source,
    *models: Source,
    objectives: Objectives,
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
        *models: One or more.
        objectives: Each model's own task in a list or dict, in the order of the models, or one for all.
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
    tasks, given = _tasks("epimer", models, objectives, base)
    start, *states = given.states
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
            moved: Tensor = here + (shares[name].to(here) @ atoms[name]).reshape(here.shape)
            return moved

        return given.made(f"epimer, gain {gain:.3g}, damping {damping:g}", make, skip=1)

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


@dataclass(frozen=True, eq=False)
class _Models:
    """Models of one architecture, and what there is to merge.

    Attributes:
        states: Each in its own dtypes, on the first one's device.
        names: Of the floating-point parameters in which they differ; all else stays as the first has it, because what
            is the same everywhere may be a table or a mask, of which a state dict does not tell.
        twins: Further name of a tied tensor -> the name under which it is merged.
    """

    states: tuple[State, ...]
    names: tuple[str, ...]
    twins: Mapping[str, str]

    @classmethod
    def of(cls, asking: str, states: Sequence[State], moved: Collection[str], guessed: bool = False) -> _Models:
        """Find out what there is to merge.

        Args:
            asking: The function that wants to.
            states: With the same parameters.
            moved: Parameters that may change.
            guessed: Which tensors are parameters, and which of them are tied, is not known.

        Raises:
            ValueError: What differs is not finite somewhere.
        """
        names = [name for name in states[0].parameters if name in moved and _differs(states, name)]
        for name in names:
            bad = next((state for state in states if not state.parameters[name].isfinite().all()), None)
            if bad is not None:
                value = next(x for x in bad.parameters[name].flatten().tolist() if not math.isfinite(x))
                raise ValueError(
                    f"{asking}: {name!r} must be finite where models differ, got {value} in {bad.label}. "
                    + (
                        f"If it is no weight, pass {asking}(..., like=model), a module that has it as a buffer."
                        * guessed
                    )
                    + "Leave that model out." * (not guessed)
                )
        twins = _twins(states, names) if guessed else {}
        return cls(tuple(states), tuple(name for name in names if name not in twins), twins)

    def made(self, told: str, make: Callable[[str], Any], skip: int = 0) -> State:
        """A new state, its label told of all models but the first few.

        Args:
            told: The method.
            make: From a name to the merged parameter.
            skip: How many models the label leaves out.
        """
        first = self.states[0]
        new: dict[str, Tensor] = {}
        for name in self.names:
            pause()
            new[name] = torch.as_tensor(make(name))
        new |= {twin: new[name] for twin, name in self.twins.items()}
        parameters = {name: new.get(name, tensor).to(tensor, copy=True) for name, tensor in first.parameters.items()}
        names = ", ".join(state.label.partition(": ")[2] or state.label for state in self.states[skip:])
        buffers = {name: b.clone() for name, b in first.buffers.items()}
        return replace(first.with_parameters(parameters, f"{told} of {names}"), buffers=buffers)

    def moved(self, told: str, merge: Callable[[str, list[Tensor]], Any]) -> State:
        """The first, and what a function makes of the task vectors of the others."""

        def make(name: str) -> Tensor:
            here = self.states[0].parameters[name].double()
            moved: Tensor = here + merge(name, [state.parameters[name].double() - here for state in self.states[1:]])
            return moved

        return self.made(told, make, skip=1)


def _differs(states: Sequence[State], name: str) -> bool:
    first, *others = (state.parameters[name] for state in states)
    return first.is_floating_point() and not all(same_bits(first.double(), other.double()) for other in others)


def _twins(states: Sequence[State], names: Sequence[str]) -> dict[str, str]:
    """Names under which every model has the same tensor as under another, as a state dict lists what is tied."""
    alike: dict[Any, list[str]] = {}
    for name in names:
        tensors = [state.parameters[name] for state in states]
        alike.setdefault((tensors[0].shape, *(float(t.double().sum()) for t in tensors)), []).append(name)
    return {
        name: first
        for first, *others in alike.values()
        for name in others
        if all(same_bits(state.parameters[name], state.parameters[first]) for state in states)
    }


def _models(asking: str, models: Sequence[Source], like: nn.Module | None, base: bool = False) -> _Models:
    """Models by themselves, under the names of a module among them, if there is one."""
    called = f"{asking}({'base, ' * base}a, b)"
    _one_by_one(asking, models, called)
    if len(models) < 1 + base:
        raise ValueError(f"{asking}: models must be one or more, got none. Pass for example {called}.")
    known = next((source for source in (like, *models) if isinstance(source, nn.Module)), models[0])
    space = space_of(known, State.of(known))
    lettered = _lettered(models)
    device = next(iter(lettered[0].parameters.values())).device
    states = [replace(space, dtypes=_dtypes(space, state)).select(state, device) for state in lettered]
    moved = [name for name in space.shapes if not (space.guessed and _is_of_torch(name, space.shapes))]
    return _Models.of(asking, states, moved, space.guessed)


def _dtypes(space: ParameterSpace, state: State) -> dict[str, torch.dtype]:
    """A state's own, so that no precision is lost before all are added up."""
    own = {name: as_real(tensor).dtype for name, tensor in state.tensors.items()}
    return {
        name: own[name] if name in own and own[name].is_floating_point else dtype
        for name, dtype in space.dtypes.items()
    }


def _is_of_torch(name: str, names: Collection[str]) -> bool:
    """A buffer by which torch prunes a weight (a mask) or normalises its spectrum (two vectors)."""
    path, _, own = name.rpartition("_")
    return (own in ("mask", "u", "v") and f"{path}_orig" in names) or (
        ".parametrizations." in name and name.endswith(("._u", "._v"))
    )


def _tasks(
    asking: str, models: Sequence[Source], objectives: Objectives, base: Source | None = None
) -> tuple[list[tuple[Objective, State]], _Models]:
    """Models with the objective of each; and all of them, after the base if there is one."""
    _one_by_one(asking, models, f"{asking}({'base, ' * (base is not None)}a, b, objectives=...)")
    each = (
        [objectives] * len(models)
        if isinstance(objectives, Objective)
        else [*(objectives.values() if isinstance(objectives, Mapping) else objectives)]
    )
    if not models or len(each) != len(models):
        raise ValueError(
            f"{asking}: objectives must be one for each of one or more models, got {len(each)} for {len(models)}. "
            "Pass a list or dict of them, in the order of the models, or one objective for all."
        )
    for objective in each[1:]:
        if objective.space.shapes != each[0].space.shapes:
            raise ValueError(
                f"{asking}: objectives must be of one architecture, got {each[0]!r} and {objective!r}. "
                "A head that a task has for itself belongs in its loss."
            )
    tasks = [
        (objective, objective.space.select(state, objective.device))
        for objective, state in zip(each, _lettered(models), strict=True)
    ]
    states = [state for _, state in tasks]
    if base is not None:
        states.insert(0, each[0].space.select(State.of(base), each[0].device))
    moved = set(each[0].space.moved).intersection(*(objective.space.moved for objective in each[1:]))
    return tasks, _Models.of(asking, states, moved)


def _one_by_one(asking: str, models: Sequence[Any], called: str) -> None:
    for model in models:
        many = isinstance(model, Mapping) and any(isinstance(value, nn.Module | State) for value in model.values())
        if many or isinstance(model, list | tuple):
            raise TypeError(f"{asking}: models must be given one by one, got a {type(model).__name__}. Pass {called}.")


def _lettered(models: Sequence[Source]) -> list[State]:
    states = [State.of(model) for model in models]
    return [
        replace(state, label=f"{letter}: {state.label}")
        for state, letter in zip(states, letters(len(states)), strict=True)
    ]


def _threshold(models: _Models, state: State, keep: float) -> float:
    """The magnitude of the smallest entry that is kept of a task vector."""
    start = models.states[0].parameters
    steps = [(state.parameters[name].double() - start[name].double()).abs().flatten() for name in models.names]
    if not steps:
        return 0.0
    sizes = torch.cat(steps)
    count = max(1, round(keep * len(sizes)))
    return float(sizes.kthvalue(len(sizes) - count + 1).values)


def _slopes(objective: Objective, state: State, count: int) -> Iterator[dict[str, Tensor]]:
    """Gradients of the loss on single examples."""
    loss = DifferentiableLoss(objective, state, _own_statistics(objective))
    for example in objective.examples(count):
        yield loss.gradient(state.parameters, example)


def _own_statistics(objective: Objective) -> str:
    """The BatchNorm mode at a trained model: its own running statistics where there are any."""
    mode = objective.resolve(between_models=False)
    return "frozen" if mode == "recalibrate" else mode


def _solved(tasks: Sequence[tuple[Objective, State]], names: Collection[str], off_diagonal: float) -> dict[str, Tensor]:
    """Those of the parameters that are weights of linear maps in which no other has a part, with their biases."""
    states = [state for _, state in tasks]
    seen = [input_grams(objective, state, _own_statistics(objective)) for objective, state in tasks]
    weights: dict[str, list[Entries]] = {}
    for weight in dict.fromkeys(weight for each in seen for weight in each):
        weights.setdefault(weight.name, []).append(weight)
    solved: dict[str, Tensor] = {}
    for weight in (w for name, views in weights.items() if name in names and disjoint(views) for w in views):
        pause()
        given = [each.get(weight) for each in seen]
        biases = {inputs.bias for inputs in given if inputs is not None}
        bias = biases.pop() if len(biases) == 1 else None
        parts = [weight] if bias is None or bias.name not in names else [weight, bias]
        rows = [torch.cat([_rows(state, part) for part in parts]) for state in states]
        grams = [None if inputs is None else _regular(inputs.gram, off_diagonal, len(rows[0])) for inputs in given]
        best = _nearest(rows, grams).split([len(_rows(states[0], part)) for part in parts])
        for part, found in zip(parts, best, strict=True):
            if part.name not in solved:
                solved[part.name] = _mean(states, part.name).cpu().contiguous()
            part.of(solved[part.name]).copy_(found.reshape(part.shape))
    return solved


def _rows(state: State, part: Entries) -> Tensor:
    """Entries as a matrix, a row for each input."""
    return part.of(state.parameters[part.name].double().cpu().contiguous()).reshape(-1, part.shape[-1])


def _regular(gram: Tensor, off_diagonal: float, size: int) -> Tensor:
    """Inner products of so many inputs, those of different ones made smaller."""
    if gram.ndim == 1:
        return gram
    gram = gram[:size, :size]
    return off_diagonal * gram + (1 - off_diagonal) * gram.diagonal().diag()


def _nearest(rows: Sequence[Tensor], grams: Sequence[Tensor | None]) -> Tensor:
    """The weights whose outputs are nearest to those of each, (inputs, outputs); None where there are no inputs."""
    mean = torch.stack([*rows]).mean(dim=0)
    given = [(gram, w - mean) for gram, w in zip(grams, rows, strict=True) if gram is not None]
    total = torch.stack([gram for gram, _ in given]).sum(dim=0)
    if total.ndim == 1:
        pull = torch.stack([gram[:, None] * step for gram, step in given]).sum(dim=0)
        return mean + pull / total.where(total > 0, 1.0)[:, None]
    pull = torch.stack([gram @ step for gram, step in given]).sum(dim=0)
    nearest: Tensor = mean + torch.linalg.pinv(total, rtol=_SMALL, hermitian=True) @ pull
    return nearest


def _mean(states: Sequence[State], name: str) -> Tensor:
    return torch.stack([state.parameters[name].double() for state in states]).mean(dim=0)


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
