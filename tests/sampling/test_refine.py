"""The planner by itself: a coroutine that asks for pixels and is told their values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lwidgets.sampling.refine import refine

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
    np.testing.assert_allclose(straight.values["loss"][full], turned.values["loss"].T[full])
