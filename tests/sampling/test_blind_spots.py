"""What lies between the nodes: waves that vanish on them, islands that none of them meets, and what is said of it."""

import numpy as np
import pytest
import torch

import lwidgets as lw
from lwidgets.sampling import refine as planner
from tests.sampling.test_error_estimate import play

PLACES = [(0.37, -0.61), (-0.21, 0.33), (0.71, 0.64), (-0.8, -0.05), (0.08, 0.9)]


def square(*shape):
    return np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")


def picture_of(values, **options):
    return play(values.shape, {"loss": values}, 1e-2, deciding=("loss",), **options)


def gap(picture, values):
    """Largest error where both are finite."""
    both = np.isfinite(values) & np.isfinite(picture.values["loss"])
    return np.abs(picture.values["loss"][both] - values[both]).max(initial=0)


WAVES = {
    "every node of 9": lambda x, y: np.sin(4 * np.pi * x) * np.sin(4 * np.pi * y),
    "every node of 17": lambda x, y: np.sin(8 * np.pi * x) * np.sin(8 * np.pi * y),
    "but for odd pixels": lambda x, y: np.sin(16 * np.pi * x) * np.sin(16 * np.pi * y),
    "one axis": lambda x, y: np.sin(8 * np.pi * x),
    "crests": lambda x, y: 1 - np.cos(8 * np.pi * y),
    "phase of a sine": lambda x, y: (
        (np.sin(4 * np.pi * (x[..., None] * np.arange(16) + y[..., None])) - np.sin(np.arange(16))) ** 2
    ).mean(-1),
}


@pytest.mark.parametrize("wave", WAVES)
@pytest.mark.parametrize("height", [0.1, 3.0])
def test_a_wave_that_vanishes_on_the_coarse_grids_is_found(wave, height):
    x, y = square(65, 65)
    values = 0.5 * x + x**2 + y**2 + height * WAVES[wave](x, y)
    picture = picture_of(values)
    assert gap(picture, values) <= picture.error["loss"] + 1e-9


@pytest.mark.parametrize("turns", [8, 16, 32])
def test_a_wave_that_vanishes_on_a_curves_nodes_is_found(turns):
    t = np.linspace(0, 1, 257)
    values = t + np.sin(np.pi * turns * t)
    picture = picture_of(values)
    assert gap(picture, values) <= picture.error["loss"] + 1e-9


def test_even_pixels_lie_far_from_what_was_measured_and_from_each_other_and_on_no_grid():
    missing = np.ones((65, 65), dtype=bool)
    missing[::8, ::8] = False
    pixels = planner._evenly(missing, missing, 20)
    measured = np.argwhere(~missing)
    assert len(pixels) == 20
    assert missing[tuple(pixels.T)].all()
    for k, pixel in enumerate(pixels):
        others = np.concatenate([measured, np.delete(pixels, k, axis=0)])
        assert np.hypot(*(others - pixel).T).min() >= planner.FAR * np.sqrt(32) - 1e-9
    kinds = [tuple(pixel % 2) for pixel in pixels]
    assert min(kinds.count(kind) for kind in ((0, 1), (1, 0), (1, 1))) >= 3
    quarters = {tuple(pixel // 33) for pixel in pixels}
    assert len(quarters) == 4


@pytest.mark.parametrize("shape", [(65, 65), (65, 33), (257,)])
def test_no_picture_is_settled_before_even_pixels_were_as_predicted(shape):
    bowl = sum(g**2 for g in square(*shape))
    grid = {1: 17, 2: 81}[len(shape)]
    plan = planner.refine(shape, ["loss"], 1e-2, deciding=["loss"])
    pixels, picture = next(plan)
    while picture is None or picture.evaluated.sum() < grid:
        pixels, picture = plan.send({"loss": bowl[tuple(pixels.T)]})
    assert picture.error["loss"] < 1e-9  # it has all it knows of
    assert not picture.settled
    last = picture_of(bowl)
    assert last.settled
    assert last.evaluated.sum() == grid + planner.BATCH[len(shape)]


@pytest.mark.parametrize("centre", PLACES, ids=str)
@pytest.mark.parametrize("kind", ["infinite", "finite"])
def test_an_island_that_one_even_pixel_meets_is_measured_whole(centre, kind):
    x, y = square(65, 65)
    inside = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < 0.15**2
    values = np.where(inside == (kind == "finite"), x**2 + y**2, np.inf)
    picture = picture_of(values)
    shown = np.isfinite(picture.values["loss"])
    assert (shown == np.isfinite(values)).all()
    assert picture.evaluated[inside].any()
    assert gap(picture, values) <= max(np.nan_to_num(picture.error["loss"]), 1e-9)


@pytest.mark.parametrize("centre", PLACES, ids=str)
def test_the_edge_of_a_box_is_followed_and_the_ringing_of_a_spike_is_not_drawn(centre):
    x, y = square(65, 65)
    box = (np.abs(x - centre[0]) < 0.2) & (np.abs(y - centre[1]) < 0.2)
    spike = np.exp(-((x - 0.25) ** 2 + (y + 0.5) ** 2) / (2 * 0.03**2))  # its top is a node of the first grid
    for values in (x**2 + y**2 + 2 * box, x**2 + y**2 + 2 * spike):
        picture = picture_of(values)
        assert gap(picture, values) <= picture.error["loss"] <= 1e-2 * np.ptp(values)
        assert picture.evaluated.sum() < 2200


@pytest.mark.parametrize("seed", range(5))
def test_one_dip_below_nought_ends_the_logarithm_and_its_estimate(seed):
    x, y = square(65, 65)
    cx, cy = np.random.default_rng(seed).uniform(-0.8, 0.8, 2)
    values = 1 - 1.5 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 0.01)
    picture = picture_of(values, log=True)
    assert gap(picture, values) <= picture.error["loss"]


@pytest.mark.parametrize("samples", [30, 100, 400, 1000, 3000])
def test_an_error_rate_that_does_not_decide_keeps_within_its_estimate(samples):
    rng = np.random.default_rng(samples)
    x, y = square(33, 33)
    a = rng.normal(size=(4, samples, 1, 1))
    margin = a[0] * x + a[1] * y + a[2] + 0.6 * a[3] * x * y
    values = {"loss": np.log1p(np.exp(-2 * margin)).mean(0), "error": (margin < 0).mean(0)}
    picture = play((33, 33), values, 1e-2, deciding=("loss",))
    for name, exact in values.items():
        assert np.abs(picture.values[name] - exact).max() <= picture.error[name] + 1e-12


# What a landscape says of itself.


def landscape_of(evaluated, values=None):
    evaluated = np.asarray(evaluated, dtype=bool)
    coords = tuple(np.linspace(-1, 1, n) for n in evaluated.shape)
    values = np.zeros(evaluated.shape) if values is None else values
    names = ("x", "y")[: evaluated.ndim]
    return lw.Landscape(coords, names, names, {"loss": values}, evaluated, int(evaluated.sum()), {"loss": 0.1})


def emptiest_disc(evaluated):
    """By brute force: of all centres the one whose nearest measured pixel is farthest, and what lies that near."""
    at = np.stack(np.indices(evaluated.shape), axis=-1) / (np.array(evaluated.shape) - 1)
    between = np.sqrt(((at[evaluated][:, None] - at[~evaluated][None]) ** 2).sum(-1)).min(0)
    radius = between.max() + 1e-9
    counts = [
        (np.sqrt(((at[~evaluated] - c) ** 2).sum(-1)) <= radius).sum() for c in at[~evaluated][between > radius - 2e-9]
    ]
    return [count / evaluated.size for count in counts]


@pytest.mark.parametrize("shape", [(9, 9), (17, 9), (12, 23), (33,), (20,)])
@pytest.mark.parametrize("seed", range(3))
def test_the_blind_spot_is_the_largest_disc_that_nobody_looked_into(shape, seed):
    evaluated = np.random.default_rng(seed).random(shape) < 0.15
    evaluated.flat[seed] = True
    assert landscape_of(evaluated).blind_spot in emptiest_disc(evaluated)


@pytest.mark.parametrize(
    ("evaluated", "share"),
    [
        (np.ones((5, 7)), 0.0),
        (np.zeros((5, 7)), 1.0),
        (np.arange(65) % 4 == 0, 3 / 65),
        (np.arange(61) % 5 == 0, 4 / 61),
        (np.add.outer(np.arange(9), np.arange(9)) % 2 == 0, 1 / 81),
    ],
)
def test_the_blind_spot_in_closed_form(evaluated, share):
    assert landscape_of(evaluated).blind_spot == share


def test_what_was_not_measured_is_neither_finite_nor_not():
    objective = lw.Objective.from_function(lambda u: torch.full((len(u),), torch.inf), 2)
    landscape = lw.sample(objective, lw.Subspace.identity(2), resolution=33)
    assert landscape.nonfinite == landscape.evaluations == 101
    assert landscape.unknown == 33 * 33 - 101
    assert np.isnan(landscape.error["loss"])
    assert repr(landscape) == "Landscape(33 x 33 over x, y; loss not finite where evaluated; 101 evaluated)"
    told = landscape.accuracy("loss")
    assert told.startswith("nothing interpolated · 101 of 1,089 evaluated · may miss features below ")
    assert told.endswith(" % of the plane")


def test_a_flat_picture_has_no_share_of_its_range():
    flat = landscape_of(np.arange(65) % 4 == 0, np.full(65, 0.49) + 1e-16 * np.arange(65))
    assert (
        flat.accuracy("loss")
        == "estimated error ≤ 0.1 · 17 of 65 evaluated · may miss features below 4.6 % of the curve"
    )
    steep = landscape_of(np.arange(65) % 4 == 0, np.linspace(0, 0.01, 65))
    assert "(1,000 % of range)" in steep.accuracy("loss")


def test_a_barrier_says_how_narrow_a_bump_it_may_miss():
    def path(u):
        return u[:, 0] * (1 - u[:, 0]) + torch.exp(-((u[:, 0] - 0.4140625) ** 2) / (2 * 0.003**2))

    objective, line = lw.Objective.from_function(path, 1), lw.Subspace.identity(1, span=(0, 1))
    curve = lw.sample(objective, line, resolution=65)
    barrier = curve.barrier()
    exact = curve.coords[0][curve.evaluated]
    assert barrier.gap == np.diff(exact).max() > 0.03
    polished = lw.polish_barrier(objective, line, curve)
    assert 0.003 < polished.gap <= barrier.gap
