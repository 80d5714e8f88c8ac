"""Packing of a landscape for the browser: layout, types, and what is refused."""

import re

import numpy as np
import pytest
import torch
from lwidgets.widgets.height_field import frame, path_of

import lwidgets as lw

NX, NY = 5, 3
X = np.linspace(-1.0, 1.0, NX)
Y = np.linspace(10.0, 20.0, NY)
LOSS = 100 * np.arange(NX)[:, None] + np.arange(NY)  # value (i, j) = 100 i + j


def pack(**changes):
    given = {
        "x": X,
        "y": Y,
        "values": {"loss": LOSS, "error": -LOSS},
        "evaluated": LOSS % 2 == 0,
        "errors": {"loss": 0.5},
        "metric": "loss",
    } | changes
    return frame(**given)


def test_value_i_j_sits_at_i_times_ny_plus_j_of_its_metric():
    packed = pack()
    values = np.frombuffer(packed["values"], "<f4")
    assert packed["shape"] == [NX, NY]
    assert packed["metrics"] == ["loss", "error"]
    for i in range(NX):
        for j in range(NY):
            assert values[i * NY + j] == 100 * i + j
            assert values[NX * NY + i * NY + j] == -(100 * i + j)


def test_order_in_memory_does_not_matter():
    fortran = {"loss": np.asfortranarray(LOSS), "error": np.asfortranarray(-LOSS)}
    assert pack(values=fortran)["values"] == pack()["values"]


def test_axes_and_mask_have_their_types():
    packed = pack()
    np.testing.assert_array_equal(np.frombuffer(packed["x"], "<f4"), X.astype("f4"))
    np.testing.assert_array_equal(np.frombuffer(packed["y"], "<f4"), Y.astype("f4"))
    np.testing.assert_array_equal(np.frombuffer(packed["evaluated"], "u1").reshape(NX, NY), LOSS % 2 == 0)


def test_not_finite_values_stay_what_they_are():
    values = LOSS.astype(float)
    values[1, 2], values[2, 0], values[3, 1] = np.nan, np.inf, 1e300
    back = np.frombuffer(pack(values={"loss": values})["values"], "<f4").reshape(NX, NY)
    assert np.isnan(back[1, 2])
    assert np.isposinf(back[2, 0])
    assert np.isposinf(back[3, 1])
    assert np.isfinite(back).sum() == NX * NY - 3


def test_unknown_errors_are_null():
    assert pack()["errors"] == [0.5, None]
    assert pack(errors={"loss": float("nan"), "error": None})["errors"] == [None, None]


def test_arguments_are_left_alone():
    before = LOSS.copy(), X.copy()
    pack()
    np.testing.assert_array_equal(before[0], LOSS)
    np.testing.assert_array_equal(before[1], X)


REFUSED = [
    (
        {"values": {"loss": LOSS.T}},
        "frame: values['loss'] must have shape (5, 3) for these axes, got (3, 5). "
        "Transpose it: grids are [i, j] = [x, y].",
    ),
    (
        {"evaluated": np.ones((2, 2))},
        "frame: evaluated must have shape (5, 3) for these axes, got (2, 2). Evaluate on the same grid.",
    ),
    (
        {"x": X[::-1]},
        "frame: x must be finite and strictly increasing in float32, got 1, 0.5 at index 0. "
        "Sort the axis, or widen its span.",
    ),
    (
        {"y": np.array([1.0, 1.0 + 1e-12, 2.0])},
        "frame: y must be finite and strictly increasing in float32, got 1, 1 at index 0. "
        "Sort the axis, or widen its span.",
    ),
    (
        {"x": np.array([1.0])},
        "frame: x must have shape (n,) with n >= 2, got (1,). Pass the coordinates of one axis.",
    ),
    ({"metric": "acc"}, "frame: metric must be one of 'loss', 'error', got 'acc'. Pass a key of values."),
    (
        {"colormap": "jet"},
        "frame: colormap must be one of viridis, cividis, magma, gray, got 'jet'. Choose one of these.",
    ),
    ({"labels": "xy"}, "frame: labels must be two strings, got 'xy'. Name the x and the y axis."),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_refuses_with_a_message_that_names_the_fault(changes, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        pack(**changes)


def test_only_a_path_between_models_is_drawn_on_a_plane():
    a, b, c = (torch.tensor(x) for x in ([0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]))
    plane = lw.Plane.through(a, b, c)
    for path in (lw.Line.random(a), plane):
        with pytest.raises(ValueError, match=r"path_of: path must have one coordinate and be between models, got a"):
            path_of(path, plane, label="", color="#000000")
