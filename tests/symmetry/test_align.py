"""`align`: what it returns, what it leaves alone, and what it refuses."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.parameters import State
from lwidgets.symmetry import Group, Level, Spec
from lwidgets.symmetry.align import align, align_many, symmetries_of
from lwidgets.symmetry.derive import derive
from tests.models import CASES, MLP, TRANSFORMER, everything_about, same


def flat_distance(a, b):
    theirs = b.parameters
    return sum(float((t.double() - theirs[n].double()).square().sum()) for n, t in a.parameters.items()) ** 0.5


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_aligned_model_computes_what_b_does_and_is_closer_to_a(case):
    objective, a, b = case.objective(), case.model(0), case.model(1)
    found = align(a, b, objective)
    data = case.samples(torch.float64)
    inputs = data[:, :-1] if case.by_model else data[0]
    with torch.no_grad():
        expected = copy.deepcopy(b).double()(inputs)
        moved = copy.deepcopy(b).double()
        moved.load_state_dict({**moved.state_dict(), **found.state.tensors}, strict=True)
    assert found.change < 1e-12
    torch.testing.assert_close(found.model.double()(inputs), expected, rtol=1e-4, atol=1e-4)
    assert not found.model.training
    assert found.before == pytest.approx(flat_distance(State.of(a), State.of(b)))
    assert found.after == pytest.approx(flat_distance(State.of(a), found.state))
    assert found.after < found.before
    assert found.trace[0] >= found.trace[-1] == pytest.approx(found.after, rel=1e-5)
    assert objective.measure(found.state)["loss"] == pytest.approx(objective.measure(b)["loss"], rel=1e-4)
    assert found.certificate is found.spec.certificate is not None
    assert "distance" in repr(found)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_nothing_of_the_user_s_is_touched_and_the_seed_decides(case):
    objective, a, b = case.objective(), case.model(0), case.model(1)
    b.train()
    before = {i: everything_about(model) for i, model in enumerate((objective.module, a, b))}
    state = torch.get_rng_state()
    with torch.enable_grad():
        first = align(a, b, objective, seed=2)
        assert torch.is_grad_enabled()
    assert torch.equal(state, torch.get_rng_state())
    assert same(before, {i: everything_about(model) for i, model in enumerate((objective.module, a, b))})
    torch.rand(7)
    again = align(a, b, objective, seed=2)
    assert same(first.state.tensors, again.state.tensors)
    assert first.trace == again.trace
    if case is MLP:
        assert align(a, b, objective, seed=3).restarts[2:] != first.restarts[2:]


def test_takes_modules_state_dicts_files_and_states(tmp_path):
    objective, a, b = MLP.objective(), MLP.model(0), MLP.model(1)
    torch.save(b.state_dict(), tmp_path / "b.pt")
    wanted = align(a, b, objective).state.tensors
    for source in (b.state_dict(), tmp_path / "b.pt", str(tmp_path / "b.pt"), State.of(b)):
        assert same(align(a, source, objective).state.tensors, wanted)
    assert align(a, tmp_path / "b.pt", objective).state.label == "b.pt, aligned by weights"


def test_a_spec_of_one_s_own_is_used():
    objective, a, b = MLP.objective(), MLP.model(0), MLP.model(1)
    spec = Spec.from_axes([Group("h", 16)], {"0.weight": ("h", None), "0.bias": ("h",), "2.weight": (None, "h")})
    found = align(a, b, objective, spec=spec)
    assert list(found.element.values) == ["h"]
    assert found.certificate is None
    assert torch.equal(found.state.parameters["4.weight"], b[4].weight)
    full = derive(a, MLP.samples()[0])
    assert align(a, b, objective, spec=full.restrict(Level.PERMUTATION)).after > align(a, b, objective).after


def test_symmetries_are_those_of_the_model_as_the_loss_calls_it():
    for case in CASES:
        inputs = case.samples()[:, :-1] if case.by_model else case.samples()[0]
        assert symmetries_of(case.objective(), case.model(1)).groups == derive(case.model(1), inputs[:4]).groups


def test_a_wrong_spec_shows_in_the_outputs():
    objective, a, b = MLP.objective(), MLP.model(0), MLP.model(1)
    wrong = Spec.from_axes([Group("h", 16)], {"0.weight": ("h", None)})
    found = align(a, b, objective, spec=wrong)
    exact, moved = copy.deepcopy(b).double(), copy.deepcopy(b).double()
    moved.load_state_dict(wrong.apply(found.element, exact).tensors)
    with torch.no_grad():
        before, after = (model(MLP.samples(torch.float64)[0]) for model in (exact, moved))
    assert found.change == pytest.approx(float((after - before).abs().max() / before.abs().max()))
    assert found.change > 1e-2


def test_groups_on_parameters_that_stay_are_left_alone():
    a, b = MLP.model(0), MLP.model(1)
    objective = lw.Objective(a, MLP.samples(), loss=F.cross_entropy, params=["*", "!2.weight"])
    found = align(a, b, objective)
    assert same(found.state.tensors, dict(State.of(b).tensors))
    objective = lw.Objective(a, MLP.samples(), loss=F.cross_entropy, params=["*", "!0.weight"])
    found = align(a, b, objective)
    assert torch.equal(found.state.parameters["0.weight"], b[0].weight)
    assert not torch.equal(found.state.parameters["4.weight"], b[4].weight)


def test_tied_tensors_stay_tied():
    objective, a, b = TRANSFORMER.objective(), TRANSFORMER.model(0), TRANSFORMER.model(1)
    found = align(a, b, objective)
    assert found.model.output.weight is found.model.embedding.weight
    assert not torch.equal(found.model.embedding.weight, b.embedding.weight)


class InItsOwnPrecision(nn.Module):
    """Casts what it is given, so that it runs in float32 alone."""

    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(6, 9), nn.Linear(9, 3)

    def forward(self, x):
        return self.down(self.up(x.float()).tanh())


def test_a_model_of_one_precision_is_checked_in_it():
    torch.manual_seed(0)
    a, b = InItsOwnPrecision(), InItsOwnPrecision()
    objective = lw.Objective(a, MLP.samples(), loss=F.cross_entropy)
    axes = {"up.weight": ("h", None), "up.bias": ("h",), "down.weight": (None, "h")}
    found = align(a, b, objective, spec=Spec.from_axes([Group("h", 9, Level.SIGNED)], axes))
    assert 0 < found.change < 1e-5


def test_refuses_in_words():
    objective, a = MLP.objective(), MLP.model()
    with pytest.raises(ValueError, match=r"method must be one of weights, .*got 'magic'\. Use weights"):
        align(a, a, objective, "magic")
    bowl = lw.Objective.from_function(lambda u: u.square().sum(1), dim=2)
    with pytest.raises(ValueError, match="must have a model, got an analytic one"):
        align(torch.zeros(2), torch.zeros(2), bowl)
    wide = nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 12), nn.ReLU(), nn.Linear(12, 3))
    with pytest.raises(ValueError, match=r"'0.weight' must have shape \(16, 6\), got \(20, 6\)"):
        align(a, wide, objective)
    with pytest.raises(ValueError, match=r"key '0.weight' of shape \(16, 6\) is missing"):
        align(a, TRANSFORMER.model(), objective)
    parts = lw.Objective(a, MLP.samples(), loss=lambda model, b: F.cross_entropy(model[2:](model[:2](b[0])), b[1]))
    with pytest.raises(
        ValueError, match=r"call the model as a whole, as model\(\.\.\.\), got calls of its parts '0', '1'"
    ):
        align(a, a, parts)


def test_refuses_a_spec_of_another_width():
    objective, a = MLP.objective(), MLP.model()
    other = Spec.from_axes([Group("h", 20)], {"0.weight": ("h", None), "0.bias": ("h",), "2.weight": (None, "h")})
    with pytest.raises(ValueError, match=r"tensor '0.weight' must have shape \(20, 6\), got \(16, 6\)"):
        align(a, a, objective, spec=other)
    with pytest.raises(ValueError, match=r"tensor '0.weight' must have shape \(20, 6\), got \(16, 6\)"):
        align_many([a, a], objective, spec=other)


def test_refuses_ties_that_are_tied_in_one_model_only():
    objective, a, b = TRANSFORMER.objective(), TRANSFORMER.model(0), TRANSFORMER.model(1)
    untied = {**b.state_dict(), "output.weight": b.output.weight + 1}
    with pytest.raises(ValueError, match=r"b must have one tensor as 'embedding\.weight' and 'output\.weight'"):
        align(a, untied, objective)
    assert align(a, b.state_dict(), objective).after < flat_distance(State.of(a), State.of(b))


def test_progress_may_stop_it():
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        align(MLP.model(0), MLP.model(1), MLP.objective(), progress=stop)
