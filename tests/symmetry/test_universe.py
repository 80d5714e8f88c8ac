"""Many models at once: cycles close, nothing moves apart, and what was planted comes back."""

import itertools

import pytest
import torch
from hypothesis import given, settings

import lwidgets as lw
from lwidgets.parameters import State
from lwidgets.symmetry import Group, Level, Spec
from lwidgets.symmetry.align import align, align_many
from lwidgets.symmetry.derive import derive
from lwidgets.symmetry.matching import match_weights
from lwidgets.symmetry.universe import match_many
from tests.models import CASES, CNN, MLP, TRANSFORMER, everything_about, same
from tests.symmetry.test_spec import a_state, close, seeds, specs


def flat(state, skip=()):
    return torch.cat([t.double().flatten() for n, t in state.parameters.items() if n not in skip])


def identity(element):
    return all(
        torch.allclose(value.matrix, torch.eye(value.matrix.shape[-1], dtype=torch.float64), atol=1e-8)
        for value in element.values.values()
    )


@settings(max_examples=5)
@given(specs, seeds)
def test_cycles_close_and_nothing_moves_apart(spec, seed):
    models = [a_state(seed + i) for i in range(3)]
    found = match_many(spec, models, seed=seed, restarts=0)
    p = found.between
    assert identity(p(2, 0).after(p(1, 2)).after(p(0, 1)))
    assert identity(p(1, 0).after(p(0, 1)))
    close(spec.apply(p(0, 2), models[0]), spec.apply(p(1, 2), spec.apply(p(0, 1), models[0])))
    assert all(later <= earlier * (1 + 1e-12) for earlier, later in itertools.pairwise(found.trace))
    for element, model, state in zip(found.elements, models, found.states, strict=True):
        close(spec.apply(element, model), state)
    points = torch.stack([flat(state, spec.aliases) for state in found.states])
    spread = (points - points.mean(0)).square().sum(1).mean().sqrt()
    assert float(spread) == pytest.approx(found.trace[-1])
    torch.testing.assert_close(flat(found.mean(), spec.aliases), points.mean(0), rtol=1e-12, atol=1e-12)
    assert found.states[0].parameters["up.weight"].equal(models[0].parameters["up.weight"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_planted_copies_come_back(case):
    objective, a = case.objective(), case.model()
    found = align_many([a], objective)
    copies = [a, *(found.spec.apply(found.spec.random(seed), a) for seed in (1, 2, 3))]
    found = align_many(copies, objective)
    assert found.trace[-1] < 1e-5
    assert found.change < 1e-12
    for state in found.states:
        torch.testing.assert_close(flat(state), flat(objective.space.select(State.of(a))), rtol=1e-4, atol=1e-5)
    third, fourth = (objective.space.select(State.of(copies[i])) for i in (2, 3))
    there = found.spec.apply(found.between(2, 3), third)
    torch.testing.assert_close(flat(there), flat(fourth), rtol=1e-4, atol=1e-5)


def test_two_models_are_as_close_as_by_weights():
    spec = derive(MLP.model(), MLP.samples()[0])
    a, b = (State.of(MLP.model(seed)) for seed in (0, 1))
    apart = match_weights(spec, a, b).trace[-1]
    assert match_many(spec, [a, b]).trace[-1] == pytest.approx(apart / 2, rel=1e-6)


def test_three_models_are_closer_to_their_mean_than_when_each_is_matched_to_the_first():
    objective, *models = lw.demo.digits(hidden=(24, 24), steps=100)
    models += [lw.demo.digits(seeds=(2, 3), hidden=(24, 24), steps=100)[i] for i in (1, 2)]
    found = align_many(models, objective)
    assert found.trace[-1] < found.trace[0] * 0.995
    star = torch.stack([flat(State.of(models[0])), *(flat(align(models[0], m, objective).state) for m in models[1:])])
    assert found.trace[0] == pytest.approx(float((star - star.mean(0)).square().sum(1).mean().sqrt()), rel=1e-5)
    naive = torch.stack([flat(State.of(m)) for m in models]).mean(0)
    mean = State(dict(found.mean().parameters))
    sizes = [t.numel() for t in mean.parameters.values()]
    parts = dict(zip(mean.parameters, naive.split(sizes), strict=True))
    unaligned = State({n: parts[n].reshape(t.shape).to(t) for n, t in mean.parameters.items()})
    assert objective.measure(mean)["loss"] < 0.8 * objective.measure(unaligned)["loss"]


def test_ties_and_buffers_are_kept():
    objective = TRANSFORMER.objective()
    found = align_many([TRANSFORMER.model(seed) for seed in range(3)], objective)
    merged = objective.model_at(found.mean())
    assert merged.output.weight is merged.embedding.weight
    assert torch.equal(merged.position, sum(s.parameters["position"].double() for s in found.states).div(3).float())
    objective = CNN.objective()
    found = align_many([CNN.model(seed) for seed in range(3)], objective)
    assert all(same(state.buffers.keys(), found.states[0].buffers.keys()) for state in found.states)
    assert found.change < 1e-12


def test_nothing_is_touched_the_seed_decides_and_progress_is_told():
    objective, models = MLP.objective(), [MLP.model(seed) for seed in range(3)]
    before = {i: everything_about(model) for i, model in enumerate([objective.module, *models])}
    state, told = torch.get_rng_state(), []
    first, again = (align_many(models, objective, seed=1, progress=lambda *at: told.append(at)) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    assert same(before, {i: everything_about(model) for i, model in enumerate([objective.module, *models])})
    assert first.trace == again.trace
    assert told[: len(told) // 2] == sorted(told[: len(told) // 2])
    assert repr(first).startswith("Universe(3 models, ")


def test_refuses_in_words():
    objective = MLP.objective()
    with pytest.raises(ValueError, match=r"models must be one or more, got none"):
        align_many([], objective)
    with pytest.raises(ValueError, match=r"'0.weight' of shape \(16, 6\) is missing"):
        align_many([MLP.model(), CNN.model()], objective)
    with pytest.raises(ValueError, match="align_many: objective must have a model"):
        align_many([torch.zeros(2)], lw.Objective.from_function(lambda u: u.sum(1), dim=2))
    assert match_many(Spec.from_axes([Group("h", 2, Level.FIXED)], {}), [State({"w": torch.ones(2)})]).trace == (0, 0)
