"""Does the estimate cover the true error? Analytic surfaces with every vice, and trained networks."""

import functools

import numpy as np
import pytest
import torch

import lwidgets as lw
from lwidgets.sampling.refine import refine
from tests.models import CASES, MLP

SHAPES = [(65, 33), (33, 41), (129, 17)]
SURFACES = {
    "bowl": lambda x, y: x**2 + 3 * y**2,
    "saddle": lambda x, y: x**2 - y**2 + 0.3 * x * y,
    "waves": lambda x, y: torch.sin(6 * x) * torch.cos(4 * y),
    "bumps off the grid": lambda x, y: torch.exp(-((x - 0.31) ** 2 + (y + 0.17) ** 2) / 0.08),
    "kink along an axis": lambda x, y: (x - 0.123).abs() + y**2,
    "kink across": lambda x, y: (x + 0.7 * y - 0.21).abs() + 0.2 * y,
    "two kinks": lambda x, y: torch.relu(x - 0.2) + torch.relu(-x - 0.55) + 0.1 * y,
    "cliff": lambda x, y: torch.sigmoid(40 * (x + 0.4 * y - 0.1)),
    "step": lambda x, y: (x + 0.3 * y > 0.137).double() + 0.1 * y,
    "valley": lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2,
    "explodes": lambda x, y: torch.exp(4 * (x**2 + y**2)),
    "constant": lambda x, y: torch.full_like(x, 3.0),
    "flat then steep": lambda x, y: torch.relu(x - 0.8) ** 3 + 1e-3 * y,
}

# Of the size of nothing between peaks that a coarse grid misses; smooth in logarithm.
PEAKS = {"high peaks": lambda x, y: torch.exp(12 * torch.sin(4 * x) * torch.cos(3 * y))}


CALIBRATION = {
    "kinks": lambda rng, x, y: random_kinks(rng, x, y).numpy(),
    "cliff of 10^4": lambda rng, x, y: (x**2 + 1e4 * torch.sigmoid(20 * random_line(rng, x, y))).numpy(),
    "not finite": lambda rng, x, y: torch.where(random_line(rng, x, y) > 0.4, torch.inf, 1 + x**2 + y).numpy(),
    "curve": lambda rng, x, y: random_kinks(rng, x, y).numpy(),
}


def random_line(rng, x, y):
    angle, offset, bend = rng.uniform(0, 6), rng.uniform(-0.5, 0.5), rng.normal()
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return u + 0.4 * bend * v**2 - offset


def random_kinks(rng, x, y):
    return x**2 + y**2 + sum(0.3 * random_line(rng, x, y).abs() for _ in range(5))


def grid(shape):
    """Coordinates of a square as float64; of a line, the second is 0."""
    x, *rest = torch.meshgrid(*(torch.linspace(-1, 1, n, dtype=torch.float64) for n in shape), indexing="ij")
    return x, rest[0] if rest else torch.zeros_like(x)


def play(shape, values, tolerance, **options):
    """Tell a refinement the values it asks for."""
    plan = refine(shape, list(values), tolerance, **options)
    pixels, _ = next(plan)
    while True:
        try:
            pixels, _ = plan.send({name: v[tuple(pixels.T)] for name, v in values.items()})
        except StopIteration as stop:
            return stop.value


def analytic(name):
    return lw.Objective.from_function(lambda u: SURFACES[name](u[:, 0], u[:, 1]), 2)


def true_error(objective, subspace, landscape):
    exact = exact_values(objective, subspace, landscape.shape)
    return np.abs(landscape.values["loss"] - exact).max(), np.ptp(exact)


@functools.cache
def exact_values(objective, subspace, shape):
    return lw.sample(objective, subspace, resolution=shape, tolerance=0).values["loss"]


@pytest.mark.parametrize("name", SURFACES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("tolerance", [1e-2, 1e-3])
def test_trap_12_the_tolerance_is_met_and_the_estimate_is_of_the_size_of_the_error(name, shape, tolerance):
    objective, square = analytic(name), lw.Subspace.identity(2)
    landscape = lw.sample(objective, square, resolution=shape, tolerance=tolerance)
    true, extent = true_error(objective, square, landscape)
    assert true <= 3 * landscape.error["loss"] + 1e-9 * extent  # how often it is exceeded: see below
    assert landscape.error["loss"] <= max(tolerance * extent, 1e-6)
    assert true <= max(tolerance * extent, 1e-6)


@pytest.mark.parametrize("name", ["bowl", "saddle", "constant"])
def test_smooth_surfaces_take_a_small_share_of_the_pixels(name):
    landscape = lw.sample(analytic(name), lw.Subspace.identity(2), resolution=65)
    assert landscape.evaluations < 65 * 65 / 10


@pytest.mark.parametrize("name", SURFACES)
@pytest.mark.parametrize("budget", [81, 90, 137, 289, 300])
def test_trap_12_a_spent_budget_does_not_make_the_estimate_smaller_than_the_error(name, budget):
    objective, square = analytic(name), lw.Subspace.identity(2)
    landscape = lw.sample(objective, square, resolution=(33, 41), tolerance=1e-4, budget=budget)
    true, extent = true_error(objective, square, landscape)
    allowed = 2.0  # a kink or a step between two points that nobody paid for: the estimate must be of its size
    assert np.isnan(landscape.error["loss"]) or true <= allowed * landscape.error["loss"] + 1e-6 * extent + 1e-12


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
@pytest.mark.parametrize("span", [0.5, 1.5])
def test_trap_12_the_estimate_covers_the_true_error_around_trained_networks(case, span):
    objective, plane = case.objective(), lw.Plane.random(case.model(), span=span)
    landscape = lw.sample(objective, plane, resolution=(33, 17), tolerance=1e-2)
    true, extent = true_error(objective, plane, landscape)
    assert span > 1 or landscape.evaluations < landscape.evaluated.size
    assert true <= landscape.error["loss"] + 1e-6 * extent  # strategies differ by a rounding of float32
    assert true <= 1e-2 * extent


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_trap_12_the_estimate_covers_the_true_error_between_trained_networks(case):
    objective, line = case.objective(), lw.Line(case.model(0), case.model(1), span=(-0.25, 1.25))
    landscape = lw.sample(objective, line, resolution=97, tolerance=1e-3)
    true, extent = true_error(objective, line, landscape)
    assert true <= landscape.error["loss"]
    assert true <= 1e-3 * extent


@pytest.mark.parametrize("name", ["explodes", "bowl plus one", "valley plus one", "high peaks"])
@pytest.mark.parametrize("tolerance", [1e-2, 1e-3])
def test_in_log_scale_the_logarithm_meets_the_tolerance_and_the_estimate_covers_the_value(name, tolerance):
    base = (SURFACES | PEAKS)[name.partition(" plus")[0]]
    objective = lw.Objective.from_function(lambda u: base(u[:, 0], u[:, 1]) + (1 if "plus" in name else 0), 2)
    square = lw.Subspace.identity(2, span=1.5)
    landscape = lw.sample(objective, square, resolution=(65, 33), tolerance=tolerance, log=True)
    exact = exact_values(objective, square, landscape.shape)
    logs = np.log(landscape.values["loss"]), np.log(exact)
    assert np.abs(logs[0] - logs[1]).max() <= tolerance * np.ptp(logs[1])
    assert np.abs(landscape.values["loss"] - exact).max() <= landscape.error["loss"] + 1e-9 * exact.max()


@pytest.mark.parametrize("deciding", ["bowl", "cliff"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_metric_has_an_estimate_of_its_own(deciding, shape):
    values = {name: SURFACES[name](*grid(shape)).numpy() for name in ("bowl", "cliff")}
    picture = play(shape, values, 1e-2, deciding=(deciding,))
    for name, exact in values.items():
        assert np.abs(picture.values[name] - exact).max() <= picture.error[name]
    assert picture.error[deciding] <= 1e-2 * np.ptp(values[deciding])
    if deciding == "bowl":
        assert picture.error["cliff"] > 1e-2  # not refined for it, and says so


def test_the_worst_of_several_metrics_decides():
    values = {name: SURFACES[name](*grid((65, 33))).numpy() for name in ("bowl", "cliff")}
    counts = {d: play((65, 33), values, 1e-2, deciding=d).evaluated.sum() for d in (("bowl",), ("cliff",))}
    both = play((65, 33), values, 1e-2, deciding=("bowl", "cliff"))
    assert both.evaluated.sum() > 2 * counts[("bowl",)]
    assert 0.8 < both.evaluated.sum() / counts[("cliff",)] < 1.2
    assert both.error["cliff"] <= 1e-2


@pytest.mark.parametrize("kind", CALIBRATION)
def test_trap_12_few_of_many_random_landscapes_exceed_their_estimate(kind):
    rng = np.random.default_rng(5)
    over = 0
    for k in range(24):
        shape = SHAPES[k % 3] if kind != "curve" else (129,)
        exact = CALIBRATION[kind](rng, *grid(shape))
        picture = play(shape, {"loss": exact}, 1e-2, deciding=("loss",))
        gap = np.abs(np.where(np.isfinite(exact), picture.values["loss"] - np.where(np.isfinite(exact), exact, 0), 0))
        assert (np.isfinite(picture.values["loss"]) == np.isfinite(exact)).all()
        over += gap.max() > picture.error["loss"] + 1e-9
        assert gap.max() <= 4 * picture.error["loss"] + 1e-9
    assert over <= 3


def test_an_error_of_the_logarithm_is_shown_as_one_of_the_value():
    logarithm = 5 * SURFACES["waves"](*grid((65, 33))).numpy()
    plain = play((65, 33), {"loss": logarithm}, 0.1, deciding=("loss",))
    picture = play((65, 33), {"loss": np.exp(logarithm)}, 0.1, deciding=("loss",), log=True)
    assert (picture.evaluated == plain.evaluated).all()
    largest = np.exp(plain.values["loss"][~plain.evaluated].max())
    assert picture.error["loss"] == pytest.approx((np.exp(plain.error["loss"]) - 1) * largest)
    assert plain.error["loss"] > 0.1  # else the two could not be told apart


def test_log_of_a_metric_that_is_not_positive_falls_back_to_its_value():
    objective, square = analytic("waves"), lw.Subspace.identity(2)
    landscape = lw.sample(objective, square, resolution=(65, 33), log=True)
    true, extent = true_error(objective, square, landscape)
    assert true <= min(landscape.error["loss"], 1e-2 * extent)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("log", [False, True])
def test_trap_8_a_region_that_is_not_finite_is_masked_counted_and_never_imputed(tmp_path, bad, log):
    def f(u):
        values = 1 + (u**2).sum(dim=1)
        return torch.where(u[:, 0] + u[:, 1] > 1.1, bad, values)

    objective, square = lw.Objective.from_function(f, 2), lw.Subspace.identity(2)
    exact = exact_values(objective, square, (65, 33))
    landscape = lw.sample(objective, square, resolution=(65, 33), tolerance=1e-2, log=log)
    finite = np.isfinite(exact)
    found = np.isfinite(landscape.values["loss"])
    assert not (found & ~finite).any(), "a value was invented where there is none"
    assert not (finite & ~found).any(), "a value that is there was left out"
    assert landscape.nonfinite == (~finite & landscape.evaluated).sum() > 0
    assert landscape.unknown == (~finite & ~landscape.evaluated).sum()
    assert np.abs(landscape.values["loss"][finite] - exact[finite]).max() <= landscape.error["loss"] + 1e-12
    again = lw.load(landscape.save(tmp_path / "a.json"))
    assert again.values["loss"].tobytes() == landscape.values["loss"].tobytes()
    assert again.nonfinite == landscape.nonfinite


def test_trap_8_nothing_finite_at_all_is_still_a_landscape():
    objective = lw.Objective.from_function(lambda u: torch.full((len(u),), torch.nan), 2)
    landscape = lw.sample(objective, lw.Subspace.identity(2), resolution=(9, 5))
    assert landscape.nonfinite == 45


def test_trap_8_a_network_that_overflows_far_out_is_masked_there():
    model = MLP.model()
    landscape = lw.sample(MLP.objective(), lw.Line.random(model, span=(-1.0, 1e20), zero_1d=False), resolution=9)
    assert 0 < landscape.nonfinite < 9
    assert np.isfinite(landscape.at(0.0)["loss"]) or landscape.coords[0][0] > 0
