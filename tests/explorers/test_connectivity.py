"""Two models and the paths between them, against landscapes of the same paths sampled one by one."""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.explorers.connectivity import ConnectivityExplorer
from lwidgets.symmetry.align import align


def permuted(model, seed=0):
    """The same function with the hidden units of an MLP in another order."""
    moved, rng = copy.deepcopy(model), np.random.default_rng(seed)
    linear = [layer for layer in moved if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        for first, second in itertools.pairwise(linear):
            order = torch.as_tensor(rng.permutation(first.out_features))
            first.weight.copy_(first.weight[order])
            first.bias.copy_(first.bias[order])
            second.weight.copy_(second.weight[:, order])
    return moved


@pytest.fixture(scope="module")
def pair():
    return lw.demo.digits(hidden=(16, 12), steps=80)


def open_explorer(pair, **sliders):
    explorer = ConnectivityExplorer(*pair, **{"plane": False, **sliders})
    assert explorer.wait(120)
    assert explorer.study.error is None
    return explorer


def test_a_planted_permutation_is_undone(pair):
    objective, a, _ = pair
    explorer = open_explorer((objective, a, permuted(a)), alignment="weights")
    assert explorer.barriers["straight"].value > 0.1
    assert explorer.barriers["aligned"].value <= 1e-6
    for name, tensor in a.named_parameters():
        torch.testing.assert_close(explorer.alignment_found.state.parameters[name], tensor.detach(), rtol=0, atol=1e-6)
    assert explorer.verify(60)
    explorer.close()


@pytest.mark.parametrize("data", ["train", "test"])
@pytest.mark.parametrize("kind", ["excess", "mean", "error"])
def test_barriers_are_those_of_the_paths_by_themselves(pair, data, kind):
    objective, a, b = pair
    explorer = open_explorer(pair, alignment="weights", data=data, barrier=kind, tolerance=0.0, resolution=17)
    on = objective if data == "train" else objective.test
    moved = align(a, b, objective).state
    for name, end in (("straight", b), ("aligned", moved)):
        by_itself = lw.sample(on, lw.Line(a, end), resolution=17, tolerance=0.0)
        np.testing.assert_allclose(explorer.landscapes[name].values["loss"], by_itself.values["loss"], rtol=1e-6)
        known = by_itself.barrier(None if kind == "error" else "loss", kind)
        assert explorer.barriers[name].value >= known.value - 1e-9
        assert explorer.barriers[name].value == pytest.approx(known.value, abs=2 * known.error + 1e-9)
        assert explorer.barriers[name].definition == known.definition
    told = explorer.table.value
    assert f"{explorer.barriers['aligned'].value:.4g} ±" in told
    assert data in told
    explorer.close()


def test_a_trained_curve_leads_to_the_aligned_model(pair):
    objective, _, b = pair
    explorer = open_explorer(pair, alignment="weights", curve="chain")
    path = explorer.path
    assert path.kind == "chain"
    for name, tensor in explorer.alignment_found.state.parameters.items():
        assert torch.equal(path.vertices[-1].parameters[name], tensor)
    assert explorer.barriers["curved"].value < explorer.barriers["straight"].value
    middle = explorer.model_at(0.5, "curved")
    told = explorer.landscapes["curved"].at(0.5)["loss"]
    assert explorer.study["data"] == "test"
    assert objective.test.measure(middle)["loss"] == pytest.approx(told, rel=1e-3)
    explorer.alignment = "none"
    assert explorer.wait(120)
    for name, tensor in b.named_parameters():
        assert torch.equal(explorer.path.vertices[-1].parameters[name], tensor)
    explorer.close()


def test_the_plane_holds_the_three_models(pair):
    objective, _, b = pair
    explorer = open_explorer(pair, alignment="weights", plane=True)
    surface = explorer.study["surface"]
    known = objective.test.measure(b)["loss"]
    assert surface.at((1.0, 0.0))["loss"] == pytest.approx(known, rel=1e-6)
    assert surface.at((0.0, 1.0))["loss"] == pytest.approx(known, rel=1e-5)
    assert [m["label"] for m in explorer.height_field.markers] == ["a", "b", "b aligned"]
    assert explorer.plane_box.children == (explorer.height_field,)
    explorer.plane = False
    assert explorer.wait(60)
    assert explorer.plane_box.children == ()
    explorer.close()


def test_a_return_to_an_alignment_evaluates_nothing(pair, monkeypatch):
    explorer = open_explorer(pair, alignment="weights", plane=True)
    explorer.alignment = "none"
    assert explorer.wait(60)
    from lwidgets.sampling.evaluate import Local

    def refuse(self, coefficients):
        raise AssertionError("evaluated")

    monkeypatch.setattr(Local, "__call__", refuse)
    explorer.alignment = "weights"
    assert explorer.wait(60)
    assert explorer.study.error is None
    assert set(explorer.landscapes) == {"straight", "aligned"}
    explorer.close()


def test_models_that_do_not_fit_are_refused_by_the_key(pair):
    objective, a, _ = pair
    with pytest.raises(ValueError, match=r"0\.weight"):
        ConnectivityExplorer(objective, a, nn.Sequential(nn.Linear(64, 7), nn.ReLU(), nn.Linear(7, 10)))


class Noisy(nn.Module):
    """Not deterministic outside of what an objective sees: its symmetries cannot be derived."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(5, 6), nn.Linear(6, 3)

    def forward(self, x):
        if x.dtype == torch.float64:
            raise RuntimeError("float32 only")
        return self.fc2(torch.relu(self.fc1(x)))


def test_without_symmetries_the_straight_line_is_still_there():
    torch.manual_seed(0)
    a, b = Noisy().eval(), Noisy().eval()
    objective = lw.Objective(a, (torch.randn(20, 5), torch.randint(3, (20,))), loss=F.cross_entropy)
    explorer = open_explorer((objective, a, b), alignment="weights")
    assert set(explorer.landscapes) == {"straight"}
    assert explorer.alignment_found is None
    assert "No alignment." in explorer.table.value
    assert "float32 only" in explorer.table.value
    assert explorer.study.checks["The symmetries are certified"].state == "warn"
    explorer.close()


def test_a_path_that_is_not_there_is_named(pair):
    explorer = open_explorer(pair)
    with pytest.raises(ValueError, match="path must be one of straight, got 'aligned'"):
        explorer.model_at(0.5, "aligned")
    explorer.close()


def test_a_batchnorm_network(tmp_path):
    """Statistics are recalibrated on every path, and the aligned model keeps those that belong to its units."""
    torch.manual_seed(1)

    def make():
        net = nn.Sequential(
            nn.Conv2d(1, 6, 3),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(6 * 3 * 4, 5),
            nn.Tanh(),
            nn.Linear(5, 3),
        )
        net.train()(torch.randn(64, 1, 5, 6))
        return net.eval()

    a = make()
    b = copy.deepcopy(a)
    order = torch.randperm(6)
    with torch.no_grad():
        b[0].weight.copy_(a[0].weight[order])
        b[0].bias.copy_(a[0].bias[order])
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(b[1], name).copy_(getattr(a[1], name)[order])
        b[4].weight.copy_(a[4].weight.unflatten(1, (6, 12))[:, order].flatten(1))
    data = (torch.randn(40, 1, 5, 6), torch.randint(3, (40,)))
    objective = lw.Objective(a, data, loss=F.cross_entropy)
    explorer = open_explorer((objective, a, b), alignment="weights")
    assert explorer.barriers["straight"].batchnorm == "recalibrate"
    assert explorer.barriers["aligned"].value <= 1e-6
    assert explorer.verify(60)
    explorer.close()


def test_the_examples_that_make_the_barrier(pair):
    objective, a, b = pair
    explorer = open_explorer(pair, alignment="weights", by_example=True, alpha=0.4, data="test")
    ((images, labels),) = objective.test.data.batches

    def chord(model):
        return F.cross_entropy(model(images), labels, reduction="none").double()

    with torch.no_grad():
        for name, end in (("straight", b), ("aligned", explorer.alignment_found.model)):
            here = objective.model_at(lw.Line(a, end).bound(objective.space).point([0.4]))
            excess = (chord(here) - 0.6 * chord(a) - 0.4 * chord(end)).numpy()
            drawn = explorer.study["excesses"][name]
            np.testing.assert_allclose(drawn.excess, excess, atol=2e-5)
            most = int(np.argmax(excess))
            assert f"most by {most}," in explorer._examples.plot.picture()["caption"]
            curve = next(s for s in explorer._examples.plot.picture()["series"] if s["label"] == name)
            np.testing.assert_allclose(curve["y"], np.sort(excess)[::-1], atol=2e-5)
    explorer.by_example = False
    assert explorer.wait(60)
    assert explorer._examples.box.children == ()
    explorer.close()


def test_another_loss_has_no_examples_and_says_so(pair):
    _, a, b = pair
    images, labels = lw.demo.digits_data()
    targets = F.one_hot(labels[:200], 10).float()
    objective = lw.Objective(a, (images[:200].float(), targets), loss=F.mse_loss)
    explorer = open_explorer((objective, a, b), by_example=True)
    assert explorer._examples.plot.picture()["caption"].startswith("Not by example: ")
    assert explorer.study.error is None
    explorer.close()


def test_of_several_models_two_are_chosen(pair):
    objective, a, b = pair
    c = lw.demo.digits(hidden=(16, 12), steps=80, seeds=(5, 6))[1]
    explorer = open_explorer((objective, a, b, c), first="c", second="a", alignment="weights", tolerance=0.0)
    by_itself = lw.sample(objective.test, lw.Line(c, a), resolution=33, tolerance=0.0)
    np.testing.assert_allclose(explorer.landscapes["straight"].values["loss"], by_itself.values["loss"], rtol=1e-6)
    moved = align(c, a, objective).state
    by_itself = lw.sample(objective.test, lw.Line(c, moved), resolution=33, tolerance=0.0)
    np.testing.assert_allclose(explorer.landscapes["aligned"].values["loss"], by_itself.values["loss"], rtol=1e-5)
    explorer.second = "c"
    assert explorer.wait(60)
    assert explorer.study.error is None
    assert explorer.barriers["straight"].value == pytest.approx(0.0, abs=1e-7)
    explorer.close()


def test_one_model_is_not_enough(pair):
    with pytest.raises(TypeError, match="models must be two or more, got 1"):
        ConnectivityExplorer(*pair[:2])


def test_a_repaired_line_beside_the_others(pair):
    objective, a, b = pair
    explorer = open_explorer(pair, alignment="weights", repair=True, data="train", tolerance=0.0, resolution=17)
    moved = align(a, b, objective).state
    by, first, last = lw.repair(objective, a, moved)
    by_itself = lw.sample(by, lw.Line(first, last), resolution=17, tolerance=0.0)
    np.testing.assert_allclose(explorer.landscapes["repaired"].values["loss"], by_itself.values["loss"], rtol=1e-5)
    assert explorer.barriers["repaired"].batchnorm == "recalibrate"
    assert explorer.barriers["straight"].batchnorm == "none"
    for end, model in ((0.0, a), (1.0, b)):
        assert explorer.landscapes["repaired"].at(end)["loss"] == pytest.approx(
            objective.measure(model)["loss"], rel=1e-4
        )
    explorer.data = "test"
    assert explorer.wait(60)
    known = objective.test.measure(a)["loss"]
    assert explorer.landscapes["repaired"].at(0.0)["loss"] == pytest.approx(known, rel=1e-4)
    explorer.close()
