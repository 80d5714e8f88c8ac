"""How arrays of a companion are stored, read back by a decoder written for this test."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from lwidgets.export.arrays import ArrayTable, quantise, restored
from tests.export.decoding import decoded

NUMBERS = st.floats(-1e6, 1e6, width=32) | st.sampled_from([np.nan, np.inf, -np.inf])


@given(arrays(np.float32, array_shapes(min_dims=1, max_dims=3, max_side=7), elements=NUMBERS), st.integers(1, 4))
def test_quantised_arrays_come_back_to_half_a_step(first, count):
    table = ArrayTable()
    shifted = [first + np.float32(k) for k in range(count)]
    index = [table.add(array, "q2", "loss") for array in shifted]
    found = decoded(*table.encoded())
    for k, array in zip(index, shifted, strict=True):
        finite = np.isfinite(array)
        np.testing.assert_array_equal(found[k][~finite], array[~finite])
        extent = np.ptp(array[finite].astype(float)) if finite.any() else 0.0
        np.testing.assert_allclose(found[k][finite], array[finite], rtol=1e-12, atol=extent / 13_000)


@given(arrays(np.float32, (3, 4), elements=st.floats(2.0**-20, 2.0**20, width=32) | st.sampled_from([0.0, np.inf])))
def test_logarithms_keep_the_relative_error_small(values):
    table = ArrayTable()
    table.add(values, "l2", "loss")
    (found,) = decoded(*table.encoded())
    finite = np.isfinite(values) & (values > 0)
    np.testing.assert_array_equal(found[~finite], values[~finite])
    np.testing.assert_allclose(found[finite], values[finite], rtol=3e-4)


def test_exact_arrays_and_bytes_come_back_as_they_were():
    table = ArrayTable()
    values = np.array([[1.5, np.nan], [np.inf, -0.0]], np.float32)
    mask = np.array([0, 1, 1], np.uint8)
    at = table.add(values, "f4"), table.add(mask, "u1")
    found = decoded(*table.encoded())
    np.testing.assert_array_equal(found[at[0]], values)
    np.testing.assert_array_equal(found[at[1]], mask)


def test_equal_arrays_are_stored_once_and_neighbours_as_differences():
    table = ArrayTable()
    x, y = np.meshgrid(np.linspace(-1, 1, 65), np.linspace(-1, 1, 33), indexing="ij")
    surfaces = [x**2 + (1 + k / 20) * y**2 for k in range(20)]
    first = [table.add(s, "q2", "loss") for s in surfaces]
    assert first == [table.add(s, "q2", "loss") for s in surfaces]
    specs, data = table.encoded()
    assert [spec["base"] for spec in specs] == [None, *range(19)]
    assert len(data) < 0.3 * 4 * 20 * 65 * 33


def test_roles_have_ranges_of_their_own():
    table = ArrayTable()
    table.add([0.0, 2000.0], "q2", "loss")
    table.add([0.0, 0.1, 0.2], "q2", "error")
    found = decoded(*table.encoded())
    np.testing.assert_allclose(found[1], [0.0, 0.1, 0.2], atol=2e-6)


RANGES = st.tuples(st.floats(-1e3, 1e3), st.floats(-9, 9)).map(lambda one: one[0] + np.linspace(0, 10.0 ** one[1], 7))


@given(st.lists(RANGES, min_size=1, max_size=6))
def test_every_array_is_right_on_the_axis_on_which_it_is_seen(values):
    table = ArrayTable()
    index = [table.add(one, "q2", "loss") for one in values]
    found = decoded(*table.encoded())
    for k, one in zip(index, values, strict=True):
        np.testing.assert_allclose(found[k], one, rtol=1e-13, atol=np.ptp(one) / 13_000)


@pytest.mark.parametrize(
    "arrays",
    [
        [np.linspace(1, 13.8, 50), np.linspace(1, 1e9, 50)],
        [np.linspace(0, 2, 50), np.linspace(0, 2e7, 50)],
        [1000 + 3e-3 * np.sin(np.arange(50)), 2000 + 3e-3 * np.cos(np.arange(50)), np.linspace(0, 5000, 50)],
    ],
    ids=["a curve that explodes elsewhere", "surfaces of two sizes", "a conserved quantity"],
)
def test_a_large_neighbour_makes_nothing_flat(arrays):
    table = ArrayTable()
    index = [table.add(one, "q2", "loss") for one in arrays]
    specs, data = table.encoded()
    found = decoded(specs, data)
    for k, one in zip(index, arrays, strict=True):
        assert np.abs(found[k] - one).max() < 1e-4 * np.ptp(one)
        assert specs[k]["base"] is None


def test_differences_are_to_an_array_of_the_same_range():
    table = ArrayTable()
    small, large = np.linspace(0, 2, 50), np.linspace(0, 2e7, 50)
    for k in range(3):
        table.add(small + 0.1 * k, "q2", "loss")
        table.add(large + 1e5 * k, "q2", "loss")
    specs, data = table.encoded()
    assert [spec["base"] for spec in specs] == [None, None, 0, 1, 2, 3]
    found = decoded(specs, data)
    np.testing.assert_allclose(found[4], small + 0.2, atol=2e-4)
    np.testing.assert_allclose(found[5], large + 2e5, atol=2e3)


@pytest.mark.parametrize("value", [3.25, np.nan, np.inf])
def test_a_constant_has_a_range_of_zero(value):
    codes = quantise([value, value], *(2 * [3.25]))
    np.testing.assert_array_equal(restored(codes, 3.25, 3.25), [value, value])
