"""Nested index sets and the interpolation between them."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.interpolate import RectBivariateSpline, RegularGridInterpolator

from lwidgets.sampling.grids import interpolate, mask_of, nested_grids, nested_levels, nested_steps, product

SIZE = st.integers(2, 130)


@given(SIZE)
def test_levels_are_nested_from_the_ends_and_the_middle_to_every_index(size):
    levels = nested_levels(size)
    assert levels[-1].tolist() == list(range(size))
    assert {0, size - 1, (size - 1) // 2} == set(levels[0].tolist())
    for coarse, fine in itertools.pairwise(levels):
        assert set(coarse) < set(fine)
        assert (np.diff(fine) > 0).all()
        widths = np.diff(coarse)
        assert np.diff(fine).max() <= -(-widths.max() // 2)  # every gap is halved, rounded up


@pytest.mark.parametrize("k", range(1, 8))
def test_sizes_of_two_to_the_k_plus_one_halve_exactly(k):
    assert [len(level) for level in nested_levels(2**k + 1)] == [2**i + 1 for i in range(1, k + 1)]


@given(st.lists(SIZE, min_size=1, max_size=2))
def test_grids_of_any_shape_are_nested_and_end_with_every_pixel(shape):
    masks = [mask_of(nodes, shape) for nodes in nested_grids(shape)]
    assert masks[-1].all()
    for coarse, fine in itertools.pairwise(masks):
        assert not (coarse & ~fine).any()
        assert coarse.sum() < fine.sum()


def test_trap_9_the_mask_of_nodes_is_ij():
    mask = mask_of((np.array([1, 3]), np.array([0])), (5, 2))
    assert np.argwhere(mask).tolist() == [[1, 0], [3, 0]]


@pytest.mark.parametrize("shape", [(17, 9), (12, 7), (9, 33)])
def test_a_bicubic_polynomial_is_interpolated_exactly(shape):
    x, y = np.meshgrid(np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1]), indexing="ij")
    surface = (1 + x - 2 * x**3) * (3 - y**2 + y**3)
    nodes = next(n for n in nested_grids(shape) if min(len(i) for i in n) >= 4)
    np.testing.assert_allclose(interpolate(nodes, surface), surface, atol=1e-12)


def test_a_cubic_is_interpolated_exactly_on_a_line_with_uneven_nodes():
    curve = np.linspace(-1, 2, 23) ** 3
    nodes = (np.array([0, 3, 4, 11, 22]),)
    np.testing.assert_allclose(interpolate(nodes, curve), curve, atol=1e-12)


@given(
    st.sampled_from([(9, 5), (12, 7), (33,), (6,)]).flatmap(
        lambda s: arrays(np.float64, s, elements=st.floats(-10, 10))
    )
)
def test_only_the_nodes_are_read_and_they_are_kept_exactly(values):
    nodes = nested_grids(values.shape)[1]
    mask = mask_of(nodes, values.shape)
    filled = interpolate(nodes, values)
    assert (filled[mask] == values[mask]).all()
    again = interpolate(nodes, np.where(mask, values, np.nan))
    assert (again == filled).all()


@pytest.mark.parametrize("shape", [(17, 9), (12, 27), (65, 33)])
def test_it_is_the_tensor_product_spline_of_scipy(shape):
    surface = np.random.default_rng(0).normal(size=shape)
    nodes = nested_grids(shape)[1]
    scipy = RectBivariateSpline(*nodes, surface[np.ix_(*nodes)], s=0)(*map(np.arange, shape))
    np.testing.assert_allclose(interpolate(nodes, surface), scipy, atol=1e-12)


@pytest.mark.parametrize("shape", [(17, 9), (65,), (33, 33)])
def test_filling_a_finer_grid_does_not_change_the_spline(shape):
    surface = np.random.default_rng(0).normal(size=shape)
    first, second = nested_grids(shape)[1:3]
    once = interpolate(first, surface)
    np.testing.assert_allclose(interpolate(second, once), once, atol=1e-11)


@pytest.mark.parametrize("shape", [(9, 5), (12, 7), (33,), (2, 6), (3, 3)])
def test_steps_lead_from_grid_to_grid(shape):
    values = np.random.default_rng(0).normal(size=shape)
    grids, steps = nested_grids(shape), nested_steps(shape)
    assert len(steps) == len(grids) - 1
    for coarse, fine, step in zip(grids, grids[1:], steps, strict=False):
        assert all((a == b).all() for a, b in zip(step.nodes, fine, strict=True))
        known = values[np.ix_(*coarse)]
        (predicted, linear), share = step.predict(known, np.ones(known.shape))
        assert (share == 1).all()
        plain = RegularGridInterpolator(coarse, known)(np.stack(np.meshgrid(*fine, indexing="ij"), axis=-1))
        np.testing.assert_allclose(linear, plain, atol=1e-12)
        np.testing.assert_allclose(predicted, interpolate(coarse, values)[np.ix_(*fine)], atol=1e-12)
        assert (step.new == ~mask_of(coarse, shape)[np.ix_(*fine)]).all()
        assert (predicted[~step.new] == known.ravel()).all()


def test_a_cell_inherits_from_its_corners_only():
    step = nested_steps((9, 5))[1]  # from 5x5 to 9x5
    heights = np.zeros((5, 5))
    heights[2, 3] = 7
    assert np.argwhere(step.inherit(heights)).tolist() == [[3, 3], [4, 3], [5, 3]]


def test_trap_9_a_product_applies_the_first_matrix_to_the_first_axis():
    a, b = np.arange(6.0).reshape(2, 3), np.arange(20.0).reshape(5, 4)
    values = np.random.default_rng(0).normal(size=(3, 4))
    np.testing.assert_allclose(product((a, b), values), a @ values @ b.T)
    np.testing.assert_allclose(product((a,), values[:, 0]), a @ values[:, 0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_trap_8_a_value_that_is_not_finite_spoils_its_cells_and_nothing_else(bad):
    values = np.full((9, 17), 3.0)  # a constant: bridging a hole by its nearest value is exact
    values[4, 8] = bad
    filled = interpolate((np.arange(0, 9, 4), np.arange(0, 17, 4)), values)
    i, j = np.indices(values.shape)
    spoilt = (abs(i - 4) < 4) & (abs(j - 8) < 4)
    assert np.isnan(filled[spoilt & ((i != 4) | (j != 8))]).all()
    np.testing.assert_allclose(filled[~spoilt], 3.0, rtol=1e-12)
    assert filled[4, 8] == bad or np.isnan(bad)


def test_a_hole_far_away_does_not_spoil_the_spline():
    curve = np.sin(np.linspace(0, 9, 129))
    nodes = (np.arange(0, 129, 8),)
    clean = interpolate(nodes, curve)
    curve[128] = np.inf
    holed = interpolate(nodes, curve)
    assert np.isnan(holed[121:128]).all()
    np.testing.assert_allclose(holed[:64], clean[:64], atol=1e-4)
    assert not np.isnan(holed[:121]).any()


def test_nothing_finite_gives_nothing():
    filled = interpolate(nested_grids((9, 5))[0], np.full((9, 5), np.nan))
    assert np.isnan(filled).all()
