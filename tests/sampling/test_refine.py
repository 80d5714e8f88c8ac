"""The planner by itself: a coroutine that asks for pixels and is told their values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lwidgets.sampling.refine import Guide, Picture, refine

SHAPE = st.one_of(st.tuples(st.integers(2, 90)), st.tuples(st.integers(2, 40), st.integers(2, 40)))


def run(shape, surface, tolerance, limit=None, **options):
    """Play the objective. Returns the last picture, all pixels asked for and the pictures on the way."""
    plan = refine(shape, ["loss"], tolerance, deciding=("loss",), **options)
    asked, pictures = [], []
    pixels, picture = next(plan)
    while True:
        if picture is not None:
            pictures.append(picture)
        if limit is not None:
            pixels = pixels[: limit - len(asked)]
        asked += map(tuple, pixels.tolist())
        try:
            pixels, picture = plan.send({"loss": surface[tuple(np.transpose(pixels))] if len(pixels) else np.empty(0)})
        except StopIteration as stop:
            return stop.value, asked, pictures


def hills(shape):
    grids = np.meshgrid(*(np.linspace(0, 5, n) for n in shape), indexing="ij")
    return sum(np.sin((k + 1) * g) for k, g in enumerate(grids))


@given(SHAPE, st.sampled_from([0, 1e-3, 1e-1]))
def test_no_pixel_is_asked_for_twice_and_what_was_measured_is_kept(shape, tolerance):
    surface = hills(shape)
    picture, asked, _ = run(shape, surface, tolerance)
    assert len(asked) == len(set(asked)) == picture.evaluated.sum()
    np.testing.assert_array_equal(picture.values["loss"][picture.evaluated], surface[picture.evaluated])
    assert picture.settled
    assert picture.error["loss"] <= max(tolerance * np.ptp(surface[picture.evaluated]), 1e-5)


@given(SHAPE)
def test_tolerance_0_asks_for_every_pixel(shape):
    picture, asked, _ = run(shape, hills(shape), 0)
    assert set(asked) == set(np.ndindex(*shape))
    assert (picture.error["loss"], picture.level) == (0.0, shape)


@given(SHAPE, st.integers(9, 200))
def test_being_told_fewer_values_ends_it_honestly(shape, limit):
    surface = hills(shape)
    picture, asked, _ = run(shape, surface, 0, limit=limit)
    assert len(asked) == min(limit, np.prod(shape))
    assert picture.settled == (limit >= np.prod(shape))
    assert picture.settled or picture.error["loss"] != 0


def test_a_tighter_tolerance_never_costs_less():
    costs = [len(run((65, 33), hills((65, 33)), tolerance)[1]) for tolerance in (0.1, 0.03, 0.01, 1e-3, 1e-4, 0)]
    assert costs == sorted(costs)
    assert costs[0] < costs[-1] / 10


def test_every_picture_on_the_way_is_finer_than_the_one_before():
    _, _, pictures = run((65, 33), hills((65, 33)), 1e-4)
    shares = [p.evaluated.mean() for p in pictures]
    assert shares == sorted(shares)
    assert len(pictures) > 3
    assert np.isnan(pictures[0].error["loss"])  # nothing to compare the first with


@pytest.mark.parametrize("level", [0.0, 1.0, -3e4])
def test_noise_of_float32_rounding_is_not_chased(level):
    noise = level + abs(level) * 1e-7 * np.random.default_rng(0).uniform(-1, 1, size=(65, 33))
    _, asked, _ = run((65, 33), noise, 1e-2)
    assert len(asked) < 200


def test_scaling_the_values_or_adding_to_them_changes_nothing():
    surface = hills((33, 17))
    _, asked, _ = run((33, 17), surface, 1e-2)
    assert run((33, 17), 1e6 * surface, 1e-2)[1] == asked
    assert run((33, 17), 8.0 - surface, 1e-2)[1] == asked


def test_trap_9_transposing_the_surface_transposes_the_interpolated_picture():
    surface = hills((33, 17))
    straight, _, _ = run((33, 17), surface, 0, limit=153)
    turned, _, _ = run((17, 33), surface.T, 0, limit=153)
    full = straight.evaluated & turned.evaluated.T
    assert full.sum() > 80
    np.testing.assert_allclose(straight.values["loss"][full], turned.values["loss"].T[full])


def test_trap_9_a_long_picture_costs_the_same_either_way():
    surface = np.exp(-(np.add.outer(np.linspace(-3, 5, 33), np.linspace(-1, 1, 129)) ** 2))
    costs = [run(s.shape, s, 1e-2)[0].evaluated.mean() for s in (surface, surface.T)]
    assert costs[0] == pytest.approx(costs[1], rel=0.2)


@pytest.mark.parametrize("place", [0.1, 0.37])
def test_a_cliff_costs_points_only_where_it_is(place):
    x, y = np.meshgrid(np.linspace(-1, 1, 65), np.linspace(-1, 1, 65), indexing="ij")
    distance = x + 0.3 * y - place
    picture, _, _ = run((65, 65), 1e4 / (1 + np.exp(-60 * distance)), 1e-2)
    near, far = (picture.evaluated[mask].mean() for mask in (np.abs(distance) < 0.1, np.abs(distance) > 0.5))
    assert near > 3 * far
    assert far < 0.3
    assert picture.evaluated.mean() < 0.5


def test_a_cliff_in_a_curve_costs_points_only_where_it_is():
    x = np.linspace(-1, 1, 257)
    picture, _, _ = run((257,), np.tanh(80 * (x - 0.3)) + x**2, 1e-2)
    assert picture.evaluated.sum() < 80
    assert picture.evaluated[np.abs(x - 0.3) < 0.05].mean() > 0.6
    assert picture.evaluated[np.abs(x - 0.3) > 0.3].mean() < 0.3


def test_a_cliff_of_a_logarithm_is_found_in_logarithm():
    x, y = np.meshgrid(np.linspace(-1, 1, 65), np.linspace(-1, 1, 33), indexing="ij")
    surface = np.exp(12 * np.tanh(30 * (x + 0.2 * y)))
    picture, _, _ = run((65, 33), surface, 1e-2, log=True)
    low = (x + 0.2 * y < 0) & ~picture.evaluated
    assert np.abs(np.log(picture.values["loss"] / surface)).max() <= 1e-2 * 24
    assert low.any()


@pytest.mark.parametrize("shape", [(9, 5), (8, 6), (17,), (4, 4)])
@pytest.mark.parametrize("kind", ["finite", "log", "holes"])
def test_every_budget_leaves_a_valid_picture(shape, kind):
    surface = np.exp(hills(shape)) if kind == "log" else hills(shape)
    surface = np.where(surface > 1, np.inf, surface) if kind == "holes" else surface
    for limit in range(1, surface.size + 1):
        picture, asked, _ = run(shape, surface, 1e-3, limit=limit, log=kind == "log", always=[(1,) * len(shape)])
        assert len(asked) == picture.evaluated.sum() <= limit
        at = picture.evaluated
        np.testing.assert_array_equal(picture.values["loss"][at], surface[at])
        assert not picture.error["loss"] < 0
        assert (picture.error["loss"] != 0) or at.all() or not np.isfinite(picture.values["loss"][~at]).any()
        assert picture.settled == (len(asked) < limit or at.all()) or picture.error["loss"] <= 1e-3 * np.ptp(surface)


@pytest.mark.parametrize("shape", [(2,), (3,), (4,), (2, 2), (2, 7), (3, 3), (3, 2), (4, 5)])
def test_the_smallest_pictures_are_measured_whole(shape):
    surface = np.random.default_rng(0).normal(size=shape)
    picture, asked, _ = run(shape, surface, 1e-2)
    assert set(asked) == set(np.ndindex(*shape))
    assert (picture.settled, picture.level, picture.error["loss"]) == (True, shape, 0.0)


def test_the_first_pictures_come_after_9_25_and_81_points():
    _, _, pictures = run((65, 65), np.random.default_rng(0).normal(size=(65, 65)), 1e-2)
    assert [int(p.evaluated.sum()) for p in pictures[:3]] == [9, 25, 81]
    assert [p.level for p in pictures[:3]] == [(3, 3), (5, 5), (9, 9)]


@pytest.mark.parametrize("pixel", [(0, 0), (7, 3), (31, 15)])
def test_the_models_pixels_are_measured_right_after_the_coarsest_grid(pixel):
    for limit in (10, None):
        picture, asked, _ = run((33, 17), hills((33, 17)), 1e-1, limit=limit, always=[pixel])
        assert picture.evaluated[pixel]
        assert pixel in asked[:10]


def test_the_same_values_are_asked_for_in_the_same_order():
    surface = np.random.default_rng(0).normal(size=(33, 17)).cumsum(0).cumsum(1)
    assert run((33, 17), surface, 1e-2)[1] == run((33, 17), surface, 1e-2)[1]


def test_rims_of_what_is_not_finite_are_measured_and_its_inside_is_not():
    x, y = np.meshgrid(np.linspace(-1, 1, 65), np.linspace(-1, 1, 65), indexing="ij")
    radius = np.hypot(x - 0.1, y)
    surface = np.where(radius < 0.6, np.nan, x + y)
    picture, _, _ = run((65, 65), surface, 1e-2)
    np.testing.assert_array_equal(np.isfinite(picture.values["loss"]), np.isfinite(surface))
    assert picture.evaluated[np.abs(radius - 0.6) < 0.03].mean() > 0.6
    assert picture.evaluated[radius < 0.4].mean() < 0.35
    assert picture.settled


def test_nothing_finite_is_settled_without_every_pixel():
    picture, asked, _ = run((65, 65), np.full((65, 65), np.nan), 1e-2)
    assert len(asked) < 200
    assert picture.settled


def test_a_spike_between_the_first_points_raises_the_estimate_once_it_is_met():
    surface = np.zeros((33, 33))
    surface[::8, 1::2] = 1.0  # on the first grids nothing is to be seen
    picture, _, _ = run((33, 33), surface + 1e-3 * hills((33, 33)), 1e-2)
    assert picture.error["loss"] == 0.0 or picture.evaluated[::8, 1::2].mean() > 0.9
    assert np.abs(picture.values["loss"] - surface).max() < 0.1


def test_guesses_in_logarithm_say_nothing_about_a_metric_that_turns_out_negative():
    surface = 1e6 + hills((33, 17))
    surface[7, 3] = -1
    picture, _, pictures = run((33, 17), surface, 1e-2, log=True, always=[(7, 3)])
    assert np.isnan(pictures[1].error["loss"])
    assert np.isfinite(picture.error["loss"])


@pytest.mark.parametrize("tolerance", [1e-2, 0.5])
def test_rims_are_measured_however_large_the_tolerance(tolerance):
    surface = np.add.outer(np.linspace(0, 1, 65), np.linspace(0, 1, 33))
    surface[20:45, 7:] = np.inf
    picture, _, _ = run((65, 33), surface, tolerance)
    np.testing.assert_array_equal(np.isfinite(picture.values["loss"]), np.isfinite(surface))


def test_errors_of_a_grid_that_was_since_refined_do_not_count():
    x = np.linspace(-1, 1, 65)
    surface = np.add.outer(np.sin(4 * x), np.cos(4 * x))
    _, _, pictures = run((65, 65), surface, 1e-3)
    errors = {int(p.evaluated.sum()): p.error["loss"] for p in pictures}
    counts = sorted(errors)
    assert counts[2] == 81
    assert errors[81] < errors[25] / 4
    assert errors[counts[3]] < errors[81] / 4


def ripples(shape):
    """Too fine for any grid but the last ones."""
    x, y = np.meshgrid(*(np.linspace(0, 1, n) for n in shape), indexing="ij")
    return np.sin(40 * x) * np.cos(37 * y)


def guided(shape, surface, guide, wrong=0.0, tolerance=1e-2, **options):
    spread = np.full(shape, wrong)
    return run(
        shape, surface, tolerance, guide=Guide({"loss": guide}, {"loss": wrong}, {"loss": spread}, 99), **options
    )


@pytest.mark.parametrize("shape", [(65, 33), (40, 57)])
def test_with_a_guide_only_the_difference_from_it_is_interpolated(shape):
    surface = ripples(shape) + hills(shape)
    plain, _, _ = run(shape, surface, 1e-2)
    picture, asked, _ = guided(shape, surface, ripples(shape))
    _, same, _ = run(shape, hills(shape), 1e-2)
    assert len(asked) < plain.evaluated.sum() / 4
    assert len(asked) <= 1.2 * len(same)
    assert np.abs(picture.values["loss"] - surface).max() <= picture.error["loss"] <= 1e-2 * np.ptp(surface)
    np.testing.assert_array_equal(picture.values["loss"][picture.evaluated], surface[picture.evaluated])


def test_in_logarithm_a_guide_is_a_factor():
    shape = (65, 33)
    surface = np.exp(3 * ripples(shape) + 0.3 * hills(shape))
    picture, asked, _ = guided(shape, surface, 3 * ripples(shape), log=True)
    assert len(asked) < 250
    assert (np.abs(picture.values["loss"] - surface) <= picture.error["loss"]).all()
    assert np.abs(np.log(picture.values["loss"] / surface)).max() < 1e-2 * np.ptp(np.log(surface))


def test_a_guide_for_logarithms_is_not_followed_by_what_turns_out_negative():
    shape = (33, 33)
    surface = hills(shape)
    picture, asked, _ = guided(shape, surface, 100 * ripples(shape), log=True)
    _, others, _ = run(shape, surface, 1e-2, log=True)
    assert np.abs(picture.values["loss"] - surface).max() <= picture.error["loss"]
    assert len(asked) <= len(others) + 80


def test_what_a_guide_is_wrong_by_is_part_of_the_estimate_and_shows_where_to_look():
    shape = (65, 65)
    i, j = np.indices(shape)
    wrong = 0.5 * np.exp(-((i - 44) ** 2 + (j - 23) ** 2) / 18)
    surface = ripples(shape) + wrong
    picture, _, pictures = run(
        shape, surface, 1e-2, guide=Guide({"loss": ripples(shape)}, {"loss": 1e-3}, {"loss": wrong}, 99)
    )
    assert pictures[1].error["loss"] >= 0.5
    assert picture.evaluated[wrong > 0.1].all()
    assert picture.evaluated.sum() < 1100
    assert np.abs(picture.values["loss"] - surface).max() <= picture.error["loss"]


def test_from_a_picture_only_what_it_lacks_is_asked_for():
    shape = (65, 33)
    surface = hills(shape)
    whole, asked, _ = run(shape, surface, 1e-3)
    begun, _, _ = run(shape, surface, 1e-3, limit=25)
    assert begun.evaluated.sum() == 25
    rest, more, _ = run(shape, surface, 1e-3, start=begun)
    assert len(more) == len(asked) - 25
    np.testing.assert_array_equal(rest.evaluated, whole.evaluated)
    np.testing.assert_array_equal(rest.values["loss"], whole.values["loss"])
    assert isinstance(rest, Picture)
    assert rest.error == whole.error


def test_the_first_pixels_go_from_the_centre_outwards():
    _, asked, _ = run((65, 33), hills((65, 33)), 1e-2)
    assert asked[0] == (32, 16)
    inner = [max(abs(x / 64 - 0.5), abs(y / 32 - 0.5)) for x, y in asked[9:25]]
    assert inner == sorted(inner)


def test_the_guides_own_error_comes_on_top():
    shape, guide = (65, 33), ripples((65, 33))
    surface = guide + hills(shape)
    told = []
    for error in (0.0, 0.02):
        plan = refine(
            shape,
            ["loss"],
            1e-2,
            deciding=["loss"],
            guide=Guide({"loss": guide}, {"loss": error}, {"loss": np.zeros(shape)}, 99),
        )
        pixels, _ = next(plan)
        for _ in range(3):
            pixels, picture = plan.send({"loss": surface[tuple(pixels.T)]})
        told.append(picture.error["loss"])
    assert told[1] == pytest.approx(told[0] + 0.02)
