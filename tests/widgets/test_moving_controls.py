"""Controls with a logarithm or a button, and what is told of a slider that moves."""

import threading

import numpy as np
import pytest
import traitlets

import lwidgets as lw
from lwidgets.study.sliders import Slider
from lwidgets.widgets.controls import PlayedSlider, control_for, range_of, set_range


@pytest.fixture
def shown():
    """A study with one slider on show; closed in the end."""
    widgets = []

    def show(name, value, **spec):
        study = lw.Study("One slider")
        if spec.get("bounds"):
            study.slider(spec["bounds"], (0.0, 1.0), low=-5.0, high=5.0, step=0.1)
        study.slider(name, value, **spec)
        widgets.append(lw.StudyWidget(study))
        return widgets[-1]

    yield show
    for widget in widgets:
        widget.close()


def changes_of(widget, name):
    seen = []
    widget.observe(lambda change: seen.append((change["old"], change["new"])), name)
    return seen


@pytest.mark.parametrize(("low", "high"), [(0.3, 0.7), (1e-3, 10.0), (3e-7, 2e5), (1.1, 1.3)])
def test_a_logarithmic_control_offers_what_the_slider_allows(shown, low, high):
    widget = shown("rate", low, low=low, high=high, log=True)
    control = widget.controls["rate"]
    assert range_of(control) == pytest.approx((low, high), rel=1e-12)
    for end, exponent in ((high, control.max), (low, control.min)):
        widget.rate = end
        assert widget.rate == end
        control.value = control.base**exponent  # dragged to the end, as a browser computes it
        assert widget.rate == pytest.approx(end, rel=1e-12)


def test_a_logarithmic_control_moves_by_factors_and_rounds_in_decades(shown):
    widget = shown("rate", 0.02, low=1e-3, high=1.0, step=0.1, log=True)
    control = widget.controls["rate"]
    assert control.step == 0.1
    seen = changes_of(widget, "rate")
    control.value = 10**-1.7  # the nearest step to 0.02, as a browser shows it
    assert (widget.rate, seen) == (0.02, [])
    control.value = 10**-1.6
    assert widget.rate == pytest.approx(10**-1.6)
    assert len(seen) == 1


def test_rounding_on_a_control_with_steps_of_its_own_moves_nothing(shown):
    widget = shown("rate", 0.123456, low=1e-4, high=1.0, log=True)
    control = widget.controls["rate"]
    places = 10 ** (control.min + control.step * np.arange(201))
    control.value = float(places[np.abs(np.log10(places / 0.123456)).argmin()])
    assert widget.rate == 0.123456


@pytest.mark.parametrize(("value", "spec"), [(0.5, {}), (0.5, {"step": 0.1}), (5, {}), (5, {"low": 0, "step": 5})])
def test_a_number_without_ends_has_a_control_and_takes_any(shown, value, spec):
    widget = shown("shift", value, **spec)
    widget.controls["shift"].value = 1_000_000
    assert widget.shift == 1_000_000
    widget.shift = value
    assert widget.controls["shift"].value == value


@pytest.mark.parametrize(
    ("value", "spec", "expected"),
    [
        (2, {"low": 0, "high": 5}, [3, 4, 5]),
        (0.5, {"low": 0.0, "high": 0.9, "step": 0.1}, [0.6, 0.7, 0.8, 0.9]),
        (0.1, {"low": 1e-2, "high": 10.0, "step": 0.5, "log": True}, [10**-0.5, 1.0, 10**0.5, 10.0]),
    ],
)
def test_a_button_takes_a_slider_on_from_where_it_is(shown, value, spec, expected):
    widget = shown("at", value, play=True, **spec)
    control, reached = widget.controls["at"], []
    assert isinstance(control, PlayedSlider)
    while control.button.value < control.button.max:
        control.button.value += 1  # as the browser does, ten times a second
        reached.append(widget.at)
    assert reached == pytest.approx(expected)
    assert all(type(one) is type(value) for one in reached)
    assert control.slider.value == pytest.approx(expected[-1])


def test_a_button_goes_on_from_where_code_or_a_person_went():
    control = control_for(Slider("at", 0.0, low=0.0, high=1.0, step=0.1, play=True))
    control.value = 0.42
    assert (control.slider.value, control.button.value) == (0.42, 4)
    control.slider.value = 0.7
    assert (control.value, control.button.value) == (0.7, 7)
    control.button.value = 8
    assert control.value == pytest.approx(0.8)
    control.close()


def test_places_of_a_button_are_on_the_sliders_steps_and_not_too_many():
    control = control_for(Slider("at", 0.0, low=0.0, high=1.04, step=0.1, play=True))
    assert control._places.tolist() == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    control.close()
    control = control_for(Slider("at", 0, low=0, high=100_000, play=True))
    assert control.button.max <= 200
    assert (control._places % 500 == 0).all()
    control.close()


def test_a_button_knows_other_ends(shown):
    widget = shown("at", 0.5, low=0.0, high=1.0, step=0.1, play=True, bounds="span")
    widget.span = (-1.0, 3.0)
    control = widget.controls["at"]
    assert range_of(control) == (-1.0, 3.0)
    assert control.button.max == 40
    control.button.value += 1
    assert widget.at == pytest.approx(0.6)
    widget.span = (2.0, 3.0)
    assert (widget.at, control.value, control.button.value) == (2.0, 2.0, 0)
    set_range(control, 2.0, 4.0)
    assert control.button.max == 20


def test_who_observes_a_trait_is_told_once_from_whatever_side_it_moved(shown):
    widget = shown("at", 0.25, low=0.0, high=1.0, step=0.01)
    seen = changes_of(widget, "at")
    widget.at = 0.5
    widget.controls["at"].value = 0.75
    widget.study.set(at=1.0)
    with widget.hold_trait_notifications():
        widget.at = 0.1
        widget.at = 0.2
    widget.at = 0.2
    assert seen == [(0.25, 0.5), (0.5, 0.75), (0.75, 1.0), (1.0, 0.2)]
    assert widget.controls["at"].value == widget.study.values["at"] == widget.study["at"] == 0.2


def test_moving_a_trait_asks_for_one_computation_only(shown):
    widget = shown("at", 0.25, low=0.0, high=1.0, step=0.01)
    asked, request = [], widget.study._work.latest.request
    widget.study._work.latest.request = lambda values: (asked.append(dict(values)), request(values))
    widget.at = 0.5
    widget.controls["at"].value = 0.75
    widget.study.set(at=1.0)
    assert asked == [{"at": 0.5}, {"at": 0.75}, {"at": 1.0}]


def test_a_bound_that_takes_a_slider_along_tells_of_both(shown):
    widget = shown("at", 0.5, low=0.0, high=1.0, step=0.1, bounds="span")
    seen = changes_of(widget, ["at", "span"])
    widget.controls["span"].value = (2.0, 3.0)
    assert sorted(map(str, seen)) == ["((0.0, 1.0), (2.0, 3.0))", "(0.5, 2.0)"]
    assert widget.controls["at"].value == 2.0


def test_a_trait_is_linked_with_another_widget(shown):
    first, second = (shown("at", value, low=0.0, high=1.0, step=0.1) for value in (0.2, 0.8))
    link = traitlets.link((first, "at"), (second, "at"))
    assert second.at == 0.2
    second.controls["at"].value = 0.9
    assert first.at == first.study["at"] == 0.9
    link.unlink()


def test_moves_from_many_threads_leave_one_value_everywhere(shown):
    widget = shown("at", 0, low=0, high=10_000)
    seen = changes_of(widget, "at")

    def move(first):
        for k in range(first, 200, 4):
            (widget.study.set if k % 2 else lambda at: setattr(widget.controls["at"], "value", at))(at=1 + k)

    threads = [threading.Thread(target=move, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert widget.controls["at"].value == widget.at == widget.study.values["at"] == seen[-1][1]
    assert all(old != new for old, new in seen)


def test_a_study_that_was_computed_before_is_shown_with_its_pictures(shown):
    study = lw.Study("Early")
    study.slider("n", 1, low=1, high=9)
    made = []

    @study.view
    def told(n):
        made.append(n)
        return lw.Words(f"n is {n}")

    study.start()
    assert study.wait(10)
    widget = lw.StudyWidget(study)
    try:
        assert widget.panels.places["told"].view.picture["text"] == "n is 1"
        assert widget.wait(10)
        assert made == [1]
    finally:
        widget.close()


def test_what_is_declared_while_it_is_shown_does_not_break_it(shown):
    widget = shown("at", 0.5, low=0.0, high=1.0, step=0.1)
    widget.study.slider("later", 3, low=0, high=9)

    @widget.study.view
    def late(later):
        return lw.Words(str(later))

    widget.study.set(later=4, at=0.7)
    assert widget.wait(10)
    assert (widget.at, widget.controls["at"].value) == (0.7, 0.7)
    assert widget.study.pictures["late"].text == "4"
    again = lw.StudyWidget(widget.study)
    assert again.controls["later"].value == 4
    again.close()


def test_bounds_that_are_not_there_are_refused_and_leave_no_widget_behind():
    before = lw.StudyWidget.on_show()
    study = lw.Study("Unbounded")
    study.slider("at", 0.5, low=0.0, high=1.0, step=0.1, bounds="span")
    with pytest.raises(ValueError, match="bounds must name a slider that holds a pair, got 'span' for 'at'"):
        lw.StudyWidget(study)
    assert lw.StudyWidget.on_show() == before
