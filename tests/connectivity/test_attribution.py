"""The barrier by example: it adds up exactly, and every part is what a plain loop finds."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.connectivity.attribution import attribution
from tests.models import CNN, MLP, TRANSFORMER, at, named


def plain_scores(case, models, alpha, mode):
    model = at(models[0], [(1 - alpha, named(models[0])), (alpha, named(models[1]))])
    for part in model.modules():
        part.train(mode == "batch" and isinstance(part, torch.nn.BatchNorm2d))
    with torch.no_grad():
        return model(case.samples(torch.float64)[0])


@pytest.mark.parametrize("case", [MLP, CNN], ids=lambda c: c.name)
@pytest.mark.parametrize("alpha", [0.3, 0.5, 0.85])
def test_the_parts_are_those_of_a_plain_loop_and_add_up_to_the_barrier(case, alpha):
    models = [case.model(seed, torch.float64) for seed in range(2)]
    objective = case.objective(torch.float64, batchnorm="batch" if case is CNN else None)
    found = attribution(objective, *models, alpha)
    z = {t: plain_scores(case, models, t, "batch") for t in (0.0, alpha, 1.0)}
    y = case.samples()[1]
    loss = {t: F.cross_entropy(scores, y, reduction="none") for t, scores in z.items()}
    excess = loss[alpha] - (1 - alpha) * loss[0.0] - alpha * loss[1.0]
    np.testing.assert_allclose(found.excess, excess, atol=1e-12)
    assert found.value == pytest.approx(float(excess.mean()), abs=1e-12)
    measured = {t: objective.measure(lw.Line(*models).point([t]), found.batchnorm)["loss"] for t in z}
    assert abs(found.value - (measured[alpha] - (1 - alpha) * measured[0.0] - alpha * measured[1.0])) < 1e-12
    for i in range(len(y)):
        straight = [(1 - alpha) * p + alpha * q for p, q in zip(z[0.0][i], z[1.0][i], strict=True)]
        off = [float(h - s) for h, s in zip(z[alpha][i], straight, strict=True)]
        lse = {t: np.log(sum(np.exp(float(v)) for v in z[t][i])) for t in z}
        lse_straight = np.log(sum(np.exp(float(v)) for v in straight))
        assert found.rise[i] == pytest.approx(lse[alpha] - lse_straight, abs=1e-10)
        assert found.convexity[i] == pytest.approx((1 - alpha) * lse[0.0] + alpha * lse[1.0] - lse_straight, abs=1e-10)
        assert found.true_class[i] == pytest.approx(off[int(y[i])], abs=1e-10)
    assert found.convexity.min() >= -1e-12
    assert np.array_equal(np.sort(found.excess)[::-1], found.excess[found.order()])


def test_a_model_that_is_linear_in_its_parameters_has_no_barrier_but_minus_the_convexity():
    X, y = MLP.samples(torch.float64)
    a, b = torch.nn.Linear(6, 3).double(), torch.nn.Linear(6, 3).double()
    found = attribution(lw.Objective(a, (X, y), loss=F.cross_entropy), a, b, 0.4)
    np.testing.assert_allclose(found.rise, 0, atol=1e-12)
    np.testing.assert_allclose(found.true_class, 0, atol=1e-12)
    assert found.value == pytest.approx(-found.convexity.mean())
    assert found.value < -1e-3


def test_the_ends_have_no_excess_and_a_barrier_of_a_curve_is_its_value():
    objective, a, b = MLP.objective(), MLP.model(0), MLP.model(1)
    for alpha in (0.0, 1.0):
        assert np.abs(attribution(objective, a, b, alpha).excess).max() < 1e-12
    barrier = lw.sample(objective, lw.Line(a, b), resolution=33, tolerance=0).barrier()
    assert attribution(objective, a, b, barrier.alpha).value == pytest.approx(barrier.value, rel=1e-5)


def test_another_loss_is_refused_with_both_numbers():
    smoothed = lw.Objective(MLP.model(0), MLP.samples(), loss=lambda z, y: F.cross_entropy(z, y, label_smoothing=0.1))
    with pytest.raises(
        ValueError, match=r"must be the cross-entropy of the model's class scores, got \d.* where that is"
    ):
        attribution(smoothed, MLP.model(0), MLP.model(1))
    with pytest.raises(ValueError, match=r"outputs must be class scores|data must be pairs"):
        attribution(TRANSFORMER.objective(), TRANSFORMER.model(0), TRANSFORMER.model(1))
