"""A first look: a part of the data for the shape, full data for the level, and never a claim of accuracy."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.data import Batches
from lwidgets.sampling import first_look, stream
from tests.models import CNN, MLP


@pytest.fixture
def always(monkeypatch):
    """Every evaluation is slow enough for a first look."""
    monkeypatch.setattr(first_look, "_SLOW", -1.0)


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
    assert first.provenance["sampling"]["first look"] == "250 of 4,000 samples"
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
    monkeypatch.setattr(first_look, "_SLOW", 1e9)
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
