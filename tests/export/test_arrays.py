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
    half = table.rounding()["loss"]
    for k, array in zip(index, shifted, strict=True):
        finite = np.isfinite(array)
        np.testing.assert_array_equal(found[k][~finite], array[~finite])
        np.testing.assert_allclose(found[k][finite], array[finite], rtol=0, atol=half * 1.01 + 1e-9)


@given(arrays(np.float32, (3, 4), elements=st.floats(2.0**-20, 2.0**20, width=32) | st.sampled_from([0.0, np.inf])))
def test_logarithms_keep_the_relative_error_small(values):
    table = ArrayTable()
    table.add(values, "l2", "loss")
    (found,) = decoded(*table.encoded())
    finite = np.isfinite(values) & (values > 0)
    np.testing.assert_array_equal(found[~finite], values[~finite])
    np.testing.assert_allclose(found[finite], values[finite], rtol=table.rounding()["loss"] * 1.01 + 1e-6)
    assert table.rounding()["loss"] < 3e-4


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


@pytest.mark.parametrize("value", [3.25, np.nan, np.inf])
def test_a_constant_has_a_range_of_zero(value):
    codes = quantise([value, value], *(2 * [3.25]))
    np.testing.assert_array_equal(restored(codes, 3.25, 3.25), [value, value])
