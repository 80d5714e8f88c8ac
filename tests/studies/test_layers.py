"""Mixtures of two models, layer by layer, against models put together by hand."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.pictures import Curves
from lwidgets.studies.parts import mixture
from tests.studies.reading import picture, text_of


def mixed(a, b, alphas):
    """The mixture by a plain loop: parameter p of group g is (1 - alpha_g) a + alpha_g b."""
    module = copy.deepcopy(a)
    others = dict(b.named_parameters())
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            t = alphas[name.rpartition(".")[0]]
            parameter.copy_((1 - t) * parameter.double() + t * others[name].double())
    return module


@pytest.fixture(params=["mlp", "cnn"])
def pair(request):
    torch.manual_seed(0)
    if request.param == "mlp":
        return lw.demo.digits(hidden=(8, 6), steps=40)

    def make():
        return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 4 * 5, 4)).eval()

    a, b = make(), make()
    x, y = torch.randn(30, 1, 6, 7), torch.randint(4, (30,))
    return lw.Objective(a, (x, y), loss=F.cross_entropy), a, b


def test_every_curve_is_that_of_models_put_together_by_hand(pair):
    objective, a, b = pair
    names = lw.Layerwise(a, b).names
    mix = tuple(np.linspace(0.2, 0.9, len(names)).round(2))
    explorer = lw.LayerwiseExplorer(objective, a, b, mix=mix, tolerance=0.0)
    assert explorer.wait(60)
    assert list(explorer.landscapes) == list(names)
    for name, one in explorer.landscapes.items():
        for t, value in list(zip(one.coords[0], one.values["loss"], strict=True))[::4]:
            module = mixed(a, b, {**dict(zip(names, mix, strict=True)), name: t})
            assert value == pytest.approx(objective.measure(module)["loss"], rel=2e-6)
    told = objective.measure(mixed(a, b, dict(zip(names, mix, strict=True))))["loss"]
    assert explorer.study["mixed"]["loss"] == pytest.approx(told, rel=2e-6)
    assert f"{told:.4g}" in text_of(explorer, "mixture_reading")
    assert explorer.verify(60)
    explorer.close()


def test_the_ends_are_the_models(pair):
    objective, a, b = pair
    explorer = lw.LayerwiseExplorer(objective, a, b)
    for alpha, model in ((0.0, a), (1.0, b)):
        explorer.mix = (alpha,) * len(explorer.mix)
        assert explorer.wait(60)
        assert explorer.study["mixed"]["loss"] == objective.measure(model)["loss"]
        for one in explorer.landscapes.values():
            assert one.at(alpha)["loss"] == objective.measure(model)["loss"]
    explorer.close()


def test_the_model_at_a_mixture(pair):
    objective, a, b = pair
    explorer = lw.LayerwiseExplorer(objective, a, b)
    names = lw.Layerwise(a, b).names
    module = explorer.model_at((0.25,) * (len(names) - 1) + (1.0,))
    by_hand = mixed(a, b, {**dict.fromkeys(names, 0.25), names[-1]: 1.0})
    for one, other in zip(module.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)
    explorer.close()


def test_the_caption_names_the_layer_that_matters_most(pair):
    objective, a, b = pair
    explorer = lw.LayerwiseExplorer(objective, a, b, tolerance=0.0)
    assert explorer.wait(60)
    highest = max((value, name) for name, one in explorer.landscapes.items() for value in one.values["loss"].tolist())
    assert (
        f"highest by moving one layer alone {highest[0]:.4g}, {highest[1]} at"
        in picture(explorer, "mixture_picture").caption
    )
    explorer.close()


def test_a_model_that_does_not_fit_is_refused(pair):
    objective, a, _ = pair
    with pytest.raises(ValueError, match="must"):
        lw.LayerwiseExplorer(objective, a, nn.Linear(2, 2))


def test_many_curves_are_drawn_a_few_times(monkeypatch):
    drawn = []
    monkeypatch.setattr(mixture, "Curves", lambda items, **looks: drawn.append(items) or Curves(items, **looks))
    torch.manual_seed(0)
    a, b = (nn.Sequential(*(nn.Linear(2, 2) for _ in range(40))) for _ in range(2))
    objective = lw.Objective(a, (torch.randn(4, 2), torch.randn(4, 2)), loss=F.mse_loss)
    explorer = lw.LayerwiseExplorer(objective, a, b)
    assert explorer.wait(120)
    assert len(explorer.landscapes) == 40
    assert 2 <= len(drawn) <= 20
    assert sum(bool(one.label) for one in picture(explorer, "mixture_picture").items) == 40
    explorer.close()
