"""The barrier among several models against closed forms, dense grids, and the barrier of a line for two."""

import itertools
import math

import numpy as np
import pytest
import torch

import lwidgets as lw
from lwidgets.connectivity.simplex_barrier import lattice, simplex_barrier
from lwidgets.subspaces import Simplex
from tests.models import CASES, MLP, at, named


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_for_two_models_it_is_the_excess_barrier_of_their_line(case):
    a, b = (case.model(seed, torch.float64) for seed in range(2))
    objective = case.objective(torch.float64)
    line = lw.Line(a, b)
    expected = lw.polish_barrier(objective, line, lw.sample(objective, line, resolution=33))
    found = simplex_barrier(objective, Simplex(a, b), steps=8, tolerance=1e-4)
    assert found.value == pytest.approx(expected.value, rel=1e-4, abs=1e-9)
    assert found.batchnorm == expected.batchnorm
    if expected.value > 0:
        assert found.shares[1] == pytest.approx(expected.alpha, abs=2e-2)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_dome_is_highest_where_its_closed_form_is(count):
    # L = -|u|^2 over unit vectors: excess = 1 - |shares|^2, highest in the middle
    dome = lw.Objective.from_function(lambda u: -(u**2).sum(dim=1), dim=count)
    found = simplex_barrier(dome, Simplex(*torch.eye(count)), steps=5)
    assert found.value == pytest.approx(1 - 1 / count, abs=1e-5)
    assert found.shares == pytest.approx([1 / count] * count, abs=2e-3)


def test_a_bowl_has_no_barrier_and_the_plane_through_the_models_does_not_count():
    points = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
    bowl = lw.Objective.from_function(lambda u: (u**2).sum(dim=1), dim=2)
    assert simplex_barrier(bowl, Simplex(*points)).value == 0

    def tilted(u):
        return 7 + 3 * u[:, 0] - 2 * u[:, 1] - (u[:, 0] * u[:, 1] - 0.4) ** 2

    found = simplex_barrier(lw.Objective.from_function(tilted, dim=2), Simplex(*points), tolerance=1e-5)
    grid = lattice(3, 400)
    u = torch.as_tensor(grid @ points.double().numpy())
    heights = tilted(u).numpy() - grid @ tilted(points.double()).numpy()
    assert found.value == pytest.approx(heights.max(), abs=1e-4)
    assert found.value >= heights.max() - 1e-9


def test_nothing_is_looked_for_outside_the_simplex():
    rises = lw.Objective.from_function(lambda u: u.sum(dim=1) ** 2 + 0.1 * u[:, 0] * (1.5 - u[:, 1]), dim=2)
    found = simplex_barrier(rises, Simplex(*torch.eye(2)))
    grid = lattice(2, 1000)
    heights = 1 + 0.1 * grid[:, 0] * (1.5 - grid[:, 1]) - 1 - grid[:, 0] * 0.15
    assert found.value == pytest.approx(heights.max(), abs=1e-6) == 0
    assert sum(found.shares) == 1


@pytest.mark.parametrize("case", CASES[:2], ids=lambda c: c.name)
def test_the_height_is_that_of_a_plain_loop_where_it_was_found(case):
    models = [case.model(seed, torch.float64) for seed in range(3)]
    objective = case.objective(torch.float64, batchnorm="batch" if case is not MLP else None)
    told = []
    found = simplex_barrier(objective, Simplex(*models), steps=4, progress=lambda *done: told.append(done))

    def plain(shares):
        model = at(models[0], list(zip(shares, map(named, models), strict=True)))
        for part in model.modules():
            part.train(isinstance(part, torch.nn.BatchNorm2d))
        return case.plain_loss(model)

    chord = sum(share * plain(corner) for share, corner in zip(found.shares, np.eye(3), strict=True))
    assert found.value == pytest.approx(plain(found.shares) - chord, rel=1e-9)
    assert sum(found.shares) == pytest.approx(1)
    assert found.lattice == math.comb(6, 2) == 15
    assert found.evaluations == len(told) > 18
    best = max(plain(row) - sum(s * plain(c) for s, c in zip(row, np.eye(3), strict=True)) for row in lattice(3, 4))
    assert found.gained == pytest.approx(found.value - best, abs=1e-9)


def test_another_metric_is_another_barrier():
    objective = MLP.objective(metrics={"error": lw.metrics.error})
    simplex = Simplex(*(MLP.model(seed) for seed in range(3)))
    found = {name: simplex_barrier(objective, simplex, metric=name) for name in ("loss", "error")}
    assert found["error"].metric == "error"
    assert 0 <= found["error"].value <= 1 < found["loss"].value * 1e3
    assert found["error"].value != found["loss"].value
    assert "Theus" in found["loss"].definition


@pytest.mark.parametrize(("count", "steps"), [(1, 3), (2, 5), (3, 4), (4, 3)])
def test_the_lattice_has_every_multiple_once(count, steps):
    rows = {tuple(np.round(row * steps).astype(int)) for row in lattice(count, steps)}
    assert rows == {c for c in itertools.product(range(steps + 1), repeat=count) if sum(c) == steps}
    assert len(lattice(count, steps)) == len(rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "error"}, "metric must be among loss, got 'error'"),
        ({"steps": 1}, "steps must be at least 2 and tolerance a share"),
        ({"tolerance": 0}, "got 6 and 0"),
    ],
)
def test_what_is_no_simplex_barrier_is_refused(options, message):
    objective = lw.Objective.from_function(lambda u: u.sum(dim=1), dim=2)
    with pytest.raises(ValueError, match=message):
        simplex_barrier(objective, Simplex(*torch.eye(2)), **options)


def test_a_value_that_is_not_finite_is_named_with_its_shares():
    wall = lw.Objective.from_function(lambda u: torch.where(u[:, 0] * u[:, 1] > 0.2, torch.inf, u[:, 0]), dim=2)
    with pytest.raises(ValueError, match=r"loss must be finite on the simplex, got inf at shares \[0.6667, 0.3333\]"):
        simplex_barrier(wall, Simplex(*torch.eye(2)), steps=3)
