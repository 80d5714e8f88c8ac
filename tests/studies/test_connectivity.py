"""Two models and the paths between them, against landscapes of the same paths sampled one by one."""

import copy
import itertools
import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.explorers import ConnectivityExplorer
from lwidgets.export.recording import record
from lwidgets.studies.parts import paths, route
from lwidgets.symmetry import Level, canonical, derive, recast
from lwidgets.symmetry.align import align
from lwidgets.symmetry.canonical import rewritten
from tests.models import TRANSFORMER, flat
from tests.studies.reading import curve_of, on_show, picture, text_of


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


def table(explorer):
    """What is said about the paths, and why there is no other."""
    return text_of(explorer, "refusal", "barriers_table")


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
    told = table(explorer)
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
    assert [m.label for m in picture(explorer, "plane_picture").markers] == ["a", "b", "b aligned"]
    assert "plane_picture" in on_show(explorer)
    explorer.plane = False
    assert explorer.wait(60)
    assert "plane_picture" not in on_show(explorer)
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
    assert "No alignment." in table(explorer)
    assert "float32 only" in table(explorer)
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
            assert f"most by {most}," in picture(explorer, "examples_picture").caption
            curve = curve_of(explorer, "examples_picture", name)
            np.testing.assert_allclose(curve.y, np.sort(excess)[::-1], atol=2e-5)
    explorer.by_example = False
    assert explorer.wait(60)
    assert "examples_picture" not in on_show(explorer)
    explorer.close()


def test_another_loss_has_no_examples_and_says_so(pair):
    _, a, b = pair
    images, labels = lw.demo.digits_data()
    targets = F.one_hot(labels[:200], 10).float()
    objective = lw.Objective(a, (images[:200].float(), targets), loss=F.mse_loss)
    explorer = open_explorer((objective, a, b), by_example=True)
    assert picture(explorer, "examples_picture") is None
    assert text_of(explorer, "examples_refusal").startswith("Not by example. ")
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


REWRITTEN = pytest.mark.parametrize(("coordinates", "words"), [("folded", "folded"), ("circuits", "in circuits")])
ATTENTION = "blocks.0.attention."


@pytest.fixture(scope="module")
def transformers():
    objective, a, b = lw.demo.digits_vit(steps=150)
    (train,), (test,) = objective.data.batches, objective.test.data.batches
    train, test = ([part[:count] for part in data] for data, count in ((train, 96), (test, 64)))
    return lw.Objective(a, tuple(train), loss=F.cross_entropy, test=tuple(test)), a, b


def by_hand(objective, a, b, coordinates):
    """The objective there, and both models, without the explorer."""
    x = objective.data.batches[0][0][:3]
    first, second = (canonical(model, x, circuits=coordinates == "circuits") for model in (a, b))
    return recast(objective, first), first.module, second.module


def plain(objective, model):
    """The slow way to the loss."""
    ((images, labels),) = objective.data.batches
    with torch.no_grad():
        return F.cross_entropy(model(images), labels).item()


def mixture(objective, a, b, alpha):
    """A model whose parameter p is a's on its way to b by alpha(p)."""
    theirs = dict(b.named_parameters())
    with torch.no_grad():
        mixed = {name: torch.lerp(p, theirs[name], float(alpha(name))) for name, p in a.named_parameters()}
    return objective.model_at(lw.State(mixed))


def moved_as(found, model):
    """A model, moved as an alignment moved its own."""
    moved = copy.deepcopy(model)
    moved.load_state_dict(found.spec.apply(found.element, model).parameters)
    return moved


@REWRITTEN
def test_aligned_paths_in_other_coordinates_are_those_by_hand(transformers, coordinates, words):
    objective, a, b = transformers
    explorer = open_explorer(
        transformers, alignment="weights", coordinates=coordinates, tolerance=0.0, resolution=9, alpha=0.25
    )
    there, first, second = by_hand(objective, a, b, coordinates)
    found = align(first, second, there)
    drawn = explorer.landscapes
    for name, on, ends in (("straight", objective, (a, b)), ("aligned", there, (first, found.state))):
        by_itself = lw.sample(on.test, lw.Line(*ends), resolution=9, tolerance=0.0)
        np.testing.assert_allclose(drawn[name].values["loss"], by_itself.values["loss"], rtol=1e-4)
    in_its_own = lw.sample(objective.test, lw.Line(a, align(a, b, objective).state), resolution=9, tolerance=0.0)
    assert np.abs(drawn["aligned"].values["loss"] - in_its_own.values["loss"]).max() > 0.05
    for told in (table(explorer), picture(explorer, "curves_picture").caption):
        assert "straight, as they are" in told
        assert f"aligned, {words}" in told
    assert ("leave the architecture" in table(explorer)) is (coordinates == "circuits")
    assert explorer.alignment_found.before == pytest.approx(found.before, rel=1e-4)
    groups = derive(first, objective.data.batches[0][0][:4]).groups
    assert explorer.study["symmetries"].groups == groups
    assert all(name in text_of(explorer, "symmetries_table") for name in groups)
    assert f"Symmetries, {words}: " in text_of(explorer, "symmetries_table")
    assert "gain and shift of blocks.0.norm1 went into" in text_of(explorer, "symmetries_table")
    report = explorer.verify(60)
    assert report
    assert report.checks["The models compute the same in these coordinates"].state == "pass"
    assert f"outputs of b, {words}, changed by" in report.checks["The aligned model computes what b does"].detail
    explorer.close()


@REWRITTEN
def test_a_model_on_the_way_is_one_of_those_coordinates(transformers, coordinates, words):
    objective, a, b = transformers
    explorer = open_explorer(transformers, alignment="weights", coordinates=coordinates)
    there, first, second = by_hand(objective, a, b, coordinates)
    expected = mixture(there, first, moved_as(explorer.alignment_found, second), lambda _: 0.3)
    found = explorer.model_at(0.3, "aligned")
    assert found.state_dict().keys() == first.state_dict().keys() != a.state_dict().keys()
    images = objective.data.batches[0][0][:20]
    with torch.no_grad():
        torch.testing.assert_close(found(images), expected(images), rtol=1e-3, atol=1e-4)
        straight = explorer.model_at(0.3)(images)
        torch.testing.assert_close(straight, mixture(objective, a, b, lambda _: 0.3)(images))
    explorer.close()


@pytest.mark.parametrize("coordinates", ["original", "folded", "circuits"])
def test_every_path_leads_from_a_to_b_in_every_coordinates(transformers, coordinates, monkeypatch):
    objective, a, b = transformers
    monkeypatch.setattr(paths, "connect", partial(lw.connect, steps=3))
    explorer = open_explorer(
        transformers, alignment="weights", coordinates=coordinates, curve="chain", repair=True, resolution=9
    )
    assert set(explorer.landscapes) == {"straight", "aligned", "repaired", "curved"}
    for name, landscape in explorer.landscapes.items():
        for alpha, model in ((0.0, a), (1.0, b)):
            known = plain(objective.test, model)
            assert landscape.at(alpha)["loss"] == pytest.approx(known, rel=1e-3 if name == "repaired" else 1e-5)
            own = plain(objective.test, explorer.model_at(alpha, name))
            assert own == pytest.approx(known, rel=1e-3 if name == "repaired" else 1e-5)
    words = {"original": "", "folded": ", folded", "circuits": ", in circuits"}[coordinates]
    for name in ("aligned", "repaired", "curved"):
        assert f"{name}{words}" in [row[0] for row in picture(explorer, "barriers_table").rows]
    names = {name for name, _ in explorer.model_at(0.5, "curved").named_parameters()}
    assert (f"{ATTENTION}qk" in names, "norm.weight" in names) == (coordinates == "circuits", coordinates == "original")
    assert explorer.path.vertices[-1].parameters.keys() == names
    explorer.close()


@REWRITTEN
def test_the_plane_is_in_the_coordinates(transformers, coordinates, words):
    objective, a, b = transformers
    explorer = open_explorer(transformers, alignment="weights", coordinates=coordinates, plane=True)
    there, first, second = by_hand(objective, a, b, coordinates)
    moved = explorer.alignment_found.model
    surface = explorer.study["surface"]
    assert surface.evaluated[surface.pixel((1.0, 0.0))]
    for place, end in (((0.0, 0.0), first), ((1.0, 0.0), second), ((0.0, 1.0), moved)):
        assert surface.at(place)["loss"] == pytest.approx(plain(objective.test, end), rel=1e-4)
    for place, end in (((0.5, 0.0), second), ((0.0, 0.5), moved)):
        known = plain(objective.test, mixture(there, first, end, lambda _: 0.5))
        assert surface.at(place)["loss"] == pytest.approx(known, abs=2 * surface.error["loss"] + 1e-4)
    assert words in picture(explorer, "plane_picture").landscape.labels[1]
    assert picture(explorer, "plane_picture").description.endswith(f", {words}")
    explorer.close()


@REWRITTEN
def test_layers_are_mixed_in_the_coordinates(transformers, coordinates, words):
    objective, a, b = transformers
    explorer = open_explorer(transformers, alignment="weights", coordinates=coordinates, by_layer=True, tolerance=0.0)
    there, first, _ = by_hand(objective, a, b, coordinates)
    moved, names = explorer.alignment_found.model, explorer.study.sliders["mix"].parts
    assert f"{ATTENTION}out" in names
    explorer.mix = tuple(0.75 * (name == f"{ATTENTION}qkv") + 0.25 * (name == "head") for name in names)
    assert explorer.wait(120)

    def alpha(name):
        qkv = ATTENTION if coordinates == "circuits" else f"{ATTENTION}qkv."
        return 0.75 * name.startswith(qkv) + 0.25 * name.startswith("head.")

    known = plain(objective.test, mixture(there, first, moved, alpha))
    assert explorer.study["mixed"]["loss"] == pytest.approx(known, rel=1e-4)
    curves = explorer.study["layer_curves"]
    there_is = [name for name in names if "norm" not in name]
    if coordinates == "circuits":
        there_is = [name for name in there_is if not name.endswith("attention.out")]
    assert sorted(curves) == sorted(there_is)
    assert curves["head"].at(0.25)["loss"] == pytest.approx(known, rel=1e-4)
    known = plain(objective.test, mixture(there, first, moved, lambda name: alpha(name) if "head" not in name else 1.0))
    assert curves["head"].at(1.0)["loss"] == pytest.approx(known, rel=1e-4)
    assert "the parameters of blocks.0.norm1, " in text_of(explorer, "mixture_reading")
    dots = [float(one.x[0]) for one in picture(explorer, "mixture_picture").items if one.style == "points"]
    assert dots == [explorer.mix[names.index(name)] for name in curves]
    explorer.mix = (1.0,) * len(names)
    assert explorer.wait(120)
    assert explorer.study["mixed"]["loss"] == pytest.approx(plain(objective.test, b), rel=1e-4)
    explorer.coordinates = "original"
    assert explorer.wait(120)
    assert tuple(explorer.study["layer_curves"]) == names
    assert "other layers" not in text_of(explorer, "mixture_reading")
    explorer.close()


def test_a_block_keeps_its_circuits(transformers):
    explorer = ConnectivityExplorer(*transformers, by="block", by_layer=True, coordinates="circuits", plane=False)
    assert explorer.wait(120)
    assert set(explorer.study["layer_curves"]) == {"embed", "position", "blocks.0", "blocks.1", "head"}
    assert explorer.study["layers"][0].groups[f"{ATTENTION}ov"] == explorer.study["layers"][0].names.index("blocks.0")
    explorer.close()


def test_examples_are_looked_at_in_the_coordinates(transformers):
    objective, a, b = transformers
    explorer = open_explorer(transformers, alignment="weights", coordinates="circuits", by_example=True, alpha=0.4)
    there, first, _ = by_hand(objective, a, b, "circuits")
    moved = explorer.alignment_found.model
    ((images, labels),) = objective.test.data.batches

    def losses(model):
        return F.cross_entropy(model(images), labels, reduction="none").double()

    with torch.no_grad():
        for name, on, ends in (("straight", objective, (a, b)), ("aligned", there, (first, moved))):
            here = mixture(on, *ends, lambda _: 0.4)
            excess = losses(here) - 0.6 * losses(a) - 0.4 * losses(b)
            np.testing.assert_allclose(explorer.study["excesses"][name].excess, excess, atol=1e-4)
    explorer.close()


def test_where_there_is_nothing_to_fold_the_picture_is_the_same(pair, monkeypatch):
    explorer = open_explorer(pair, alignment="weights", plane=True)
    before, told = explorer.landscapes, picture(explorer, "barriers_table")
    surface = explorer.study["surface"]
    explorer.coordinates = "folded"
    assert explorer.wait(60)
    assert explorer.study.error is None
    for name, one in explorer.landscapes.items():
        np.testing.assert_array_equal(one.values["loss"], before[name].values["loss"])
    np.testing.assert_array_equal(explorer.study["surface"].values["loss"], surface.values["loss"])
    same = picture(explorer, "barriers_table")
    assert (same.title, same.head, same.rows) == (told.title, told.head, told.rows)
    assert "Nothing in these models is there to be folded" in table(explorer)
    same = explorer.verify(60).checks["The models compute the same in these coordinates"]
    assert (same.state, same.detail) == ("info", "they are compared as they are")
    explorer.coordinates = "circuits"
    assert explorer.wait(60)
    assert "Not in circuits; only the straight path is there." in table(explorer)
    assert "got none. Leave circuits out." in table(explorer)
    explorer.close()


def test_a_post_norm_network_is_refused_and_the_straight_path_stays():
    a, b = TRANSFORMER.model(0), TRANSFORMER.model(1)
    explorer = ConnectivityExplorer(
        TRANSFORMER.objective(),
        a,
        b,
        alignment="weights",
        coordinates="folded",
        curve="bezier",
        repair=True,
        by_layer=True,
        resolution=9,
        tolerance=0.0,
    )
    assert explorer.wait(120)
    assert explorer.study.error is None
    assert set(explorer.landscapes) == set(explorer.barriers) == {"straight"}
    by_itself = lw.sample(TRANSFORMER.objective(), lw.Line(a, b), resolution=9, tolerance=0.0)
    np.testing.assert_allclose(explorer.landscapes["straight"].values["loss"], by_itself.values["loss"], rtol=1e-6)
    told = table(explorer)
    assert "Not folded; only the straight path is there." in told
    assert "norm 'layer.norm1' must be read by linear layers only" in told
    assert [row[0] for row in picture(explorer, "barriers_table").rows] == ["straight"]
    assert (explorer.alignment_found, explorer.path) == (None, None)
    assert on_show(explorer) == ["curves_picture", "refusal", "barriers_table"]
    report = explorer.verify(60)
    assert report
    titles = ("The models compute the same in these coordinates", "The aligned model computes what b does")
    for title in (*titles, "The symmetries are certified"):
        assert report.checks[title].state == "warn"
        assert "layer.norm1" in report.checks[title].detail
    explorer.set_trait("curve", "none")
    explorer.coordinates = "original"
    assert explorer.wait(120)
    assert set(explorer.landscapes) == {"straight", "aligned", "repaired"}
    assert "Not folded" not in table(explorer)
    explorer.close()


def test_parameters_that_stay_are_a_reason(transformers):
    objective, a, b = transformers
    ((images, labels),) = objective.data.batches
    some = lw.Objective(a, (images[:50], labels[:50]), loss=F.cross_entropy, params="!embed.*")
    explorer = open_explorer((some, a, b), coordinates="folded", alignment="weights")
    assert "all of whose parameters move, got one in which some parameters stay" in table(explorer)
    assert set(explorer.landscapes) == {"straight"}
    explorer.close()


def test_symmetries_that_are_given_are_of_the_models_as_they_are(transformers):
    objective, a, _ = transformers
    spec = derive(a, objective.data.batches[0][0][:4]).restrict(Level.PERMUTATION)
    explorer = ConnectivityExplorer(*transformers, spec=spec, alignment="weights", coordinates="folded", plane=False)
    assert explorer.wait(120)
    assert set(explorer.landscapes) == {"straight"}
    assert "No alignment." in table(explorer)
    assert "Leave spec out to align in other coordinates." in table(explorer)
    explorer.coordinates = "original"
    assert explorer.wait(120)
    assert explorer.alignment_found.spec.groups == spec.groups
    explorer.close()


def test_of_several_models_two_are_rewritten_alike(transformers):
    objective, a, b = transformers
    c = copy.deepcopy(a)
    with torch.no_grad():
        for p in c.parameters():
            p.add_(0.05 * torch.randn(p.shape))
    explorer = open_explorer(
        (objective, a, b, c), coordinates="folded", first="b", second="c", alignment="weights", tolerance=0.0
    )
    there, first, second = by_hand(objective, b, c, "folded")
    by_itself = lw.sample(there.test, lw.Line(first, align(first, second, there).state), resolution=33, tolerance=0.0)
    np.testing.assert_allclose(explorer.landscapes["aligned"].values["loss"], by_itself.values["loss"], rtol=1e-4)
    explorer.close()


def test_a_rewriting_that_changes_a_model_is_seen(transformers, monkeypatch):
    def wrong(model, calls, **options):
        found = rewritten(model, calls, **options)
        with torch.no_grad():
            found.module.head.weight.mul_(1.01)
        return found

    monkeypatch.setattr(route, "rewritten", wrong)
    explorer = open_explorer(transformers, coordinates="folded")
    title = "The models compute the same in these coordinates"
    report = explorer.verify(60)
    assert report.checks[title].state == "fail"
    explorer.close()
    changes = iter((0.0, 1e-3))
    monkeypatch.setattr(route, "rewritten", lambda *a, **k: replace(rewritten(*a, **k), change=next(changes)))
    explorer = open_explorer(transformers, coordinates="folded")
    assert explorer.verify(60).checks[title].state == "fail"
    explorer.close()


def test_a_return_to_coordinates_rewrites_and_evaluates_nothing(transformers, monkeypatch):
    explorer = open_explorer(transformers, alignment="weights", coordinates="folded", plane=True, resolution=9)
    explorer.coordinates = "original"
    assert explorer.wait(60)
    from lwidgets.sampling.evaluate import Local

    def refuse(*_, **__):
        raise AssertionError("computed")

    monkeypatch.setattr(Local, "__call__", refuse)
    monkeypatch.setattr(route, "rewritten", refuse)
    explorer.coordinates = "folded"
    assert explorer.wait(60)
    assert explorer.study.error is None
    assert "aligned, folded" in table(explorer)
    explorer.close()


def test_a_page_has_every_coordinates(transformers, tmp_path):
    explorer = open_explorer(transformers, alignment="weights", resolution=9)
    found = record(explorer.study, {"coordinates": ("original", "folded", "circuits")}, lambda *_: None)
    place = [panel.name for panel in found.panels].index("barriers_table")
    tables = [frame[place] for frame in found.frames]
    for words, one in zip(("aligned", "aligned, folded", "aligned, in circuits"), tables, strict=True):
        assert one.rows[1][0] == words
    assert ["leave the architecture" in " ".join(one.notes) for one in tables] == [False, False, True]
    page = explorer.to_html(tmp_path / "page.html", {"coordinates": None})
    source = page.read_text(encoding="utf-8")
    assert "aligned, in circuits" in source
    assert "leave the architecture" in source
    assert explorer.coordinates == "original"
    explorer.coordinates = "circuits"
    assert explorer.wait(60)
    assert "aligned, in circuits" in json.dumps(explorer.bundle(still=False))  # what a saved notebook keeps
    explorer.close()


@pytest.mark.parametrize("coordinates", ["original", "circuits"])
def test_the_plane_shows_the_paths_that_lie_in_its_coordinates(coordinates, transformers, monkeypatch):
    monkeypatch.setattr(paths, "connect", partial(lw.connect, steps=3))
    explorer = open_explorer(
        transformers,
        alignment="weights",
        coordinates=coordinates,
        curve="bezier",
        repair=True,
        plane=True,
        resolution=9,
    )
    drawn = {path.label: path for path in picture(explorer, "plane_picture").paths}
    known, plane = explorer.study["paths"], explorer.study["through"]
    assert set(known) == {"straight", "aligned", "repaired", "curved"}
    assert list(drawn) == [name for name in ("straight", "aligned", "curved") if known[name].coordinates == coordinates]
    origin, *corners = (flat(vertex.parameters) for vertex in plane.vertices)
    axes = np.stack([corner - origin for corner in corners], axis=1)
    for name, path in drawn.items():
        for k in (0, 13, 32, 64):
            gap = flat(known[name].path.point([k / 64]).parameters) - origin
            nearest, *_ = np.linalg.lstsq(axes, gap, rcond=None)
            np.testing.assert_allclose((path.x[k], path.y[k]), nearest, atol=1e-4)
        assert path.dashed is (name == "curved")
    explorer.plane = False
    assert explorer.wait(60)
    assert picture(explorer, "plane_picture") is None
    explorer.close()


@pytest.mark.parametrize(
    ("sliders", "what"), [({"alignment": "learned"}, "alignment"), ({"curve": "bezier"}, "trained curve")]
)
def test_what_cannot_be_learned_leaves_the_straight_path(pair, sliders, what):
    objective, a, b = pair
    steps = lw.Objective(a, objective.data.batches, loss=lambda output, y: (output.argmax(1) != y).float().mean())
    explorer = open_explorer((steps, a, b), **sliders)
    assert list(explorer.landscapes) == ["straight"]
    assert f"No {what}. " in table(explorer)
    assert explorer.path is None
    explorer.close()


def test_two_of_three_models_keep_their_names(pair):
    objective, a, b = pair
    c = lw.demo.digits((2, 3), hidden=(16, 12), steps=80)[1]
    explorer = open_explorer((objective, a, b, c), first="b", second="c", alignment="weights", plane=True)
    assert {mark.label for mark in picture(explorer, "plane_picture").markers} == {"b", "c", "c aligned"}
    assert explorer.study["surface"].labels == ("x (0 = b, 1 = c)", "y (0 = b, 1 = c aligned)")
    assert picture(explorer, "curves_picture").x == "alpha (0 = b, 1 = c)"
    explorer.close()
