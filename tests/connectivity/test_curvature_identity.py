"""Excess and curvature on a line, each by its own means."""

import numpy as np
import pytest
import torch

import lwidgets as lw
from lwidgets.connectivity.curvature_identity import curvature_identity
from tests.models import CNN, MLP, TRANSFORMER, at, named
from tests.test_gradients import smooth


def tanh_case(case):
    return [smooth(case, seed) for seed in range(2)]


@pytest.mark.parametrize("case", [MLP, TRANSFORMER], ids=lambda c: c.name)
def test_both_sides_agree_and_the_excess_is_that_of_a_plain_loop(case):
    a, b = tanh_case(case)
    objective = lw.Objective(a, case.samples(torch.float64), loss=case.loss)
    found = curvature_identity(objective, a, b, nodes=40 if case is TRANSFORMER else 20)
    assert found.gap < 1e-9
    loss = {t: case.plain_loss(at(a, [(1 - t, named(a)), (t, named(b))])) for t in (0, 0.25, 0.5, 0.75, 1)}
    for alpha, excess in zip((0.25, 0.5, 0.75), found.excess, strict=True):
        assert excess == pytest.approx(loss[alpha] - (1 - alpha) * loss[0] - alpha * loss[1], abs=1e-11)
    assert np.abs(found.excess).max() > 1e-3


@pytest.mark.parametrize("mode", ["frozen", "batch"])
def test_batchnorm_statistics_are_the_same_on_both_sides(mode):
    class Tanh(CNN.make):
        def forward(self, images):
            x = torch.tanh(self.bn1(self.stem(images)))
            return self.head(torch.tanh(x + self.bn2(self.conv(x))).mean(dim=(2, 3)))

    a, b = Tanh().double(), Tanh().double()
    a.load_state_dict(CNN.model(0, torch.float64).state_dict())
    b.load_state_dict(CNN.model(1, torch.float64).state_dict())
    objective = lw.Objective(a, CNN.samples(torch.float64), loss=CNN.loss, batchnorm=mode)
    found = curvature_identity(objective, a, b, nodes=24)
    assert found.gap < 1e-8
    assert np.abs(found.excess).max() > 1e-3
    with pytest.raises(ValueError, match="recalibrate"):
        curvature_identity(CNN.objective(torch.float64), CNN.model(0), CNN.model(1))


def test_a_polynomial_is_exact_at_any_alpha_and_the_curvature_is_its_second_derivative():
    quintic = lw.Objective.from_function(lambda u: u[:, 0] ** 5 - 3 * u[:, 0] ** 3, dim=1)
    a, b = torch.tensor([-1.0]), torch.tensor([2.0])
    found = curvature_identity(quintic, a, b, alphas=[0.9, 0.1, 0.37], nodes=4)
    assert found.alphas.tolist() == [0.1, 0.37, 0.9]
    x = -1 + 3 * found.at
    np.testing.assert_allclose(found.curvature, 9 * (20 * x**3 - 18 * x), rtol=1e-10)
    u = -1 + 3 * found.alphas
    expected = (u**5 - 3 * u**3) - (1 - found.alphas) * 2 - found.alphas * 8
    np.testing.assert_allclose(found.excess, expected, rtol=1e-12)
    assert found.gap < 1e-12
    assert len(found.at) == 4 * 4


def test_only_the_parameters_that_move_are_curved():
    a, b = tanh_case(MLP)
    objective = lw.Objective(a, MLP.samples(torch.float64), loss=MLP.loss, params="2.*")
    assert curvature_identity(objective, a, b, nodes=20).gap < 1e-10


def test_a_relu_network_is_seen_not_to_fulfil_it():
    a, b = MLP.model(0, torch.float64), MLP.model(1, torch.float64)
    assert curvature_identity(MLP.objective(torch.float64), a, b).gap > 1e-4


@pytest.mark.parametrize("alphas", [[], [0.0, 0.5], [1.0], [-0.2], [float("nan")]])
def test_alphas_lie_inside(alphas):
    bowl = lw.Objective.from_function(lambda u: (u**2).sum(dim=1), dim=1)
    with pytest.raises(ValueError, match=r"alphas must lie inside \(0, 1\), got .* Use for example \[0.5\]"):
        curvature_identity(bowl, torch.zeros(1), torch.ones(1), alphas)
