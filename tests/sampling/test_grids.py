"""Nested index sets and the interpolation between them."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lwidgets.sampling.grids import finite_share, interpolate, mask_of, nested_grids, nested_levels

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


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_trap_8_a_value_that_is_not_finite_spoils_its_cells_and_nothing_else(bad):
    values = np.add.outer(np.arange(9.0), 10 * np.arange(17.0))  # a plane: linear interpolation is exact
    values[4, 8] = bad
    nodes = (np.arange(0, 9, 4), np.arange(0, 17, 4))
    filled = interpolate(nodes, values)
    i, j = np.indices(values.shape)
    spoilt = (abs(i - 4) < 4) & (abs(j - 8) < 4)
    assert np.isnan(filled[spoilt & ((i != 4) | (j != 8))]).all()
    np.testing.assert_allclose(filled[~spoilt], values[~spoilt], rtol=1e-12)
    assert filled[4, 8] == bad or np.isnan(bad)
    share = finite_share(nodes, values)
    assert ((share < 1) == spoilt).all()
    assert share[4, 8] == 0


def test_a_line_with_a_pole_is_linear_where_it_is_known():
    values = np.where(np.arange(17) == 8, np.inf, 2.0 * np.arange(17))
    filled = interpolate((np.arange(0, 17, 4),), values)
    np.testing.assert_allclose(filled[:5], values[:5])
    assert np.isnan(filled[[5, 7, 9, 11]]).all()
