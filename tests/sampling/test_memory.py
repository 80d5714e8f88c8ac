"""Memory: a plane is a few models, however many points it has."""

import gc

import pytest
import torch
from torch import nn

import lwidgets as lw

MODEL_BYTES = 4 * (512 * 1024 + 1024 * 512)


@pytest.fixture(autouse=True)
def the_loop_alone(monkeypatch):
    monkeypatch.setattr("lwidgets.sampling.evaluate._WORTH", float("inf"))  # a graph holds weights of its own


@pytest.fixture(autouse=True)
def only_what_is_new_is_counted():
    gc.collect()
    gc.freeze()  # what was there before is no longer listed by gc.get_objects, which also makes it quick
    yield
    gc.unfreeze()


def new_tensors():
    gc.collect()  # type(), because isinstance() would wake the deprecated proxies among torch's own objects
    return [thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor)]


def new_bytes():
    """Bytes behind the new tensors, each storage once."""
    storages = (tensor.untyped_storage() for tensor in new_tensors())
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def wide():
    return nn.Sequential(nn.Linear(512, 1024, bias=False), nn.ReLU(), nn.Linear(1024, 512, bias=False))


@pytest.mark.parametrize("side", [3, 7])
def test_a_plane_needs_three_models_and_one_scratch_however_many_points(side):
    model, x = wide(), torch.randn(2, 512)
    seen = []

    def progress(done, total):
        if done in (1, total // 2, total):
            seen.append(new_bytes())

    objective = lw.Objective(model, (x, x), loss=nn.functional.mse_loss)
    lw.sample(objective, lw.Plane.random(model), resolution=side, tolerance=0, progress=progress)
    assert len(seen) == 3
    # the user's model, the origin, two directions and the scratch
    assert max(seen) < 5.5 * MODEL_BYTES


def test_no_points_are_copied_while_evaluating():
    model, x = wide(), torch.randn(2, 512)
    counts = []

    def progress(done, total):
        if done in (1, 2, 9, 10, 24, 25):
            counts.append(len(new_tensors()))

    objective = lw.Objective(model, (x, x), loss=nn.functional.mse_loss)
    lw.sample(objective, lw.Plane.random(model), resolution=5, tolerance=0, progress=progress)
    assert len(counts) == 6
    assert max(counts) - min(counts) <= 2


def test_objectives_and_planes_that_are_gone_leave_nothing_behind():
    model, x = wide(), torch.randn(2, 512)
    before = new_bytes()
    for seed in range(3):
        objective = lw.Objective(model, (x, x), loss=nn.functional.mse_loss)
        landscape = lw.sample(objective, lw.Plane.random(model, (seed, seed + 1)), resolution=3)
    del objective
    assert new_bytes() - before < 0.1 * MODEL_BYTES
    assert landscape.evaluations == 9
