"""Slider: every kind holds what it may, refuses the rest by name, and knows where it goes next."""

import numpy as np
import pytest

from lwidgets.study import Study
from lwidgets.study.sliders import RESERVED, Slider, positions_of, value_text


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


# --- kinds, logarithms, play, names ---


def test_a_whole_number_makes_integers_only_where_everything_is_whole():
    assert Slider("n", 10, low=0, high=20, step=2).kind == "integer"
    assert Slider("n", 10, low=0.0, high=20.0).kind == "integer"
    for spec in ({"step": 0.5}, {"low": 0.5, "high": 20}, {"low": 1, "high": 100, "log": True}):
        slider = Slider("alpha", 10, **spec)
        assert slider.kind == "number"
        assert isinstance(slider.value, float)
        assert slider.coerce(10.5) == 10.5


def test_a_pair_keeps_what_a_program_gives_it():
    pair = Slider("span", (0.0, 1.0), low=-1.0, high=2.0, step=0.1, limits=(-100.0, 100.0))
    for value in ([-4, 5], (0.123456789, 7.0), np.array([-4.0, 5.5])):
        assert pair.coerce(value) == tuple(float(v) for v in value)
    study = Study("pair")
    study.slider("span", (0.0, 1.0), low=-1.0, high=2.0, step=0.1, limits=(-100.0, 100.0))
    study.set(span=(-2, 3))
    assert study.values["span"] == (-2.0, 3.0)
    study.close()
    assert Slider("t", True).coerce(np.bool_(False)) is False


RATE = {"low": 1e-3, "high": 10.0, "step": 0.5, "log": True}


def test_a_logarithmic_slider_goes_by_factors():
    rate = Slider("rate", 0.1, **RATE)
    assert rate.neighbours(0.1, 0.01) == pytest.approx((0.1 * 10**0.5, 0.1 / 10**0.5, 1.0), rel=1e-12)
    assert rate.neighbours(1e-3 * 10**0.5, 0.01) == (1e-3, pytest.approx(0.01))
    assert all(rate.coerce(place) == place for place in rate.neighbours(0.1, 1.0))
    at = 1e-3
    for _ in range(8):
        at *= 10**0.5
    assert rate.position(at) == 10.0
    assert rate.position(rate.position(0.3)) == rate.position(0.3)
    assert rate.position(0.3) != rate.position(0.3001)
    assert Slider("r", 0.3, low=0.3, high=0.7, step=0.1, log=True).position(0.1 + 0.2) == 0.3
    with pytest.raises(ValueError, match=r"rate must lie in \[0\.001, 10\], got 0"):
        rate.coerce(0)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"value": 1.0, "low": 0.0, "high": 1.0, "log": True}, "must have positive ends and a positive value, got x"),
        ({"value": 0.5, "low": -1.0, "high": 1.0, "log": True}, "must have positive ends"),
        ({"value": 0.5, "log": True}, "must have positive ends"),
        ({"value": 1.0, "low": 0.5, "high": 2.0, "limits": (0.0, 9.0), "log": True}, "must have positive ends"),
        ({"value": True, "log": True}, "log must be for a number, got x, a toggle"),
        ({"value": (1.0, 2.0), "low": 1, "high": 3, "log": True}, "log must be for a number, got x, a pair"),
        (
            {"value": "a", "options": ("a",), "play": True},
            "play must be for a number or an integer .*, got x, a choice",
        ),
        ({"value": 0.5, "low": 0.0, "high": 1.0, "play": True}, "play must be for .*step=None"),
        ({"value": 3, "low": 0, "play": True}, "play must be for .*high=None"),
    ],
)
def test_logarithms_and_play_have_conditions(spec, message):
    with pytest.raises(ValueError, match=message):
        Slider("x", **spec)


def test_what_plays():
    assert Slider("t", 0, low=0, high=10, play=True).play
    assert Slider("t", 0.1, low=0.1, high=10, step=0.1, log=True, play=True).play


def test_names_that_the_widget_uses_are_refused_with_a_hint():
    with pytest.raises(
        ValueError, match=r"got 'log', which it uses for itself. Choose another, for example 'log_height'"
    ):
        Study("s").slider("log", False)
    for name in ("layout", "children", "comm", "close", "controls", "verify"):
        with pytest.raises(ValueError, match=f"must be free in the widget, got '{name}'"):
            Slider(name, 1)
    for name in ("class", "not a name", "1st"):
        with pytest.raises(ValueError, match="must be usable as an argument"):
            Slider(name, 1)


def test_the_reserved_names_are_all_that_the_widget_has():
    ipywidgets = pytest.importorskip("ipywidgets")
    assert {name for name in dir(ipywidgets.VBox) if not name.startswith("_")} <= RESERVED
    study = Study("Bare")
    widget = study.show()
    assert {name for name in dir(widget) if not name.startswith("_")} <= RESERVED
    widget.close()


def test_values_in_words_and_positions_by_kind():
    sliders = {
        "choice": Slider("choice", "x", options=("x", "y")),
        "toggle": Slider("toggle", False),
        "pair": Slider("pair", (0.0, 1.0)),
        "bank": Slider("bank", (0.0, 1.0), low=0, high=1, parts=("a", "b")),
        "integer": Slider("integer", 3, low=0, high=10),
        "number": Slider("number", 0.5, low=0.0, high=1.0),
        "rate": Slider("rate", 0.1, **RATE),
    }
    told = [value_text(slider, slider.value) for slider in sliders.values()]
    assert told == ["x", "no", "0 to 1", "a 0, b 1", "3", "0.5", "0.1"]
    asked = {"choice": None, "toggle": None, "pair": [(0, 2)], "integer": 3, "number": 3, "rate": 5}
    found = positions_of(sliders, asked)
    assert found == {
        "choice": ("x", "y"),
        "toggle": (False, True),
        "pair": ((0.0, 2.0),),
        "integer": (0, 5, 10),
        "number": (0.0, 0.5, 1.0),
        "rate": (1e-3, pytest.approx(1e-2), pytest.approx(0.1), pytest.approx(1.0), 10.0),
    }
    for wrong, message in (({"pair": 3}, "to_html: pair must have its positions listed"), ({"bank": None}, "listed")):
        with pytest.raises(ValueError, match=message):
            positions_of(sliders, wrong)
