"""REPAIR: nothing at the ends, the goals in between, and lower barriers."""

import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.explorers import CurveExplorer
from lwidgets.parameters import State
from lwidgets.symmetry.align import align
from lwidgets.symmetry.repair import repair
from tests.models import CNN, MLP, TRANSFORMER, everything_about, same


class Convolutional(nn.Module):
    """No BatchNorm, a layer that is called twice, and one that never is."""

    def __init__(self):
        super().__init__()
        self.stem, self.twice = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.head, self.spare = nn.Linear(4, 3), nn.Linear(2, 2)

    def forward(self, x):
        x = F.relu(self.stem(x))
        return self.head(F.relu(self.twice(F.relu(self.twice(x)))).mean((2, 3)))


def convolutional(seed):
    torch.manual_seed(seed)
    return Convolutional()


def cases():
    objective, a, b = lw.demo.digits(hidden=(24, 24, 24), steps=150)
    yield objective, a, b
    a, b = convolutional(0), convolutional(1)
    yield lw.Objective(a, CNN.samples(), loss=F.cross_entropy), a, b
    yield TRANSFORMER.objective(), TRANSFORMER.model(0), TRANSFORMER.model(1)


def metrics(found, at):
    line = lw.Line(found.a, found.b).bound(found.objective.space)
    return found.objective.measure(line.point([at]), "recalibrate")


@pytest.mark.parametrize("which", range(3))
def test_changes_nothing_at_the_ends(which):
    objective, a, b = list(cases())[which]
    found = repair(objective, a, b)
    for at, model, own in ((0.0, a, found.a), (1.0, b, found.b)):
        wanted = objective.measure(model)["loss"]
        assert metrics(found, at)["loss"] == pytest.approx(wanted, rel=1e-5)
        assert found.objective.measure(own, "frozen")["loss"] == pytest.approx(wanted, rel=1e-5)
        inputs = objective.data.batches[0][0][:5] if which < 2 else objective.data.batches[0][:5]
        repaired = found.objective.model_at(own)
        torch.testing.assert_close(repaired(inputs), objective.model_at(State.of(model))(inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("at", [0.25, 0.5, 0.9])
@pytest.mark.parametrize("which", range(2))
def test_units_have_the_mean_and_the_deviation_between_those_at_the_ends(which, at):
    objective, a, b = list(cases())[which]
    found = repair(objective, a, b)
    layer, dim = ("2", 1) if which == 0 else ("stem", 1)
    inputs = objective.data.batches[0][0]

    def statistics(model):
        seen = []
        handle = model.get_submodule(layer).register_forward_hook(lambda _, __, out: seen.append(out.detach().double()))
        with handle, torch.no_grad():
            model(inputs)
        rows = seen[0].movedim(dim, -1).flatten(0, -2)
        return rows.mean(0), rows.std(0, unbiased=False)

    point = lw.Line(found.a, found.b).bound(found.objective.space).point([at])
    ends = [statistics(model) for model in (a, b)]
    reached = statistics(found.objective.model_at(point, "recalibrate"))
    for start, end, here in zip(*ends, reached, strict=True):
        torch.testing.assert_close(here, (1 - at) * start + at * end, rtol=1e-4, atol=1e-4)


def test_barriers_fall_and_the_explorer_takes_it():
    objective, a, b = lw.demo.digits(hidden=(32,) * 4, steps=200)
    aligned = align(a, b, objective).state
    heights = []
    for own, *ends in ((objective, a, aligned), repair(objective, a, aligned)):
        heights.append(lw.sample(own.test, lw.Line(*ends), resolution=9, tolerance=0).barrier().value)
    assert heights[1] < 0.5 * heights[0]
    found = repair(objective, a, aligned)
    explorer = CurveExplorer(found.objective, found.a, found.b)
    explorer.close()


def test_is_measured_on_test_data_with_the_statistics_of_training_data():
    objective, a, b = lw.demo.digits(hidden=(16,), steps=60)
    found = repair(objective, a, b)
    inputs, labels = objective.test.data.batches[0]
    point = lw.Line(found.a, found.b).bound(found.objective.space).point([0.5])
    model = found.objective.model_at(point, "recalibrate")
    with torch.no_grad():
        expected = F.cross_entropy(model(inputs), labels).item()
    assert found.objective.test.measure(point, "recalibrate")["loss"] == pytest.approx(expected, rel=1e-5)


def test_batches_are_averaged_and_pickles_travel():
    x, y = MLP.samples()
    batches = [(x[:20], y[:20]), (x[20:], y[20:])]
    objective = lw.Objective(MLP.model(), batches, loss=F.cross_entropy)
    found = repair(objective, MLP.model(0), MLP.model(1))
    assert metrics(found, 0.0)["loss"] == pytest.approx(objective.measure(MLP.model())["loss"], rel=0.2)
    layer = found.objective.module.get_submodule("0.repair")
    assert layer.weight.shape == (16,)
    again = pickle.loads(pickle.dumps(found.objective))
    assert again.measure(found.a, "recalibrate") == found.objective.measure(found.a, "recalibrate")


def test_layers_called_twice_or_never_stay_as_they_are():
    a, b = convolutional(0), convolutional(1)
    found = repair(lw.Objective(a, CNN.samples(), loss=F.cross_entropy), a, b)
    added = {n.rpartition(".repair.")[0] for n in found.objective.space.shapes if ".repair." in n}
    assert added == {"stem", "head"}


def test_batchnorm_is_recalibrated_and_nothing_added():
    objective, a, b = CNN.objective(batchnorm="frozen"), CNN.model(0), CNN.model(1)
    found = repair(objective, a, b)
    assert found.objective.batchnorm == "recalibrate"
    assert objective.batchnorm == "frozen"
    assert found.objective.space == objective.space
    assert same(found.a.tensors, objective.space.select(State.of(a)).tensors)


def test_frozen_parameters_stay_frozen_and_nothing_is_touched():
    a, b = MLP.model(0), MLP.model(1)
    objective = lw.Objective(a, MLP.samples(), loss=F.cross_entropy, params=["*", "!0.weight"])
    before = {i: everything_about(model) for i, model in enumerate((a, b))}
    state, space = torch.get_rng_state(), objective.space
    found = repair(objective, a, b)
    metrics(found, 0.5)
    assert "0.weight" not in found.objective.space.moved
    assert "0.repair.weight" in found.objective.space.moved
    assert objective.space is space
    assert same(before, {i: everything_about(model) for i, model in enumerate((a, b))})
    assert not a[0]._forward_hooks
    assert torch.equal(state, torch.get_rng_state())


def test_refuses_an_analytic_objective():
    with pytest.raises(ValueError, match="repair: objective must have a model"):
        repair(lw.Objective.from_function(lambda u: u.sum(1), dim=2), torch.zeros(2), torch.zeros(2))
