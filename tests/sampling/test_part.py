"""A first look: a part of the data for the shape, full data for the level, and never a claim of accuracy."""

import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.data import Batches
from lwidgets.sampling import stream
from lwidgets.sampling.part import Part, could_guide
from lwidgets.sampling.refine import Guide, Picture
from tests.models import CNN, MLP


@pytest.fixture
def always(monkeypatch):
    """Every evaluation is slow enough for a first look."""
    monkeypatch.setattr(sys.modules["lwidgets.sampling.sample"], "SLOW", -1.0)


@pytest.fixture(scope="module")
def many():
    """A network on far more samples than it needs."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 12), nn.Tanh(), nn.Linear(12, 3))
    inputs = torch.randn(4000, 5)
    labels = (inputs[:, :3] + 0.3 * torch.randn(4000, 3)).argmax(dim=1)
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    return model, (inputs, labels)


def pictures(many, shape=(17, 33), **options):
    model, data = many
    objective = lw.Objective(model, data, loss=F.cross_entropy)
    plane = lw.Plane.random(model, (0, 1))
    return list(stream(objective, plane, resolution=shape, **options)), lw.sample(
        objective, plane, resolution=shape, tolerance=0
    )


def test_the_first_picture_has_the_shape_and_goes_through_what_was_measured(always, many):
    shown, exact = pictures(many)
    first = shown[0]
    assert first.provenance["sampling"]["first look"] == "500 of 4,000 samples"
    assert np.isnan(first.error["loss"])
    assert not first.final
    assert first.evaluations == 1
    assert first.values["loss"][first.evaluated] == exact.values["loss"][first.evaluated]
    truth = exact.values["loss"]
    assert np.abs(first.values["loss"] - truth).mean() < 0.1 * np.ptp(truth)


def test_it_is_a_better_picture_than_the_coarsest_grid_alone(always, many):
    shown, exact = pictures(many)
    model, data = many
    objective = lw.Objective(model, data, loss=F.cross_entropy)
    plain = next(stream(objective, lw.Plane.random(model, (0, 1)), resolution=(17, 33), first_look=False))
    assert plain.evaluations == 9
    corrected = next(one for one in shown if one.evaluations == 9)
    truth = exact.values["loss"]
    assert "first look" in corrected.provenance["sampling"]
    assert np.abs(corrected.values["loss"] - truth).max() < 0.5 * np.abs(plain.values["loss"] - truth).max()


def test_it_is_replaced_by_full_data_and_leaves_no_trace(always, many):
    shown, _ = pictures(many)
    with_look = shown[-1]
    model, data = many
    objective = lw.Objective(model, data, loss=F.cross_entropy)
    without = lw.sample(objective, lw.Plane.random(model, (0, 1)), resolution=(17, 33))
    assert with_look.final
    assert "first look" not in with_look.provenance["sampling"]
    np.testing.assert_array_equal(with_look.values["loss"], without.values["loss"])
    np.testing.assert_array_equal(with_look.evaluated, without.evaluated)
    assert with_look.error == without.error


def test_every_picture_that_owes_anything_to_the_part_says_so(always, many):
    model, data = many
    objective = lw.Objective(model, data, loss=F.cross_entropy)
    plane = lw.Plane.random(model, (0, 1))
    plain = {one.evaluations: one for one in stream(objective, plane, resolution=17, first_look=False)}
    for one in stream(objective, plane, resolution=17):
        same = one.evaluations in plain and np.array_equal(
            one.values["loss"], plain[one.evaluations].values["loss"], equal_nan=True
        )
        assert same != ("first look" in one.provenance["sampling"])


def test_a_fast_objective_needs_none(many, monkeypatch):
    monkeypatch.setattr(sys.modules["lwidgets.sampling.sample"], "SLOW", 1e9)
    shown, _ = pictures(many)
    assert shown[0].evaluations == 9


def test_few_samples_need_none(always):
    case = MLP
    shown = list(stream(case.objective(), lw.Plane.random(case.model(), (0, 1)), resolution=9))
    assert all("first look" not in one.provenance["sampling"] for one in shown)


def test_progress_can_end_it(always, many):
    model, data = many
    objective = lw.Objective(model, data, loss=F.cross_entropy)
    calls = []

    def progress(done, total):
        calls.append(done)
        if len(calls) == 5:
            raise StopAsyncIteration

    with pytest.raises(StopAsyncIteration):
        list(stream(objective, lw.Plane.random(model, (0, 1)), progress=progress))
    assert calls == [1] * 5


@pytest.mark.parametrize("sizes", [(4000,), (1000, 1000, 2000), (7,) * 571])
def test_a_part_holds_every_label_in_its_share(many, sizes):
    inputs, labels = many[1]
    batches = list(zip(inputs[: sum(sizes)].split(sizes), labels[: sum(sizes)].split(sizes), strict=True))
    part = Batches.of(batches, torch.device("cpu")).part(400)
    (x, y), count = part.batches[0], len(part)
    assert count == len(x) == len(y) == 400
    share = torch.bincount(y, minlength=3) / count - torch.bincount(labels, minlength=3) / 4000
    assert share.abs().max() < 0.01
    rows = {tuple(row.tolist()): int(label) for row, label in zip(inputs, labels, strict=True)}
    assert all(rows[tuple(row.tolist())] == int(label) for row, label in zip(x, y, strict=True))
    assert len({tuple(row.tolist()) for row in x}) == 400


def test_data_that_cannot_be_divided_have_no_part():
    ragged = [torch.zeros(10, 3), torch.zeros(10, 4)]
    assert Batches.of(ragged, torch.device("cpu")).part(4) is None


def test_batchnorm_is_recalibrated_on_the_part_too(always):
    case = CNN
    inputs, labels = case.samples()
    data = (inputs.repeat(20, 1, 1, 1) + 0.01 * torch.randn(20 * len(inputs), *inputs.shape[1:]), labels.repeat(20))
    objective = lw.Objective(case.model(), data, loss=case.loss)
    line = lw.Line(case.model(), case.model(1))
    first = next(stream(objective, line, resolution=17))
    exact = lw.sample(objective, line, resolution=17, tolerance=0)
    assert exact.provenance["batchnorm"] == "recalibrate"
    gap = np.abs(first.values["loss"] - exact.values["loss"]).max()
    assert "first look" in first.provenance["sampling"]
    assert gap < 0.3 * np.ptp(exact.values["loss"])


@pytest.fixture
def steep(monkeypatch):
    """A deep linear network: its loss is a polynomial of high degree, too steep for the first grids."""
    monkeypatch.setattr("lwidgets.sampling.part._WORK", 0)
    torch.manual_seed(1)
    model = nn.Sequential(*(nn.Linear(6, 6, bias=False) for _ in range(4)))
    inputs = torch.randn(2000, 6)
    return model, (inputs, inputs @ torch.randn(6, 6))


def steep_landscapes(steep, counted=None, **options):
    def loss(output, target):
        if counted is not None:
            counted.append(len(output))
        return F.mse_loss(output, target)

    objective = lw.Objective(steep[0], steep[1], loss=loss, metrics={"mae": F.l1_loss})
    return list(stream(objective, lw.Plane.random(steep[0], (0, 1), span=2.0), resolution=(65, 49), **options))


def true_error(landscape, exact, metric="loss"):
    return np.abs(landscape.values[metric] - exact.values[metric]).max()


@pytest.mark.parametrize("log", [False, True])
def test_a_guide_saves_evaluations_and_the_error_stays_inside_the_estimate(steep, monkeypatch, log):
    guided = steep_landscapes(steep, log=log, tolerance=6e-3 if log else 1e-2)[-1]
    exact = steep_landscapes(steep, tolerance=0)[-1]
    monkeypatch.setattr("lwidgets.sampling.part._WORK", np.inf)
    plain = steep_landscapes(steep, log=log, tolerance=6e-3 if log else 1e-2)[-1]
    said = guided.provenance["sampling"]["guide"]
    assert said.startswith("loss")
    assert said.endswith("evaluations on 250 of 2,000 samples")
    assert "guide" not in plain.provenance["sampling"]
    assert guided.provenance["sampling"]["settled"]
    assert guided.evaluations < 0.6 * plain.evaluations
    for metric in ("loss", "mae"):
        assert true_error(guided, exact, metric) <= guided.error[metric]
    np.testing.assert_array_equal(guided.values["loss"][guided.evaluated], exact.values["loss"][guided.evaluated])


def test_with_a_guide_the_second_visit_evaluates_nothing(steep, monkeypatch):
    first = steep_landscapes(steep)[-1]
    assert "guide" in first.provenance["sampling"]

    def evaluate(self, coefficients):
        raise AssertionError("evaluated again")

    monkeypatch.setattr("lwidgets.sampling.evaluate.Local.__call__", evaluate)
    second = steep_landscapes(steep)[-1]
    np.testing.assert_array_equal(first.values["loss"], second.values["loss"])
    assert first.error == second.error


def test_while_the_guide_is_measured_its_shape_is_on_show_and_labelled(steep):
    shown = steep_landscapes(steep)
    looks = [one for one in shown if "first look" in one.provenance["sampling"]]
    assert looks
    assert all(np.isnan(one.error["loss"]) and one.evaluations == 25 for one in looks)
    exact = steep_landscapes(steep, tolerance=0)[-1]
    coarse = next(one for one in shown if one.evaluations == 25)
    assert true_error(looks[-1], exact) < true_error(coarse, exact) / 5
    assert "first look" not in shown[-1].provenance["sampling"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, StopAsyncIteration])
def test_measuring_the_guide_can_be_stopped(steep, stop):
    counted = []

    def progress(done, total):
        if counted and counted[-1] == 250 and len(counted) > 60:
            raise stop

    with pytest.raises(stop) as caught:
        steep_landscapes(steep, counted, progress=progress)
    assert len(counted) < 70
    if stop is KeyboardInterrupt:
        assert caught.value.landscape.evaluations == 25


def test_an_objective_that_fails_on_a_part_is_measured_without(steep, monkeypatch):
    def whole_only(output, target):
        if len(output) < 2000:
            raise RuntimeError("all of the data, please")
        return F.mse_loss(output, target)

    objective = lw.Objective(steep[0], steep[1], loss=whole_only)
    plane = lw.Plane.random(steep[0], (0, 1), span=2.0)
    landscape = lw.sample(objective, plane, resolution=33)
    monkeypatch.setattr("lwidgets.sampling.part._WORK", np.inf)
    plain = lw.sample(objective, plane, resolution=33)
    np.testing.assert_array_equal(landscape.values["loss"], plain.values["loss"])


def test_a_guide_that_leads_astray_is_dropped(steep, monkeypatch):
    def rough(self, picture, names, deciding, tolerance, log):
        noise = np.random.default_rng(0).normal(size=picture.evaluated.shape) * np.ptp(picture.values["loss"])
        return Guide({"loss": 0.1 * noise}, {"loss": 0.0}, {"loss": np.zeros(noise.shape)}, 120)

    monkeypatch.setattr(Part, "guide", rough)
    landscape = steep_landscapes(steep)[-1]
    exact = steep_landscapes(steep, tolerance=0)[-1]
    assert landscape.provenance["sampling"]["settled"]
    assert "guide" not in landscape.provenance["sampling"]
    assert true_error(landscape, exact) <= landscape.error["loss"]
    assert landscape.evaluations < 0.5 * exact.evaluations


def test_a_part_of_another_shape_is_no_guide(steep):
    model, (inputs, targets) = steep
    targets = targets * torch.linspace(0, 30, len(targets)).unsqueeze(1).roll(7, 0) * torch.randn(len(targets), 1)
    objective = lw.Objective(model, (inputs[:300], targets[:300]), loss=F.mse_loss)
    landscape = lw.sample(objective, lw.Plane.random(model, (0, 1), span=0.7), resolution=33)
    assert "guide" not in landscape.provenance["sampling"]


def picture_of(**values):
    shape = next(iter(values.values())).shape
    return Picture(values, np.ones(shape, dtype=bool), dict.fromkeys(values, 0.0), (5, 5), settled=False)


def bumps(shape=(65, 33)):
    x, y = np.meshgrid(*(np.linspace(-2, 2, n) for n in shape), indexing="ij")
    return np.exp(x**3 + y), np.sin(7 * x) * np.cos(5 * y), x - y


def test_a_part_flattens_what_it_has_the_shape_of_or_nothing_that_decides():
    steep, rough, slope = bumps()
    whole = picture_of(loss=steep, error=rough)
    part = Part(picture_of(loss=0.9 * steep + slope, error=slope), 100, 1000)
    assert part.flattens(whole, ["loss"], log=False) == []  # a tenth of the roughness is left
    part = Part(picture_of(loss=0.95 * steep + slope, error=slope), 100, 1000)
    assert part.flattens(whole, ["loss"], log=False) == ["loss"]
    assert part.flattens(whole, ["loss", "error"], log=False) == []
    assert part.flattens(whole, ["error"], log=False) == []
    logs = Part(picture_of(loss=0.5 * steep, error=slope), 100, 1000)
    assert logs.flattens(picture_of(loss=steep, error=steep), ["loss"], log=True) == ["loss"]


@pytest.mark.parametrize("hole", [np.inf, np.nan])
def test_where_something_is_not_finite_nothing_guides(steep, hole):
    values, _, slope = bumps()
    objective = lw.Objective(steep[0], steep[1], loss=F.mse_loss)
    assert could_guide(objective, picture_of(loss=values), 1e-3, ["loss"], log=False)
    assert not could_guide(objective, picture_of(loss=1 + 0 * slope), 1e-3, ["loss"], log=False)
    holed = values.copy()
    holed[0, 0] = hole
    assert not could_guide(objective, picture_of(loss=holed), 1e-3, ["loss"], log=False)
    part = Part(picture_of(loss=holed), 100, 1000)
    assert part.flattens(picture_of(loss=values), ["loss"], log=False) == []
    assert part.guide(picture_of(loss=values), ["loss"], ["loss"], 1e-2, log=False) is None
