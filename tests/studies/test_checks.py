"""Checks that explorers share, and what they refuse: the loss depends on what moves, and draws beside nobody."""

import random
import threading
import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.studies.parts.checks import _depends

torch.manual_seed(0)
X, Y = torch.randn(30, 6), torch.randint(3, (30,))


def make():
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def told(explorer):
    try:
        assert explorer.wait(60)
        return explorer.verify().checks["The loss depends on what moves"]
    finally:
        explorer.close()


EXPLORERS = {
    "surface": lambda objective, a, b: lw.SurfaceExplorer(objective, a, resolution=5),
    "curve": lambda objective, a, b: lw.CurveExplorer(objective, a, b, resolution=5),
    "layers": lambda objective, a, b: lw.LayerwiseExplorer(objective, a, b),
    "connectivity": lambda objective, a, b: lw.ConnectivityExplorer(objective, a, b),
    "merging": lambda objective, a, b: lw.MergingExplorer(a, [a, b], objective),
}


@pytest.mark.parametrize("explorer", ["surface", "curve", "layers"])
def test_a_flat_picture_between_different_models_warns(explorer):
    a, b = make(), make()

    def slip(model, batch):
        return F.cross_entropy(a(batch[0]), batch[1])

    with pytest.warns(UserWarning, match="depend on what moves"):
        objective = lw.Objective(a, (X, Y), loss=slip)
    check = told(EXPLORERS[explorer](objective, a, b))
    assert check.state == "warn"
    assert "what moves has no effect on it" in check.detail
    check = told(EXPLORERS[explorer](lw.Objective(a, (X, Y), loss=F.cross_entropy), a, b))
    assert check.state == "pass"


def test_a_layer_without_effect_among_others_is_mentioned():
    def landscape(values):
        bowl = lw.Objective.from_function(lambda u: values(u[:, 0]), dim=1)
        return lw.sample(bowl, lw.Subspace.identity(1), resolution=5, tolerance=0, cache=False)

    bowl, flat, nowhere = (landscape(f) for f in (lambda x: x**2, lambda x: 0 * x + 2, lambda x: 0 * x + float("nan")))
    check = _depends([bowl, flat])
    assert (check.state, check.detail) == ("pass", "loss 0 to 1; loss is 2 at all 5 points evaluated")
    assert _depends([flat]).state == "warn"
    assert _depends([flat, flat]).state == "warn"
    assert _depends([bowl]).state == _depends([nowhere]).state == _depends([]).state == "pass"


@pytest.mark.parametrize("explorer", EXPLORERS.values(), ids=EXPLORERS.keys())
@pytest.mark.parametrize(
    ("seed", "name"),
    [
        (lambda: np.random.seed(0), "numpy.random"),  # noqa: NPY002
        (lambda: random.seed(0), "random"),
        (lambda: torch.default_generator.manual_seed(0), "torch.default_generator"),
    ],
)
def test_losses_that_seed_what_cells_share_are_refused_with_a_way_out_that_works(explorer, seed, name):
    a, b = make(), make()

    def loss(model, batch):
        seed()
        return F.cross_entropy(model(batch[0]), batch[1])

    objective = lw.Objective(a, (X, Y), loss=loss)
    assert objective.shared == (name,)
    with pytest.raises(
        ValueError, match=rf"loss must leave {name} alone, .*np\.random\.default_rng\(0\), .*lw\.sample"
    ):
        explorer(objective, a, b)
    expected = F.cross_entropy(a(X), Y).item()
    assert lw.sample(objective, lw.Line(a, b), resolution=3).at(0.0)["loss"] == pytest.approx(expected, rel=1e-6)


def test_the_next_cell_draws_what_it_seeded_while_explorers_compute():
    a, b = make(), make()
    threads = set()

    def loss(model, batch):
        threads.add(threading.current_thread())
        torch.manual_seed(0)
        with torch.random.fork_rng(devices=[]):
            shift = torch.randn_like(batch[0])
        return F.cross_entropy(model(batch[0] + shift + 0.1 * torch.rand_like(shift)), batch[1])

    objective = lw.Objective(a, (X, Y), loss=loss)
    explorers = [lw.SurfaceExplorer(objective, tolerance=0), lw.CurveExplorer(objective, a, b, tolerance=0)]
    own = torch.Generator(), np.random.RandomState(0), random.Random(0)
    right, began = [], time.monotonic()
    try:
        while len(right) < 100 or (len(threads) < 3 and time.monotonic() < began + 60):
            seed = len(right)
            torch.manual_seed(seed), own[0].manual_seed(seed), np.random.seed(seed), own[1].seed(seed)  # noqa: NPY002
            random.seed(seed), own[2].seed(seed)
            drawn = torch.rand(20), F.dropout(torch.ones(20)), np.random.rand(), random.random()  # noqa: NPY002
            kept = torch.rand(20, generator=own[0])
            mask = torch.empty(20).bernoulli_(0.5, generator=own[0]) * 2
            right.append(
                torch.equal(drawn[0], kept)
                and torch.equal(drawn[1], mask)
                and drawn[2:] == (own[1].rand(), own[2].random())
            )
    finally:
        for explorer in explorers:
            explorer.close()
    assert all(right)
    assert len(threads) == 3  # this one, and one for each explorer
