"""The same numbers by another hand: the PyPI package loss-landscapes 3.0.6.

Where its conventions differ, as read in its code and checked here:

- ``linear_interpolation`` adds ``(end - start) / steps`` before each evaluation, so its points are alpha = 1/steps,
  2/steps, ..., 1: alpha = 0 is never evaluated. It adds in place, so rounding accumulates along the line.
- ``planar_interpolation`` walks in a serpentine and also adds before it evaluates: even rows hold y = 1/steps ... 1,
  odd rows y = 0 ... (steps - 1)/steps, one step apart in the same column. The origin is never evaluated.
- Buffers stay those of the first model, as in our "frozen"; the mode (train or eval) is the user's.
- ``filter_normalize_`` scales bias entries one by one, where we leave 1-D parameters at zero; weights of two or more
  axes agree with ours. ``random_plane`` draws from the global generator and rescales the whole direction afterwards.
- It moves the user's own module unless ``deepcopy_model=True``.
"""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.directions import gaussian, normalize
from tests.models import CNN, MLP

peer = pytest.importorskip("loss_landscapes")
metrics = pytest.importorskip("loss_landscapes.metrics")

STEPS = 8


def models(case):
    return [case.model(seed, torch.float64) for seed in range(3)]


def loss_of(case):
    return metrics.Loss(F.cross_entropy, *case.samples(torch.float64))


@pytest.mark.parametrize("case", [MLP, CNN], ids=lambda c: c.name)
def test_a_line_agrees_at_the_peers_points(case):
    a, b, _ = models(case)
    theirs = peer.linear_interpolation(a, b, loss_of(case), steps=STEPS, deepcopy_model=True)
    ours = lw.sample(
        case.objective(torch.float64, batchnorm="frozen"), lw.Line(a, b), resolution=STEPS + 1, tolerance=0
    )
    np.testing.assert_allclose(ours.values["loss"][1:], theirs, rtol=1e-10)
    assert ours.values["loss"][0] == case.plain_loss(a)  # the point that is missing there


def test_the_peers_steps_accumulate_rounding_and_ours_do_not():
    a, b = MLP.model(0), MLP.model(1)
    wrapped = copy.deepcopy(a)
    peer.linear_interpolation(wrapped, b, lambda model: 0.0, steps=1000)
    drift = max((p - q).abs().max().item() for p, q in zip(wrapped.parameters(), b.parameters(), strict=True))
    assert drift > 1e-6
    end = lw.Line(a, b).point([1.0])
    assert all(torch.equal(end.parameters[name], q) for name, q in b.named_parameters())


@pytest.mark.parametrize("case", [MLP, CNN], ids=lambda c: c.name)
def test_a_plane_agrees_at_the_peers_serpentine_points(case):
    a, b, c = models(case)
    theirs = peer.planar_interpolation(a, b, c, loss_of(case), steps=STEPS, deepcopy_model=True)
    ours = lw.sample(
        case.objective(torch.float64, batchnorm="frozen"),
        lw.Plane.through(a, b, c, span=(0.0, 1.0)),
        resolution=STEPS + 1,
        tolerance=0,
    ).values["loss"]
    for i in range(STEPS):
        row = ours[i, 1:] if i % 2 == 0 else ours[i, :-1]
        np.testing.assert_allclose(row, theirs[i], rtol=1e-9)


def test_one_point_agrees():
    a, _, _ = models(CNN)
    assert CNN.objective(torch.float64).measure(a)["loss"] == peer.point(copy.deepcopy(a), loss_of(CNN))


def test_filter_normalisation_of_weights_agrees():
    from loss_landscapes.model_interface.model_parameters import ModelParameters

    model = CNN.model(0, torch.float64)
    weights = {name: p.detach() for name, p in model.named_parameters() if p.ndim > 1}
    drawn = {name: gaussian(0, name, w.shape).double() for name, w in weights.items()}
    theirs = ModelParameters([d.clone() for d in drawn.values()])
    theirs.filter_normalize_(ModelParameters(list(weights.values())))
    for mine, their in zip(normalize(drawn, weights, "filter").values(), theirs.parameters, strict=True):
        np.testing.assert_allclose(mine, their, rtol=1e-12)
