"""Aligning one model with another: moving it, by what leaves its function as it is, to where it is comparable."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from lwidgets.batch import mapped
from lwidgets.calls import calls_of
from lwidgets.distances import l2
from lwidgets.objective import ModelObjective, Objective, modelled
from lwidgets.parameters import ParameterSpace, Source, State
from lwidgets.progress import Progress
from lwidgets.symmetry.activations import cast, in_dtype, match_activations, models_at
from lwidgets.symmetry.derive import derived
from lwidgets.symmetry.elements import Element, Level
from lwidgets.symmetry.learned import match_learned, match_straight_through
from lwidgets.symmetry.matching import match_weights
from lwidgets.symmetry.spec import Certificate, Spec
from lwidgets.symmetry.trace import tensors_in
from lwidgets.symmetry.universe import Universe, match_many

AlignMethod = Literal["weights", "activations", "straight-through", "learned", "sinkhorn"]
ALIGN_METHODS: tuple[str, ...] = get_args(AlignMethod)

_LOOKED_AT = 256  # examples by which it is checked that the aligned model computes the same


@dataclass(frozen=True, eq=False, repr=False)
class Alignment:
    """A model moved to where it is comparable with another, and how far that can be trusted.

    Attributes:
        state: The moved model's parameters and buffers.
        model: The same as a new module in eval mode.
        element: What moved it.
        spec: The symmetries it was chosen from.
        method: How it was chosen.
        trace: What the method lowered, from start to end: for "weights" the distance of all parameters, for
            "activations" one minus the mean similarity of features, for the others the lowest loss midway so far.
        restarts: The same at the end of every run of which the best was taken.
        before: L2 distance of all parameters to the other model as they were.
        after: The same once aligned.
        change: Largest change of an output by the move, relative to the largest output; in float64 where the model
            runs in it.
        seconds: How long it took.
    """

    state: State
    model: nn.Module
    element: Element
    spec: Spec
    method: AlignMethod
    trace: tuple[float, ...]
    restarts: tuple[float, ...]
    before: float
    after: float
    change: float
    seconds: float

    def __repr__(self) -> str:
        return (
            f"Alignment(by {self.method}: distance {self.before:.4g} -> {self.after:.4g}, outputs changed by "
            f"{self.change:.0e}, {self.seconds:.2g} s)"
        )

    @property
    def certificate(self) -> Certificate | None:
        """How the symmetries were checked; None if they were not."""
        return self.spec.certificate


def align(
    a: Source,
    b: Source,
    objective: Objective,
    method: AlignMethod = "weights",
    *,
    spec: Spec | None = None,
    seed: int = 0,
    restarts: int = 2,
    init: Element | None = None,
    steps: int = 400,
    batch: int = 128,
    lr: float = 1e-2,
    progress: Progress | None = None,
) -> Alignment:
    """Move b, by a reparametrisation that leaves what it computes as it is, to where it is comparable with a.

    Args:
        a: The model that stays: module, state dict, checkpoint or State.
        b: The model that is moved; not changed itself.
        objective: Of the architecture; supplies the data.
        method: "weights" brings the parameters as close as can be, see `match_weights`; "activations" makes the
            features on the data as similar as can be, see `match_activations`; the others start from weights and lower
            the loss midway on the data: "straight-through", see `match_straight_through`; "learned", see
            `match_learned`; "sinkhorn", the same with permutations relaxed, the best for multilayer perceptrons whose
            units may only change places, and worse than "learned" with BatchNorm or attention.
        spec: Symmetries to choose from; by default those of `symmetries_of`. Groups that act on parameters which do
            not move in the objective are left out.
        seed: Of random starts.
        restarts: How many of them, by weights.
        init: An element to start from: by weights instead of the identity, by the loss instead of what weights give.
        steps: Of training, by the loss.
        batch: Examples a step.
        lr: The rate of training.
        progress: Called with (steps done, steps at most); raise in it to stop.

    Raises:
        ValueError: An unknown method; steps or batch below 1; a model that is not of this architecture or width, with
            the key; a tensor that is tied in the objective's model and has two values in one of the models; or an
            analytic objective.
        TypeError: The symmetries cannot be derived, because the model does not run in float64.

    Example:
        >>> import lwidgets as lw
        >>> objective, a, b = lw.demo.digits(hidden=(32,), steps=60)
        >>> alignment = align(a, b, objective)
        >>> alignment.change < 1e-10, alignment.after < 0.9 * alignment.before
        (True, True)
    """
    began = time.perf_counter()
    if method not in ALIGN_METHODS:
        raise ValueError(f"align: method must be one of {', '.join(ALIGN_METHODS)}, got {method!r}. Use weights.")
    for name, number in {"steps": steps, "batch": batch}.items():
        if number < 1:
            raise ValueError(f"align: {name} must be at least 1, got {number}. Leave it out for the usual.")
    objective = modelled(objective, "align")
    stays, moves = (_point(objective, name, source) for name, source in (("a", a), ("b", b)))
    chosen_from = _movable(spec or symmetries_of(objective, stays), objective.space)
    _check_fit(chosen_from, stays)
    given = (chosen_from, stays, moves)
    if method == "weights":
        match = match_weights(*given, seed=seed, restarts=restarts, init=init, progress=progress)
    elif method == "activations":
        match = match_activations(*given, objective, progress=progress)
    else:
        told = None if progress is None else lambda done, total: progress(0, steps)
        start = init or match_weights(*given, seed=seed, restarts=restarts, progress=told).element
        learn = (
            match_straight_through
            if method == "straight-through"
            else partial(match_learned, relaxed=method == "sinkhorn")
        )
        match = learn(*given, objective, start, steps=steps, batch=batch, lr=lr, seed=seed, progress=progress)
    state = replace(chosen_from.apply(match.element, moves), label=f"{moves.label}, aligned by {method}")
    return Alignment(
        state=state,
        model=objective.model_at(state),
        element=match.element,
        spec=chosen_from,
        method=method,
        trace=match.trace,
        restarts=match.restarts,
        before=l2(stays, moves),
        after=l2(stays, state),
        change=_change(objective, chosen_from, match.element, moves),
        seconds=time.perf_counter() - began,
    )


def align_many(
    models: Sequence[Source],
    objective: Objective,
    *,
    spec: Spec | None = None,
    seed: int = 0,
    restarts: int = 2,
    progress: Progress | None = None,
) -> Universe:
    """Move several models to one place, where they are closest to their mean; see `match_many`.

    Args:
        models: One or more; the first stays.
        objective: As for `align`, and so are the others.
        spec: Symmetries to choose from.
        seed: Of random starts.
        restarts: How many of them.
        progress: Called with (steps done, steps at most); raise in it to stop.

    Raises:
        ValueError: As `align`, or no models.

    Example:
        >>> import lwidgets as lw
        >>> objective, a, b = lw.demo.digits(hidden=(32,), steps=60)
        >>> universe = align_many([a, b, a], objective)
        >>> universe.change < 1e-10, universe.trace[-1] <= universe.trace[0]
        (True, True)
    """
    objective = modelled(objective, "align_many")
    states = [_point(objective, f"model {i}", model) for i, model in enumerate(models)]
    if not states:
        raise ValueError("align_many: models must be one or more, got none. Pass align_many([a, b, c], objective).")
    chosen_from = _movable(spec or symmetries_of(objective, states[0]), objective.space)
    _check_fit(chosen_from, states[0])
    found = match_many(chosen_from, states, seed=seed, restarts=restarts, progress=progress)
    changes = [_change(objective, chosen_from, g, state) for g, state in zip(found.elements, states, strict=True)]
    return replace(found, change=max(changes))


def symmetries_of(objective: Objective, source: Source) -> Spec:
    """What `derive` finds for a model on a few examples of the objective's data, called as the loss calls it.

    Args:
        objective: Of the architecture.
        source: The model.

    Raises:
        ValueError: The loss calls parts of the model by themselves, see `calls_of`.
        TypeError: The model does not run in float64.

    Example:
        >>> import lwidgets as lw
        >>> objective, a, _ = lw.demo.digits(hidden=(16, 12), steps=1)
        >>> [(group.size, group.level.value) for group in symmetries_of(objective, a).groups.values()]
        [(16, 'positive scaling and permutation'), (12, 'positive scaling and permutation')]
    """
    model = objective.model_at(objective.space.select(State.of(source)))
    return derived(model, calls_of(objective, model))


def _point(objective: Objective, name: str, source: Source) -> State:
    """A model's state under the names of the objective's."""
    state = State.of(source)
    for alias, canonical in objective.space.aliases.items():
        both = [state.tensors.get(key) for key in (alias, canonical)]
        if all(isinstance(t, Tensor) for t in both) and not torch.equal(*both):  # type: ignore[arg-type]
            raise ValueError(
                f"align: {name} must have one tensor as {canonical!r} and {alias!r}, which are tied in the objective's "
                "model, got two with different values. Use a checkpoint of the same architecture."
            )
    return objective.space.select(state, objective.device)


def _movable(spec: Spec, space: ParameterSpace) -> Spec:
    """Without the groups that act on a parameter which does not move."""
    still = space.shapes.keys() - set(space.moved)
    fixed = {name for name in spec.groups if any(tensor in still for tensor, _, _ in spec.acts_on(name))}
    groups = {name: replace(g, level=Level.FIXED) if name in fixed else g for name, g in spec.groups.items()}
    return replace(spec, groups=groups)


def _check_fit(spec: Spec, state: State) -> None:
    """Let `Spec.apply` say which tensor does not fit."""
    spec.apply(Element(spec.groups, {n: g.identity(spec.copies(n)) for n, g in spec.groups.items()}), state)


def _change(objective: ModelObjective, spec: Spec, element: Element, state: State) -> float:
    """Largest change of an output when a state is moved, relative to the largest output."""
    try:
        return _relative_change(objective, spec, element, state, torch.float64)
    except (RuntimeError, TypeError):  # something in the model or its loss insists on its own dtype
        return _relative_change(objective, spec, element, state, None)


def _relative_change(
    objective: ModelObjective, spec: Spec, element: Element, state: State, dtype: torch.dtype | None
) -> float:
    part = objective.part(_LOOKED_AT) or objective

    def outputs(point: State) -> list[Tensor]:
        (model,) = models_at(objective, point, dtype=dtype)
        seen: list[Tensor] = []
        handle = model.register_forward_hook(lambda _, __, out: seen.extend(t.detach() for t in tensors_in(out)))
        with handle, torch.no_grad():
            for batch, _ in part.data:
                objective.visit(model, mapped(batch, partial(in_dtype, dtype=dtype)))
        return seen

    exact = cast(state, dtype)
    before, after = outputs(exact), outputs(spec.apply(element, exact))
    largest = max(float(t.abs().max()) for t in before if t.numel())
    apart = max(float((x - y).abs().max()) for x, y in zip(before, after, strict=True) if x.numel())
    return apart / largest if largest else apart
