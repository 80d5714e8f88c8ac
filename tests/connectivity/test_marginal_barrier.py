"""The barrier of averaged predictions: without spread the ordinary one, with spread a plain double loop."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.connectivity.marginal_barrier import Posterior, marginal_path
from lwidgets.directions import gaussian
from tests.models import CNN, MLP, at, named


def spread(model, size):
    return {name: torch.full_like(t, size) for name, t in named(model).items()}


@pytest.mark.parametrize("case", [MLP, CNN], ids=lambda c: c.name)
def test_without_spread_it_is_the_ordinary_barrier(case):
    a, b = (case.model(seed, torch.float64) for seed in range(2))
    objective = case.objective(torch.float64)
    path = marginal_path(objective, *(Posterior(m, spread(m, 0.0)) for m in (a, b)), samples=3, points=9)
    land = lw.sample(objective, lw.Line(a, b), resolution=9, tolerance=0)
    np.testing.assert_allclose(path.loss, land.values["loss"], rtol=1e-9)
    found, expected = path.barrier(), land.barrier()
    assert (found.value, found.alpha) == (pytest.approx(expected.value, rel=1e-9), expected.alpha)
    assert found.error == pytest.approx(expected.error, abs=1e-9)  # no sample differs from another
    assert (found.batchnorm, found.split, found.metric) == (expected.batchnorm, "data", "marginal loss")
    assert "Rossi" in found.definition


def by_hand(case, models, stds, samples, seed, alpha):
    """-mean log mean p(y|x) over samples of the interpolated Gaussian, one after another."""
    X, y = case.samples(torch.float64)
    likely = torch.zeros(len(y), dtype=torch.float64)
    for i in range(samples):
        point = {}
        for name in named(models[0]):
            m0, m1 = named(models[0])[name], named(models[1])[name]
            noise = gaussian(seed + i, name, m0.shape).double()
            point[name] = (1 - alpha) * m0 + alpha * m1 + ((1 - alpha) * stds[0] + alpha * stds[1]) * noise
        model = at(models[0], [(1.0, point)])
        for part in model.modules():
            part.train(isinstance(part, torch.nn.BatchNorm2d))
        with torch.no_grad():
            likely += F.softmax(model(X), dim=1)[torch.arange(len(y)), y]
    return float(-(likely / samples).log().mean())


@pytest.mark.parametrize("case", [MLP, CNN], ids=lambda c: c.name)
def test_with_spread_it_is_a_plain_double_loop_over_the_geodesic(case):
    models = [case.model(seed, torch.float64) for seed in range(2)]
    objective = case.objective(torch.float64, batchnorm="batch" if case is CNN else None)
    stds = (0.05, 0.2)
    posteriors = [Posterior(m, spread(m, s)) for m, s in zip(models, stds, strict=True)]
    path = marginal_path(objective, *posteriors, samples=4, seed=7, points=3)
    for alpha, loss in zip((0.0, 0.5, 1.0), path.loss, strict=True):
        assert loss == pytest.approx(by_hand(case, models, stds, 4, 7, alpha), rel=1e-9)
    assert path.without.shape == (4, 3)
    assert path.without[3, 1] == pytest.approx(by_hand(case, models, stds, 3, 7, 0.5), rel=1e-9)


def test_averaging_predictions_never_loses_against_averaging_losses():
    a, b = MLP.model(0, torch.float64), MLP.model(1, torch.float64)
    objective = MLP.objective(torch.float64)
    posteriors = [Posterior(m, spread(m, 0.3)) for m in (a, b)]
    path = marginal_path(objective, *posteriors, samples=5, points=5)
    for k, alpha in enumerate(path.alphas):
        single = [
            objective.measure(lw.Line(*(p.draw(objective.space, i) for p in posteriors)).point([alpha]))["loss"]
            for i in range(5)
        ]
        assert path.loss[k] < np.mean(single)


def test_the_error_is_the_jackknifes_and_falls_with_more_samples():
    a, b = MLP.model(0, torch.float64), MLP.model(1, torch.float64)
    objective = MLP.objective(torch.float64)
    posteriors = [Posterior(m, spread(m, 0.3)) for m in (a, b)]
    few, many = (marginal_path(objective, *posteriors, samples=s, points=17) for s in (4, 64))
    top = few.barrier()
    k = int(np.argmax(few.alphas == top.alpha))
    heights = [w[k] - (1 - top.alpha) * w[0] - top.alpha * w[-1] for w in few.without]
    jackknife = math.sqrt(3 / 4 * sum((h - np.mean(heights)) ** 2 for h in heights))
    between = top.error - jackknife
    assert 0 <= between < top.error
    plain = lw.barrier_of(few.alphas, few.loss)
    assert between == pytest.approx(plain.error)
    assert many.barrier().error < top.error


def test_draws_depend_on_seed_and_name_alone_and_leave_the_mean_alone():
    model = CNN.model(0)
    posterior = Posterior(model, {"head.weight": torch.full((3, 4), 0.5)})
    objective = CNN.objective()
    first, again, other = (posterior.draw(objective.space, seed).parameters for seed in (3, 3, 4))
    assert torch.equal(first["head.weight"], again["head.weight"])
    assert not torch.equal(first["head.weight"], other["head.weight"])
    noise = (first["head.weight"] - model.head.weight.detach()) / 0.5
    torch.testing.assert_close(noise, gaussian(3, "head.weight", (3, 4)))
    assert torch.equal(first["stem.weight"], model.stem.weight)


@pytest.mark.parametrize(
    ("std", "message"),
    [
        ({"0.weight": torch.full((16, 6), -1.0)}, r"std of '0.weight' must be at least 0 and of shape \(16, 6\)"),
        ({"0.weight": torch.ones(6, 16)}, r"must be at least 0 and of shape \(16, 6\), got \(6, 16\)"),
    ],
)
def test_a_spread_that_does_not_fit_is_refused(std, message):
    with pytest.raises(ValueError, match=message):
        marginal_path(MLP.objective(), *(Posterior(MLP.model(i), std) for i in range(2)))


def test_too_few_samples_and_another_loss_are_refused():
    posteriors = [Posterior(MLP.model(i), spread(MLP.model(i), 0.1)) for i in range(2)]
    with pytest.raises(ValueError, match=r"samples and points must be at least 2, got 1 and 17. Use 16 and 17"):
        marginal_path(MLP.objective(), *posteriors, samples=1)
    other = lw.Objective(MLP.model(0), MLP.samples(), loss=lambda z, y: F.cross_entropy(z, y) + 1)
    with pytest.raises(ValueError, match="loss must be the cross-entropy"):
        marginal_path(other, *posteriors)
