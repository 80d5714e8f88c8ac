"""Memory: a plane is a few models, however many points it has."""

import gc

import pytest
import torch
from torch import nn

import lwidgets as lw

MODEL_BYTES = 4 * (512 * 1024 + 1024 * 512)


def live_tensors():
    gc.collect()  # type(), because isinstance() would wake the deprecated proxies among torch's own objects
    return [thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor)]


def live_bytes():
    """Bytes behind all live tensors, each storage once."""
    storages = (tensor.untyped_storage() for tensor in live_tensors())
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def wide():
    return nn.Sequential(nn.Linear(512, 1024, bias=False), nn.ReLU(), nn.Linear(1024, 512, bias=False))


@pytest.mark.parametrize("points", [9, 49])
def test_a_plane_needs_three_models_and_one_scratch_however_many_points(points):
    model, x = wide(), torch.randn(2, 512)
    before, high = live_bytes(), 0

    def progress(done, total):
        nonlocal high
        high = max(high, live_bytes())

    objective = lw.Objective(model, (x, x), loss=nn.functional.mse_loss)
    plane = lw.Plane.random(model)
    side = round(points**0.5)
    lw.sample(objective, plane, resolution=side, tolerance=0, progress=progress)
    assert high - before < 4.5 * MODEL_BYTES


def test_objectives_and_planes_that_are_gone_leave_nothing_behind():
    model, x = wide(), torch.randn(2, 512)
    before = live_bytes()
    for seed in range(3):
        objective = lw.Objective(model, (x, x), loss=nn.functional.mse_loss)
        landscape = lw.sample(objective, lw.Plane.random(model, (seed, seed + 1)), resolution=3)
    del objective
    assert live_bytes() - before < 0.1 * MODEL_BYTES
    assert landscape.evaluations == 9


def test_no_points_are_copied_while_evaluating():
    """The number of live tensors during the last point is that during the first."""
    model, x = wide(), torch.randn(2, 512)
    counts = []

    def progress(done, total):
        counts.append(len(live_tensors()))

    objective = lw.Objective(model, (x, x), loss=nn.functional.mse_loss)
    lw.sample(objective, lw.Plane.random(model), resolution=5, tolerance=0, progress=progress)
    assert len(counts) == 25
    assert max(counts) - counts[0] <= 2
