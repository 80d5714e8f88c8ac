"""BatchNorm modes against torch's own update_bn, frozen statistics and train mode, on deep copies."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import update_bn

import lwidgets as lw
from lwidgets.batchnorm import batchnorm_layers
from tests.models import CNN, MLP, at, everything_about, named, same

X, Y = CNN.samples(torch.float64)
BATCHES = list(zip(X.split(8), Y.split(8), strict=True))  # 8, 8, 8, 2


def models():
    return [CNN.model(seed, torch.float64) for seed in range(2)]


def between(alpha):
    """Weights on the line; statistics as they come, those of the first model."""
    a, b = models()
    return at(a, [(1 - alpha, named(a)), (alpha, named(b))])


def recalibrated(model):
    model = copy.deepcopy(model)
    update_bn([x for x, _ in BATCHES], model)
    return model.eval()


def as_frozen(model):
    return copy.deepcopy(model).eval()


def with_batch_statistics(model):
    model = copy.deepcopy(model).eval()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.train()
    return model


REFERENCE = {"recalibrate": recalibrated, "frozen": as_frozen, "batch": with_batch_statistics}


def loop(prepare, alphas):
    """Sample-weighted loss of user modules, one alpha after another."""
    losses = []
    for alpha in alphas:
        model = prepare(between(alpha))
        with torch.no_grad():
            losses.append(sum(len(x) * F.cross_entropy(model(x), y).item() for x, y in BATCHES) / len(X))
    return losses


def sampled(mode, subspace=None, size=5):
    a, b = models()
    objective = lw.Objective(a, BATCHES, loss=F.cross_entropy, batchnorm=mode)
    return lw.sample(objective, subspace or lw.Line(a, b), resolution=size, tolerance=0)


@pytest.mark.parametrize("mode", REFERENCE)
def test_trap_5_each_mode_is_the_textbooks(mode):
    landscape = sampled(mode)
    np.testing.assert_allclose(landscape.values["loss"], loop(REFERENCE[mode], landscape.coords[0]), rtol=1e-11)
    assert landscape.provenance["batchnorm"] == mode
    assert landscape.barrier().batchnorm == mode


def test_trap_5_the_three_modes_are_three_pictures():
    curves = [sampled(mode).values["loss"] for mode in REFERENCE]
    assert min(np.abs(a - b).max() for i, a in enumerate(curves) for b in curves[:i]) > 1e-3


def test_trap_5_recalibrate_between_models_and_frozen_around_one_is_the_default():
    a, _ = models()
    assert sampled(None).values["loss"].tolist() == sampled("recalibrate").values["loss"].tolist()
    assert sampled(None).provenance["batchnorm"] == "recalibrate"
    plane = lw.Plane.random(a)
    assert (
        sampled(None, plane, (5, 3)).values["loss"].tolist() == sampled("frozen", plane, (5, 3)).values["loss"].tolist()
    )
    assert sampled(None, plane, (5, 3)).provenance["batchnorm"] == "frozen"


def test_trap_5_without_batchnorm_the_label_is_none():
    landscape = lw.sample(MLP.objective(batchnorm="recalibrate"), lw.Line(MLP.model(0), MLP.model(1)), resolution=3)
    assert landscape.provenance["batchnorm"] == "none"


def test_trap_5_layers_that_never_track_statistics_are_labelled_as_using_each_batchs_own():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.BatchNorm1d(5, track_running_stats=False), nn.Linear(5, 3))
    objective = lw.Objective(model.double(), (X, Y), loss=F.cross_entropy)
    assert lw.sample(objective, lw.Plane.random(model), resolution=3).provenance["batchnorm"] == "batch"


def test_trap_5_running_statistics_are_never_moved_along_a_direction():
    """Far out on a random plane an added direction would make running_var negative, and the loss nan."""
    a, b = models()
    plane = lw.Plane.random(a, span=50.0, zero_1d=False)
    assert not any("running" in name or "num_batches" in name for v in plane.basis.vectors for name in v)
    assert np.isfinite(sampled("frozen", plane, (3, 5)).values["loss"]).all()
    for subspace in (plane, lw.Line(a, b)):
        point = subspace.point(np.full(len(subspace.axes), 0.5))
        assert same(dict(point.buffers), dict(a.named_buffers()))


def test_trap_5_one_point_does_not_disturb_the_next():
    """Recalibrated statistics of one point must be gone at the following one, in any order and after other modes."""
    a, b = models()
    objective = lw.Objective(a, BATCHES, loss=F.cross_entropy)
    line = lw.Line(a, b).bound(objective.space)

    def values(alphas, mode):
        return [
            v["loss"]
            for v in objective.evaluate(line.basis, line.coefficients(np.reshape(alphas, (-1, 1))), batchnorm=mode)
        ]

    forth = values([0.0, 0.5, 1.0], "recalibrate")
    frozen = values([0.0, 0.5, 1.0], "frozen")
    values([0.3], "batch")
    assert values([1.0, 0.5, 0.0], "recalibrate") == forth[::-1]
    assert values([1.0, 0.5, 0.0], "frozen") == frozen[::-1]


@pytest.mark.parametrize("mode", REFERENCE)
def test_trap_5_the_users_model_keeps_its_statistics_mode_and_momentum(mode):
    a, b = models()
    a.train()
    before = everything_about(a), [layer.momentum for layer in batchnorm_layers(a)]
    objective = lw.Objective(a, BATCHES, loss=F.cross_entropy, batchnorm=mode)
    lw.sample(objective, lw.Line(a, b), resolution=3, tolerance=0)
    objective.model_at(lw.Line(a, b).point([0.5]), mode)
    assert same(before[0], everything_about(a))
    assert before[1] == [layer.momentum for layer in batchnorm_layers(a)]


def test_trap_5_held_out_data_are_judged_with_statistics_of_the_training_data():
    a, b = models()
    test = torch.randn(7, 1, 8, 8, dtype=torch.float64), torch.randint(3, (7,))
    objective = lw.Objective(a, BATCHES, loss=F.cross_entropy, test=test)
    landscape = lw.sample(objective.test, lw.Line(a, b), resolution=3, tolerance=0)
    with torch.no_grad():
        expected = [F.cross_entropy(recalibrated(between(alpha))(test[0]), test[1]).item() for alpha in (0, 0.5, 1)]
    np.testing.assert_allclose(landscape.values["loss"], expected, rtol=1e-11)
    assert landscape.barrier().split == "test"
    assert sampled(None).barrier().split == "data"


def test_a_model_taken_from_the_landscape_gives_the_landscapes_value():
    a, b = models()
    landscape = sampled(None)
    objective = lw.Objective(a, BATCHES, loss=F.cross_entropy)
    model = objective.model_at(lw.Line(a, b).point([0.5]), "recalibrate")
    assert not model.training
    assert [layer.momentum for layer in batchnorm_layers(model)] == [0.1, 0.1]
    with torch.no_grad():
        own = sum(len(x) * F.cross_entropy(model(x), y).item() for x, y in BATCHES) / len(X)
    assert own == pytest.approx(landscape.values["loss"][2], rel=1e-12)


def test_dropout_stays_off_while_statistics_are_recalibrated():
    model = nn.Sequential(
        nn.Dropout(0.5), nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(72, 3)
    ).double()
    objective = lw.Objective(model, (X, Y), loss=F.cross_entropy, batchnorm="recalibrate")
    assert objective.measure(model, "recalibrate") == objective.measure(model, "recalibrate")


def test_dropout_stays_off_when_batches_are_normalised_by_themselves():
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.5), nn.Flatten(), nn.Linear(64, 3)).double().train()
    loss = lw.Objective(model, (X, Y), loss=F.cross_entropy).measure(model, "batch")["loss"]
    normal = (X - X.mean()) / (X.var(unbiased=False) + 1e-5).sqrt()
    assert loss == pytest.approx(F.cross_entropy(model[3](normal.flatten(1)), Y).item(), rel=1e-12)


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match=r"batchnorm must be one of recalibrate, frozen, batch or None, got 'reset'"):
        lw.Objective(models()[0], BATCHES, loss=F.cross_entropy, batchnorm="reset")
