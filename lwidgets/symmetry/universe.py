"""Many models in one place: elements that agree with each other whichever way round they are composed.

Every model is moved to a common place, the universe, so what leads from one model to another and on to a third is what
leads there directly. Sources: Crisostomi et al., "C2M3: Cycle-Consistent Multi-Model Merging", NeurIPS 2024, for the
idea; Ainsworth et al., "Git Re-Basin", ICLR 2023, algorithm 3 (merging many models), for the way: each model in turn is
matched to the mean of the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from lwidgets.parameters import State
from lwidgets.progress import Progress
from lwidgets.symmetry.activations import cast
from lwidgets.symmetry.elements import Element
from lwidgets.symmetry.matching import Descent, match_weights, weight_blocks
from lwidgets.symmetry.spec import Spec

_PASSES = 100
_GAIN = 1e-6


@dataclass(frozen=True, eq=False, repr=False)
class Universe:
    """Several models in one place.

    Attributes:
        elements: What moves each model there; the identity for the first.
        states: The models there.
        spec: The symmetries.
        trace: Root mean square distance of the models from their mean, at the start and after each pass; never rises.
        change: Largest change of an output by the moves, relative to the largest output; None if not measured.
    """

    elements: tuple[Element, ...]
    states: tuple[State, ...]
    spec: Spec
    trace: tuple[float, ...]
    change: float | None = None

    def __repr__(self) -> str:
        return f"Universe({len(self.states)} models, {self.trace[0]:.4g} -> {self.trace[-1]:.4g} from their mean)"

    def between(self, i: int, j: int) -> Element:
        """What moves model i, as it was, to where it is comparable with model j as that was."""
        return self.elements[j].inverse.after(self.elements[i])

    def mean(self) -> State:
        """The mean of the models in the universe; BatchNorm statistics are the first's, and to be recalibrated."""
        return replace(_mean(self.states), label=f"mean of {len(self.states)} aligned models")


def match_many(
    spec: Spec, models: Sequence[State], *, seed: int = 0, restarts: int = 2, progress: Progress | None = None
) -> Universe:
    """Move models to where they are closest to their mean.

    The first stays. The others start where weight matching to it puts them; then each in turn is matched to the mean of
    the rest, until nothing comes closer. For two models this is `match_weights`.

    Args:
        spec: Of all models.
        models: Of the same names and shapes, one or more.
        seed: Of the order of models and of the starts.
        restarts: Random starts of the first matching.
        progress: Called after every model.

    Raises:
        ValueError: No models.

    Example:
        >>> from lwidgets.symmetry import Group
        >>> spec = Spec.from_axes([Group("h", 4)], {"up": ("h", None), "down": (None, "h")})
        >>> models = [State({"up": torch.randn(4, 2), "down": torch.randn(2, 4)}) for _ in range(3)]
        >>> universe = match_many(spec, models)
        >>> cycle = universe.between(0, 1).after(universe.between(2, 0)).after(universe.between(1, 2))
        >>> cycle.values["h"].indices.tolist()
        [0, 1, 2, 3]
    """
    if not models:
        raise ValueError("match_many: models must be one or more, got none. Pass match_many(spec, [a, b, c]).")
    first, *others = models
    total = len(others) * (1 + _PASSES)
    elements = [spec.identity()]
    for done, model in enumerate(others):
        elements.append(match_weights(spec, first, model, seed=seed, restarts=restarts).element)
        if progress is not None:
            progress(done + 1, total)
    exact = [cast(model, torch.float64) for model in models]
    moved = [spec.apply(element, model) for element, model in zip(elements, exact, strict=True)]
    rng = np.random.default_rng(seed)
    trace = [_spread(spec, moved)]
    for done in range(1, 1 + _PASSES):
        for k in 1 + rng.permutation(len(others)):
            rest = _mean([state for j, state in enumerate(moved) if j != k])
            descent = Descent(spec, weight_blocks(spec, rest, exact[k])[0], elements[k])
            for unit in descent.units:
                descent.step(unit)
            elements[k] = descent.element
            moved[k] = spec.apply(descent.element, exact[k])
            if progress is not None:
                progress(done * len(others), total)
        trace.append(_spread(spec, moved))
        if not trace[-1] < trace[-2] * (1 - _GAIN):
            break
    states = tuple(spec.apply(element, model) for element, model in zip(elements, models, strict=True))
    return Universe(tuple(elements), states, spec, tuple(trace))


def _mean(states: Sequence[State]) -> State:
    """The mean of all parameters; what is not floating point, and the buffers, are the first's."""
    first = states[0]
    means = {
        name: torch.stack([state.parameters[name].double() for state in states]).mean(0).to(tensor)
        for name, tensor in first.parameters.items()
        if tensor.is_floating_point()
    }
    return replace(first, parameters={**first.parameters, **means})


def _spread(spec: Spec, states: Sequence[State]) -> float:
    """Root mean square distance from the mean."""
    mean = _mean(states).parameters
    names = [name for name, tensor in mean.items() if name not in spec.aliases and tensor.is_floating_point()]
    squares = [float((state.parameters[n] - mean[n]).square().sum()) for state in states for n in names]
    return math.sqrt(math.fsum(squares) / len(states))
