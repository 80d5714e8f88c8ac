"""Matching by the loss midway: the action with derivatives, gradients, and what is found."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings

import lwidgets as lw
from lwidgets.parameters import State
from lwidgets.symmetry import Group, Level, Spec
from lwidgets.symmetry.align import align
from lwidgets.symmetry.derive import derive
from lwidgets.symmetry.learned import _Action, _Latent, match_learned, match_straight_through, sinkhorn
from lwidgets.symmetry.matching import match_weights
from tests.models import CASES, CNN, MLP, everything_about, same
from tests.symmetry.test_spec import FREE, a_state, seeds, specs

METHODS = {"learned": match_learned, "straight-through": match_straight_through}


class Cpu:
    """As much of an objective as an action needs."""

    device = torch.device("cpu")
    space = lw.Objective.from_function(lambda u: u.sum(1), dim=1).space


@settings(max_examples=20)
@given(specs, seeds)
def test_dense_matrices_act_as_the_element_does(spec, seed):
    state, element = a_state(seed), spec.random(seed)
    names = [name for name in state.parameters if name not in spec.aliases]
    sides = {name: (value.matrix, value.dual.matrix) for name, value in element.values.items()}
    moved = _Action(spec, state, names, Cpu())(sides)
    expected = spec.apply(element, state)
    for name in names:
        torch.testing.assert_close(moved[name], expected.parameters[name], rtol=1e-9, atol=1e-9, msg=name)


@pytest.mark.parametrize("copies", [None, 3])
@pytest.mark.parametrize("level", FREE)
def test_what_is_learned_starts_at_the_identity_and_is_its_element(level, copies):
    latent = _Latent.identity(Group("g", 4, level, copies=None if copies is None else "c"), copies, Cpu())
    eye = torch.eye(4, dtype=torch.float64).expand_as(latent.value().matrix)
    for side in (*latent.sides(), latent.value().matrix):
        torch.testing.assert_close(side, eye)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for leaf in latent.leaves:
            leaf.copy_(torch.randn(leaf.shape, generator=generator, dtype=torch.float64))
    value = latent.value()
    assert latent.group.fault(value, copies) is None
    for side, wanted in zip(latent.sides(), (value.matrix, value.dual.matrix), strict=True):
        torch.testing.assert_close(side.detach().expand_as(wanted), wanted, rtol=1e-9, atol=1e-9)
    if level is Level.SIGNED:
        assert (value.scales < 0).any()
    if level is Level.SCALED:
        assert len(value.scales.unique()) > 1


PERMUTED = (Level.PERMUTATION, Level.SIGNED, Level.SCALED)


@pytest.mark.parametrize("shape", [(5, 5), (3, 4, 4)])
def test_sinkhorn_is_the_kernel_between_two_scalings(shape):
    scores = 3 * torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = sinkhorn(scores)
    for matrix, z in zip(found.reshape(-1, *shape[-2:]), scores.reshape(-1, *shape[-2:]).numpy(), strict=True):
        kernel, v = np.exp(z), np.ones(len(z))
        for _ in range(5):
            u = 1 / (kernel @ v)
            v = 1 / (kernel.T @ u)
        np.testing.assert_allclose(matrix, u[:, None] * kernel * v, rtol=1e-12)
    torch.testing.assert_close(found.sum(-2), torch.ones(shape[:-1], dtype=torch.float64))


@pytest.mark.parametrize("copies", [None, 3])
@pytest.mark.parametrize("level", PERMUTED)
def test_what_is_relaxed_starts_near_the_mean_and_ends_at_its_element(level, copies):
    group = Group("g", 6, level, copies=None if copies is None else "c")
    latent = _Latent.identity(group, copies, Cpu(), relaxed=True)
    eye = torch.eye(6, dtype=torch.float64).expand_as(latent.value().matrix)
    assert torch.equal(latent.value().matrix, eye)
    side, dual = latent.sides()
    assert torch.equal(side, dual)
    share = math.e / (math.e + 5) * (math.tanh(1) if level is Level.SIGNED else 1)
    diagonal = side.diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(diagonal.detach(), torch.full_like(diagonal, share).detach())
    planted = group.random(5, copies)
    with torch.no_grad():
        latent.order.copy_(3 * planted.matrix.sign())
        if latent.generator is not None:
            latent.generator.copy_(planted.scales.log())
    for found, wanted in zip(latent.sides(), (planted.matrix, planted.dual.matrix), strict=True):
        torch.testing.assert_close(found.detach(), wanted, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(latent.value().matrix, planted.matrix)


@pytest.mark.parametrize("level", PERMUTED)
def test_gradients_of_what_is_relaxed_are_those_of_differences(level):
    latent = _Latent.identity(Group("g", 4, level), None, Cpu(), relaxed=True)
    noise = torch.randn(4, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64) / 5

    def f(order):
        side, dual = replace(latent, order=order).sides()
        return (side * noise.cos() + dual * noise).sum()

    assert torch.autograd.gradcheck(f, (noise.clone().requires_grad_(),))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_relaxed_the_loss_midway_falls_to_that_of_the_element(case):
    objective, a, b = case.objective(), State.of(case.model(0)), State.of(case.model(1))
    spec = derive(case.model(0), (case.samples() if case.by_model else case.samples()[0])[:4])
    found, again = (
        match_learned(spec, a, b, objective, spec.identity(), steps=60, batch=16, relaxed=True) for _ in range(2)
    )
    assert all(later <= earlier for earlier, later in itertools.pairwise(found.trace))
    assert found.trace == again.trace
    assert found.trace[-1] < found.trace[0]
    mode = objective.resolve(between_models=True)
    middle = lw.Line(a, spec.apply(found.element, b)).bound(objective.space).point([0.5])
    assert found.trace[-1] == pytest.approx(objective.measure(middle, mode)["loss"], rel=1e-4)


def test_relaxed_permutations_are_better_where_there_is_nothing_else():
    objective, a, b = lw.demo.digits(hidden=(16, 16), steps=1000)
    spec = derive(a, torch.rand(2, 64)).restrict(Level.PERMUTATION)
    given = (spec, State.of(a), State.of(b), objective, match_weights(spec, State.of(a), State.of(b)).element)
    straight, relaxed = (match_learned(*given, relaxed=relaxed).trace for relaxed in (False, True))
    assert relaxed[0] == straight[0]
    assert relaxed[-1] < 0.7 * straight[-1]


@pytest.mark.parametrize("level", [Level.ORTHOGONAL, Level.GENERAL, Level.SCALED])
def test_gradients_of_what_is_continuous_are_those_of_differences(level):
    spec = Spec.from_axes([Group("h", 3, level)], {"up": ("h", None), "down": (None, "h*")})
    generator = torch.Generator().manual_seed(1)
    state = State(
        {n: torch.randn(s, generator=generator, dtype=torch.float64) for n, s in {"up": (3, 2), "down": (2, 3)}.items()}
    )
    latent = _Latent.identity(spec.groups["h"], None, Cpu())
    action = _Action(spec, state, ["up", "down"], Cpu())

    def f(generator):
        own = _Latent(latent.group, latent.order, generator)
        return sum((t * t.cos()).sum() for t in action({"h": own.sides()}).values())

    assert torch.autograd.gradcheck(f, (latent.generator.detach().requires_grad_(),))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_loss_midway_falls_and_the_outputs_stay(case, method):
    objective, a, b = case.objective(), case.model(0), case.model(1)
    by_weights = align(a, b, objective)
    found = align(a, b, objective, method, steps=60, batch=16)
    assert found.change < 1e-9
    assert all(later <= earlier for earlier, later in itertools.pairwise(found.trace))
    mode = objective.resolve(between_models=True)

    def midway(state):
        return objective.measure(lw.Line(a, state).bound(objective.space).point([0.5]), mode)["loss"]

    assert found.trace[0] == pytest.approx(midway(by_weights.state), rel=1e-4)
    assert found.trace[-1] == pytest.approx(midway(found.state), rel=1e-4)
    assert found.restarts == (found.trace[-1],)
    if method == "learned" and case is not CNN:  # four channels may be matched as well as they can be
        assert found.trace[-1] < found.trace[0]


@pytest.mark.parametrize("level", [Level.PERMUTATION, Level.SCALED])
def test_learning_is_better_than_weights_where_those_are_not_enough(level):
    objective, a, b = lw.demo.digits(hidden=(16, 16), steps=1000)
    spec = derive(a, torch.rand(2, 64)).restrict(level)
    by_weights, found = (align(a, b, objective, method, spec=spec) for method in ("weights", "learned"))
    heights = [
        lw.sample(objective.test, lw.Line(a, each.state), resolution=25, tolerance=0).barrier().value
        for each in (by_weights, found)
    ]
    assert found.trace[-1] < 0.9 * found.trace[0]
    assert heights[1] < 0.9 * heights[0]


def test_straight_through_finds_what_was_planted_from_a_wrong_start():
    objective, a, _ = lw.demo.digits(hidden=(16, 16), steps=300)
    spec = derive(a, torch.rand(2, 64))
    b = spec.apply(spec.random(1), a)
    found = match_straight_through(spec, State.of(a), b, objective, spec.identity(), steps=40)
    assert found.trace[0] > found.trace[-1] == pytest.approx(objective.measure(a)["loss"], rel=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_the_seed_decides_and_nothing_is_touched(method):
    objective, a, b = MLP.objective(), MLP.model(0), MLP.model(1)
    before = {i: everything_about(model) for i, model in enumerate((objective.module, a, b))}
    state, told = torch.get_rng_state(), []
    with torch.no_grad():
        first, again, other = (
            align(a, b, objective, method, steps=40, batch=8, seed=seed, progress=lambda *at: told.append(at))
            for seed in (1, 1, 2)
        )
        assert not torch.is_grad_enabled()
    assert torch.equal(state, torch.get_rng_state())
    assert same(before, {i: everything_about(model) for i, model in enumerate((objective.module, a, b))})
    assert first.trace == again.trace
    assert same(first.state.tensors, again.state.tensors)
    assert first.trace != other.trace
    assert told[-1] == (40, 40)


@pytest.mark.parametrize("method", METHODS)
def test_starts_where_it_is_told_to(method):
    objective, a, b = MLP.objective(), MLP.model(0), MLP.model(1)
    spec = derive(a, MLP.samples()[0])
    start = spec.random(3)
    found = align(a, b, objective, method, spec=spec, init=start, steps=1, lr=0.0)
    moved = lw.Line(a, spec.apply(start, b)).bound(objective.space)
    assert found.trace[0] == pytest.approx(objective.measure(moved.point([0.5]))["loss"], rel=1e-5)
    if method == "learned":
        assert same(found.state.tensors, spec.apply(start, b).tensors)


def test_nothing_to_learn_is_the_start():
    objective, a, b = MLP.objective(), State.of(MLP.model(0)), State.of(MLP.model(1))
    spec = Spec.from_axes([], {})
    assert len(match_learned(spec, a, b, objective, spec.identity()).trace) == 1


def test_refuses_in_words():
    objective, a = MLP.objective(), MLP.model()
    with pytest.raises(ValueError, match=r"steps must be at least 1, got 0\. Leave it out"):
        align(a, a, objective, "learned", steps=0)
