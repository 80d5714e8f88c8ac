"""Slider: every kind holds what it may, refuses the rest by name, and knows where it goes next."""

import pytest

from lwidgets.study.sliders import Slider


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
        (Slider("b", (0.0, 1.0), low=0, high=1, parts=("x", "y")), (0.5,), "b must be 2 numbers, got"),
        (Slider("b", (0.0, 1.0), low=0, high=1, parts=("x", "y")), 0.5, "b must be 2 numbers, got 0.5"),
        (Slider("b", (0.0, 1.0), low=0, high=1, parts=("x", "y")), (0.5, 2.0), r"b must lie in \[0, 1\], got 2.0"),
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
        (Slider("b", (0.0, 1.0, 0.5), low=0, high=1, parts=("x", "y", "z")), [1, 0, 0.25], (1.0, 0.0, 0.25)),
    ],
)
def test_a_slider_holds_what_it_may(slider, value, held):
    found = slider.coerce(value)
    assert found == held
    assert type(found) is type(held)


@pytest.mark.parametrize(
    ("slider", "before", "value", "expected"),
    [
        (Slider("n", 3, low=0, high=9), 3, 4, (5, 3, 6)),
        (Slider("n", 3, low=0, high=9), 9, 4, (3, 5, 2)),  # down, however far it jumped
        (Slider("n", 3, low=0, high=9), 3, 8, (9, 7)),
        (Slider("n", 3, low=0, high=9), 8, 9, (8,)),
        (Slider("n", 9, low=9, high=129, step=8, limits=(3, 2049)), 73, 65, (57, 73, 49)),
        (Slider("n", 9, low=9, high=129, step=8, limits=(3, 2049)), 65, 200, (192,)),  # set by code, beyond the control
        (Slider("n", 9, low=0, high=99, limits=(-(2**63), 2**63)), 1, 0, (1,)),
        (Slider("n", 0), -6, -5, (-4, -6, -3)),
        (Slider("r", 0.5, low=0.0, high=3.0, step=0.1), 0.1, 0.2, (0.3, 0.1, 0.4)),
        (Slider("r", 0.5, low=0.0, high=3.0, step=0.1), 2.8, 2.9, (3.0, 2.8)),
        (Slider("r", 0.5, low=0.0, high=3.0), 0.1, 0.2, ()),  # typed, not dragged
        (Slider("r", 0.5, low=0.0, high=1.0, step=0.25, bounds="p"), 1.0, 1.25, (1.5, 1.0, 1.75)),
        (Slider("c", "x", options=("w", "x", "y", "z")), "x", "y", ("z", "x")),
        (Slider("c", "x", options=("w", "x", "y", "z")), "z", "y", ("x", "z", "w")),
        (Slider("t", False), False, True, (False,)),
        (
            Slider("b", (0.0,) * 3, low=0.0, high=1.0, step=0.25, parts=("x", "y", "z")),
            (0.0, 0.5, 1.0),
            (0.0, 0.75, 1.0),
            ((0.0, 1.0, 1.0), (0.0, 0.5, 1.0)),
        ),
        (
            Slider("p", (0.0, 1.0), low=-1.0, high=2.0, step=0.5),
            (0.0, 1.0),
            (0.0, 1.5),
            ((0.0, 2.0), (0.0, 1.0)),
        ),
        (
            Slider("p", (0.0, 1.0), low=-1.0, high=2.0, step=0.1),
            (0.0, 1.0),
            (-0.1, 1.1),
            ((-0.2, 1.2), (0.0, 1.0), (-0.3, 1.3)),
        ),
        (Slider("p", (0.0, 1.0), low=-1.0, high=2.0, step=0.5), (-0.5, 1.0), (0.0, 1.0), ((0.5, 1.0), (-0.5, 1.0))),
        (
            Slider("p", (0.0, 1.0), low=-1.0, high=2.0, step=0.5, limits=(-9.0, 9.0)),
            (-5.0, 0.5),
            (-5.0, 1.0),
            ((-5.0, 1.5), (-5.0, 0.5), (-5.0, 2.0)),
        ),
        (Slider("r", 0.0, low=0.0, high=1e-11, step=2.5e-13), 5e-13, 7.5e-13, (1e-12, 5e-13, 1.25e-12)),
        *((s, s.value, s.value, ()) for s in (Slider("n", 3, low=0, high=9), Slider("c", "x", options=("x", "y")))),
    ],
)
def test_the_next_places_are_a_step_on_a_step_back_and_two_on(slider, before, value, expected):
    found = slider.neighbours(value, before)
    assert found == expected
    assert all(type(place) is type(value) for place in found)
    assert all(slider.coerce(place) == place for place in found)


def test_two_ways_to_one_place_are_one_position_and_two_places_are_not():
    slider = Slider("r", 0.5, low=-1.0, high=3.0, step=0.1)
    sums = [sum([0.1] * n) for n in range(30)]
    assert any(total != n / 10 for n, total in enumerate(sums))
    assert [slider.position(total) for total in sums] == [slider.position(n / 10) for n in range(30)]
    assert slider.position(-1.0 + 10 * 0.1 + 1e-17) == slider.position(0.0)
    assert slider.position(1 / 3) != slider.position(0.3333333)
    assert slider.position(1e-9) != slider.position(1.001e-9)
    pair = Slider("p", (0.0, 1.0), low=-1, high=2, step=0.1)
    assert pair.position((0.1 + 0.2, 1.0)) == (0.3, 1.0)
    assert Slider("c", "x", options=("x", "y")).position("y") == "y"


def test_a_slider_is_shown_with_the_values_of_another_that_it_speaks_of():
    keep = Slider("keep", 0.2, low=0.0, high=1.0, when={"method": ("ties", "dare"), "more": (True,)})
    shown = {(m, t) for m in ("ties", "dare", "mean") for t in (True, False) if keep.is_shown({"method": m, "more": t})}
    assert shown == {("ties", True), ("dare", True)}
    assert Slider("keep", 0.2, low=0.0, high=1.0).is_shown({})
