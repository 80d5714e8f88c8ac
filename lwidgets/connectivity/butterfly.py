"""The butterfly effect: fork a training run with a little noise, go on with the same batches, compare where it ends.

Source: Kwok et al., "The Butterfly Effect: Neural Network Training Trajectories Are Highly Sensitive to Initial
Conditions", ICML 2025.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from lwidgets.basis import inner
from lwidgets.directions import gaussian
from lwidgets.gradients import DifferentiableLoss
from lwidgets.noise import shared_kept
from lwidgets.objective import Objective
from lwidgets.parameters import State, as_real

Noise = Literal["gaussian", "batch"]
NOISES: tuple[str, ...] = get_args(Noise)

_EXAMPLES = 64  # of the mini-batch whose gradient is the noise

Before = Callable[[int, nn.Module], None]
"""To be called with (step, model) before every step."""


@dataclass(frozen=True)
class Fork:
    """A run that was disturbed once.

    Attributes:
        at: Before which step.
        scale: Of the noise.
        seed: Of the noise.
        moved: Euclidean length of the noise.
        state: Where the run ended.
    """

    at: int
    scale: float
    seed: int
    moved: float
    state: State


@dataclass(frozen=True)
class Butterfly:
    """A run and its forks.

    Attributes:
        base: Where the undisturbed run ended.
        forks: In the order of (at, scale, seed).
        steps: Of the run.
    """

    base: State
    forks: tuple[Fork, ...]
    steps: int


def butterfly(
    train: Callable[[Before], nn.Module],
    *,
    at: Iterable[int],
    scale: Iterable[float],
    seeds: Iterable[int] = (0,),
    kind: Noise = "gaussian",
    objective: Objective | None = None,
) -> Butterfly:
    """Repeat a training run, disturbed at one step.

    Scale 1 is the scale of the initialisation: Gaussian noise has the standard deviation of each tensor as it was
    initialised, and the gradient of a mini-batch is scaled to the length that Gaussian noise has on average. A tensor
    that was initialised to a constant, as biases and norm scales may be, gets no Gaussian noise. (The paper gives it
    that of the next layer.)

    Args:
        train: Trains from the start, calls ``before(step, model)`` before every step, counted from 0, and returns the
            model. It must do the same whenever it is called: fix its seeds. The global random state is the same at the
            start of every run.
        at: Steps at which to disturb.
        scale: Of the noise; at 0 a fork ends where the undisturbed run does, to the last bit.
        seeds: Of the noise.
        kind: "gaussian", or "batch": along the gradient of the loss on 64 examples of the objective.
        objective: For kind "batch": of the same architecture, not necessarily of the data of training.

    Raises:
        ValueError: A step that training does not reach; an unknown kind; no objective; or two runs differ before they
            are disturbed, the message names the parameter.

    Example:
        >>> from lwidgets.distances import l2
        >>> X, y = torch.randn(32, 3, generator=torch.Generator().manual_seed(0)), torch.arange(32) % 2
        >>> def train(before):
        ...     torch.manual_seed(0)
        ...     model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
        ...     optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        ...     for step in range(10):
        ...         before(step, model)
        ...         optimizer.zero_grad()
        ...         nn.functional.cross_entropy(model(X), y).backward()
        ...         optimizer.step()
        ...     return model
        >>> found = butterfly(train, at=[0, 5], scale=[0.0, 0.1])
        >>> [(fork.at, fork.scale, l2(found.base, fork.state) > 0) for fork in found.forks]
        [(0, 0.0, False), (0, 0.1, True), (5, 0.0, False), (5, 0.1, True)]
    """
    if kind not in NOISES or (kind == "batch" and objective is None):
        raise ValueError(
            f"butterfly: kind must be one of {', '.join(NOISES)}, the latter with an objective, got {kind!r} with "
            f"{objective}. Leave it out for Gaussian noise."
        )
    when, scales, seeds = sorted(set(at)), list(scale), list(seeds)
    seen: dict[int, State] = {}
    steps = 0

    def watch(step: int, model: nn.Module) -> None:
        nonlocal steps
        steps = step + 1
        if step == 0 or step in when:
            seen[step] = State.of(model)

    base = _run(train, watch)
    missing = [t for t in when if t not in seen]
    if missing or 0 not in seen:
        raise ValueError(
            f"butterfly: at must be among the run's steps, 0 to {steps - 1}, got {missing or 'no call for step 0'}. "
            "Call before(step, model) before every step, counted from 0."
        )
    forks = []
    for t, size, seed in itertools.product(when, scales, seeds):
        noise = partial(_noise, kind, seen[0], seed=seed, objective=objective)
        state, moved = _forked(train, t, seen[t], size, noise)
        told = f"forked before step {t}, {kind} noise of scale {size:g}, seed {seed}"
        forks.append(Fork(t, size, seed, moved, replace(state, label=told)))
    return Butterfly(base, tuple(forks), steps)


def _forked(
    train: Callable[[Before], nn.Module],
    at: int,
    before: State,
    scale: float,
    noise: Callable[[nn.Module], dict[str, Tensor]],
) -> tuple[State, float]:
    """Where the disturbed run ends, and how far it was moved."""
    moved = 0.0

    def disturb(step: int, model: nn.Module) -> None:
        nonlocal moved
        if step == at:
            _check_same(model, before, at)
        if step == at and scale:
            drawn = noise(model)
            moved = abs(scale) * math.sqrt(inner(drawn, drawn))
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    if name in drawn:
                        numbers = as_real(parameter)
                        numbers.add_(drawn[name].to(numbers), alpha=scale)

    return _run(train, disturb), moved


def _run(train: Callable[[Before], nn.Module], before: Before) -> State:
    with shared_kept(), torch.enable_grad():
        return State.of(train(before))


def _check_same(model: nn.Module, before: State, step: int) -> None:
    for name, tensor in State.of(model).tensors.items():
        if not torch.equal(tensor, before.tensors[name]):
            raise ValueError(
                f"butterfly: train must do the same whenever it is called, got another {name!r} before step {step}. "
                "Fix its seeds, and the order of its data."
            )


def _noise(kind: Noise, start: State, model: nn.Module, *, seed: int, objective: Objective | None) -> dict[str, Tensor]:
    """Noise of scale 1; its names are the model's parameters."""
    numbers = {name: as_real(tensor) for name, tensor in start.parameters.items()}
    stds = {name: float(tensor.double().std(correction=0)) for name, tensor in numbers.items()}
    if kind == "gaussian" or objective is None:
        return {name: stds[name] * gaussian(seed, name, t.shape) for name, t in numbers.items() if stds[name]}
    here, mode = objective.space.select(State.of(model)), objective.resolve(between_models=True)
    loss = DifferentiableLoss(objective, here, "batch" if mode == "recalibrate" else mode)
    batch = next(objective.mini_batches(_EXAMPLES, np.random.default_rng(seed)))
    slope = loss.gradient(here.parameters, batch)
    length = math.sqrt(sum(stds[name] ** 2 * numbers[name].numel() for name in slope))
    norm = math.sqrt(inner(slope, slope))
    return {name: (length / norm) * tensor for name, tensor in slope.items()} if norm > 0 else slope
