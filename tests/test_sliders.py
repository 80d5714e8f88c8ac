"""Slider: every kind holds what it may and refuses the rest by name."""

import pytest

from lwidgets.sliders import Slider


@pytest.mark.parametrize(
    ("slider", "value", "message"),
    [
        (Slider("n", 3, low=0, high=9), 2.5, "n must be an integer, got 2.5"),
        (Slider("n", 3, low=0, high=9), True, "n must be an integer, got True"),
        (Slider("n", 3, low=0, high=9), 10, r"n must lie in \[0, 9\], got 10"),
        (Slider("r", 0.5, low=0, high=1), float("nan"), r"r must lie in \[0, 1\], got nan"),
        (Slider("c", "x", options=("x", "y")), "z", "c must be one of 'x', 'y', got 'z'"),
        (Slider("p", (0.0, 1.0), low=-1, high=2), (1.0, 0.0), "p must be .low, high. with low < high"),
        (Slider("t", False), 1, "t must be True or False, got 1"),
    ],
)
def test_a_slider_refuses_by_name_what_it_cannot_hold(slider, value, message):
    with pytest.raises(ValueError, match=message):
        slider.coerce(value)


@pytest.mark.parametrize(
    ("slider", "value", "held"),
    [
        (Slider("n", 3, low=0, high=9), 9, 9),
        (Slider("n", 3, low=0, high=9, limits=(0, 99)), 42, 42),
        (Slider("r", 0.5, low=0, high=1), 1, 1.0),
        (Slider("c", "x", options=("x", "y")), "y", "y"),
        (Slider("p", (0.0, 1.0), low=-1, high=2), [0, 2], (0.0, 2.0)),
        (Slider("t", False), True, True),
    ],
)
def test_a_slider_holds_what_it_may(slider, value, held):
    found = slider.coerce(value)
    assert found == held
    assert type(found) is type(held)
