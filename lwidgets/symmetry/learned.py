"""Matching by the loss midway: straight-through estimation, and elements learned by gradients.

Sources: Ainsworth et al., "Git Re-Basin", ICLR 2023, algorithm 2; Theus et al., "Generalized Linear Mode Connectivity
for Transformers", NeurIPS 2025, algorithm 1, here with rotations as exponentials of skew matrices, which have a
derivative at the identity, and with every other level; Guerrero Pena et al., "Re-basin via Implicit Sinkhorn
Differentiation", CVPR 2023, for relaxed permutations, here with derivatives through a few iterations.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from lwidgets.gradients import DifferentiableLoss
from lwidgets.objective import Objective
from lwidgets.parameters import State
from lwidgets.progress import Progress
from lwidgets.symmetry.elements import Element, Group, Level, Matrix, Permutation, Value
from lwidgets.symmetry.matching import Descent, Match, assignment, weight_blocks
from lwidgets.symmetry.spec import Factor, Spec, blocks, copied_along

_CHECKS = 20  # how often the loss midway is measured on all data
_BETWEEN = (0.4, 0.6)  # where on the line a learning step looks
_SINKHORN = 5  # iterations; more change no barrier
_FASTER = 10.0  # than matrices: how fast scores of relaxed permutations are learned


def match_straight_through(
    spec: Spec,
    a: State,
    b: State,
    objective: Objective,
    start: Element,
    *,
    steps: int = 400,
    batch: int = 128,
    lr: float = 1e-2,
    seed: int = 0,
    progress: Progress | None = None,
) -> Match:
    """The element under which the loss midway between a and b is lowest, by straight-through estimation.

    Weights that start as a's descend that loss as if they were what b is moved to, and b is matched to them by weights
    after every step.

    Args:
        spec: Of both models.
        a: Stays.
        b: Of the same names and shapes.
        objective: Supplies loss and data.
        start: The first element.
        steps: Of gradient descent with momentum 0.9.
        batch: Examples a step.
        lr: Its rate.
        seed: Of the mini-batches.
        progress: Called after every step.

    Returns:
        The match; its trace is the lowest loss midway on all data up to each time it was measured.
    """
    midway = _Midway(spec, a, b, objective)
    target = {name: a.parameters[name].clone() for name in midway.loss.names}
    optimizer = torch.optim.SGD(list(target.values()), lr=lr, momentum=0.9)
    batches = objective.mini_batches(batch, np.random.default_rng(seed))
    midway.note(element := start)
    for step, examples in zip(range(steps), batches, strict=False):
        point = midway.point(spec.apply(element, b))
        gradient = midway.loss.gradient(point.parameters, examples)
        for name, tensor in target.items():
            tensor.grad = gradient[name] / 2
        optimizer.step()
        pairs, _ = weight_blocks(spec, replace(a, parameters={**a.parameters, **target}), b)
        descent = Descent(spec, pairs, element)
        for unit in descent.units:
            descent.step(unit)
        element = descent.element
        if (step + 1) % max(1, steps // _CHECKS) == 0:
            midway.note(element)
        if progress is not None:
            progress(step + 1, steps)
    return midway.match()


def match_learned(
    spec: Spec,
    a: State,
    b: State,
    objective: Objective,
    start: Element,
    *,
    steps: int = 400,
    batch: int = 128,
    lr: float = 1e-2,
    relaxed: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> Match:
    """The element under which the loss near the middle between a and b is lowest, by gradients of the element itself.

    Every step looks at one point of the line between 0.4 and 0.6. Matrices and scales are exponentials of what is
    learned; permutations are assignments of it, with the gradient passed straight through. Relaxed they are doubly
    stochastic matrices while they are learned, which hardly depend on the start at first: that leaves lower barriers
    between multilayer perceptrons, and higher ones where there is BatchNorm or attention.

    Args:
        spec: Of both models.
        a: Stays.
        b: Of the same names and shapes.
        objective: Supplies loss and data.
        start: The first element, which weight matching gives.
        steps: Of Adam.
        batch: Examples a step.
        lr: Its rate at first; it falls to zero as a cosine.
        relaxed: Learn permutations as doubly stochastic matrices.
        seed: Of the points and the mini-batches.
        progress: Called after every step.

    Returns:
        The match; its trace is the lowest loss midway on all data up to each time it was measured.
    """
    midway = _Midway(spec, a, b, objective)
    origin = spec.apply(start, b)
    latents = [
        _Latent.identity(group, spec.copies(name), objective, relaxed)
        for name, group in spec.groups.items()
        if group.level is not Level.FIXED
    ]
    leaves = [leaf for latent in latents for leaf in latent.leaves]
    action = _Action(spec, origin, midway.loss.names, objective)
    rng = np.random.default_rng(seed)
    batches = objective.mini_batches(batch, rng)
    midway.note(start)
    if not leaves:
        return midway.match()
    optimizer = torch.optim.Adam(leaves, lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step, examples in zip(range(steps), batches, strict=False):
        at = rng.uniform(*_BETWEEN)
        with torch.enable_grad():
            moved = action({latent.group.name: latent.sides() for latent in latents})
            point = {name: (1 - at) * a.parameters[name] + at * tensor for name, tensor in moved.items()}
            gradients = torch.autograd.grad(midway.loss(point, examples), leaves, materialize_grads=True)
        for leaf, gradient in zip(leaves, gradients, strict=True):
            leaf.grad = gradient
        optimizer.step()
        schedule.step()
        if (step + 1) % max(1, steps // _CHECKS) == 0:
            values = {latent.group.name: latent.value() for latent in latents}
            midway.note(Element(spec.groups, values).after(start))
        if progress is not None:
            progress(step + 1, steps)
    return midway.match()


class _Midway:
    """The loss in the middle of the line, and the element for which it was lowest."""

    def __init__(self, spec: Spec, a: State, b: State, objective: Objective) -> None:
        mode = objective.resolve(between_models=True)
        self.loss = DifferentiableLoss(objective, a, "batch" if mode == "recalibrate" else mode)
        self._spec, self._a, self._b, self._objective, self._mode = spec, a, b, objective, mode
        self._found: list[tuple[float, Element]] = []

    def point(self, moved: State) -> State:
        """The middle between a and what b was moved to."""
        middle = {name: (self._a.parameters[name] + moved.parameters[name]) / 2 for name in self.loss.names}
        return replace(self._a, parameters={**self._a.parameters, **middle})

    def note(self, element: Element) -> None:
        """Measure an element on all data."""
        state = self.point(self._spec.apply(element, self._b))
        self._found.append((self._objective.measure(state, self._mode)["loss"], element))

    def match(self) -> Match:
        """The best of all that were measured."""
        losses = [loss for loss, _ in self._found]
        return Match(
            min(self._found, key=lambda found: found[0])[1],
            tuple(itertools.accumulate(losses, min)),
            (min(losses),),
        )


@dataclass(frozen=True, eq=False)
class _Latent:
    """What is learned of one group, relative to the start.

    Attributes:
        group: The group.
        order: Scores of which the assignment is the permutation, shape (n, n) or (copies, n, n); None for matrices.
        generator: Of which the exponential is the matrix, or the scales of shape (n,) or (copies, n); None for others.
        relaxed: A permutation's sides are doubly stochastic.
    """

    group: Group
    order: Tensor | None
    generator: Tensor | None
    relaxed: bool = False

    @classmethod
    def identity(cls, group: Group, copies: int | None, objective: Objective, relaxed: bool = False) -> _Latent:
        dtype = objective.space.dtypes[objective.space.moved[0]]
        eye = torch.eye(group.size, dtype=dtype, device=objective.device)
        eye = eye if copies is None else eye.repeat(copies, 1, 1)
        if group.level in (Level.ORTHOGONAL, Level.GENERAL):
            return cls(group, None, torch.zeros_like(eye).requires_grad_())
        scaled = group.level is Level.SCALED
        order = eye / _FASTER if relaxed else eye
        scales = torch.zeros_like(eye[..., 0]).requires_grad_() if scaled else None
        return cls(group, order.requires_grad_(), scales, relaxed)

    @property
    def leaves(self) -> list[Tensor]:
        """What gradients are taken by."""
        return [leaf for leaf in (self.order, self.generator) if leaf is not None]

    def sides(self) -> tuple[Tensor, Tensor]:
        """The matrix S and its inverse transpose, with their derivatives."""
        if self.order is None:
            exponent = self._exponent()
            matrix = torch.linalg.matrix_exp(exponent)
            return matrix, matrix if self.group.level is Level.ORTHOGONAL else torch.linalg.matrix_exp(-exponent.mT)
        if self.relaxed:
            scores = _FASTER * self.order
            signed = self.group.level is Level.SIGNED
            ordered = sinkhorn(scores.abs()) * scores.tanh() if signed else sinkhorn(scores)
        else:
            ordered = replace(self, generator=None).value().matrix.to(self.order) + self.order - self.order.detach()
        if self.generator is None:
            return ordered, ordered
        return ordered * self.generator.exp()[..., None], ordered * (-self.generator).exp()[..., None]

    @torch.no_grad()
    def value(self) -> Value:
        """The element, in float64."""
        if self.order is None:
            return Matrix(torch.linalg.matrix_exp(self._exponent().cpu().double()))
        scores = self.order.detach().cpu().double()
        signed = self.group.level is Level.SIGNED
        square = scores.shape[-1]
        indices = assignment((scores.abs() if signed else scores).reshape(-1, square, square)).reshape(
            scores.shape[:-1]
        )
        if self.generator is not None:
            return Permutation(indices, self.generator.detach().cpu().double().exp())
        taken = scores.gather(-1, indices[..., None])[..., 0]
        return Permutation(indices, torch.where(taken < 0, -1.0, 1.0).double() if signed else None)

    def _exponent(self) -> Tensor:
        assert self.generator is not None
        return self.generator - self.generator.mT if self.group.level is Level.ORTHOGONAL else self.generator


def sinkhorn(scores: Tensor) -> Tensor:
    """Positive matrices whose columns sum to one and rows nearly so, larger where scores are; (..., n, n)."""
    for _ in range(_SINKHORN):
        for dim in (-1, -2):
            scores = scores - scores.logsumexp(dim, keepdim=True)
    return scores.exp()


class _Action:
    """What `Spec.apply` does, with dense matrices that may have a derivative."""

    def __init__(self, spec: Spec, state: State, names: Sequence[str], objective: Objective) -> None:
        self._spec = spec
        self._tensors = {name: state.parameters[name].to(objective.device) for name in names}
        self._parts: dict[str, list[tuple[Tensor, Tensor, tuple[Factor | None, ...]]]] = {}
        for name, tensor in self._tensors.items():
            axes = spec.axes.get(name, ((),) * tensor.ndim)
            places = torch.arange(tensor.numel(), device=tensor.device).reshape(tensor.shape)
            self._parts[name] = [
                (block, where, factors)
                for (block, factors), (where, _) in zip(blocks(tensor, axes), blocks(places, axes), strict=True)
            ]

    def __call__(self, sides: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        """Name -> tensor, moved by (S, S^-T) of each group."""
        moved = {}
        for name, parts in self._parts.items():
            result = torch.zeros_like(self._tensors[name]).flatten()
            for block, where, factors in parts:
                result = result.index_copy(0, where.flatten(), self._acted(block, factors, sides).flatten())
            moved[name] = result.reshape(self._tensors[name].shape)
        return moved

    def _acted(
        self, block: Tensor, factors: Sequence[Factor | None], sides: Mapping[str, tuple[Tensor, Tensor]]
    ) -> Tensor:
        names = [None if factor is None else factor.group for factor in factors]
        for copied in (False, True):
            for dim, factor in enumerate(factors):
                if factor is None or factor.group is None or factor.group not in sides:
                    continue
                matrix, outer = sides[factor.group][factor.dual], self._spec.groups[factor.group].copies
                if outer is None and not copied:
                    block = torch.tensordot(matrix, block, dims=([1], [dim])).movedim(0, dim)
                elif outer is not None and copied:
                    along = copied_along(names, dim, outer)
                    rows = torch.einsum("cij,cj...->ci...", matrix, block.movedim((along, dim), (0, 1)))
                    block = rows.movedim((0, 1), (along, dim))
        return block
