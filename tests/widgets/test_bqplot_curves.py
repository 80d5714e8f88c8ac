"""Live curves: a move sends what has changed, marks that go are closed, and a legend hides least."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from ipywidgets.widgets.widget import Widget, _instances

import lwidgets as lw
from lwidgets.pictures import Curves, Rule, Series
from lwidgets.pictures.axes import roomiest_corner
from lwidgets.widgets.bqplot_curves import CurvesView

CORNERS = {"top-right": (1, 1), "top-left": (0, 1), "bottom-right": (1, 0), "bottom-left": (0, 0)}
T = np.linspace(0, 1, 11)


@pytest.fixture
def view():
    made = CurvesView()
    yield made
    made.close()


@pytest.fixture
def sent(monkeypatch):
    """Messages to the browser: (widget, traits) each."""
    found = []

    def send_state(self, key=None):
        found.append((self, {key} if isinstance(key, str) else set(key or self.keys)))

    monkeypatch.setattr(Widget, "send_state", send_state)
    return found


@given(
    arrays(np.float64, st.tuples(st.just(2), st.integers(0, 40)), elements=st.floats(-0.5, 1.5)),
    st.floats(0.1, 0.5),
    st.floats(0.1, 0.5),
)
def test_the_roomiest_corner_has_the_fewest_points(points, width, height):
    def crowd(corner):
        right, top = CORNERS[corner]
        count = 0
        for x, y in points.T:
            across, up = (1 - x if right else x), (1 - y if top else y)
            count += across < width and up < height
        return count

    found = roomiest_corner(points, width, height)
    assert crowd(found) == min(map(crowd, CORNERS))
    if crowd("top-right") == crowd(found):
        assert found == "top-right"


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("corner", CORNERS)
def test_a_legend_makes_room_for_the_curves(view, corner, log):
    spot = np.array(CORNERS[corner]) * 0.9 + 0.05
    others = [np.array(place) * 0.9 + 0.05 for place in CORNERS.values() if tuple(place) != CORNERS[corner]]
    lines = [Series([x - 0.04, x + 0.04], np.full(2, y), "", style="dashed") for x, y in others]
    lines.append(Series([0.4, 0.6], [0.5, 0.5], "named"))
    ends = (0.0, 1.0)
    if log:
        lines = [Series(one.x, 10.0 ** (6 * one.y - 3), one.label, style=one.style) for one in lines]
        ends = (1e-3, 1e3)
    looks = {"log": "y" if log else "", "x_range": (0.0, 1.0), "y_range": ends}
    view.show(Curves(lines, x="x", y="y", **looks))
    assert view.figure.legend_location == corner
    view.show(Curves([*lines, Rule(x=spot[0]), Series(np.full(2, spot[0]), ends)], x="x", y="y", **looks))
    assert view.figure.legend_location == corner  # a cursor may pass


def test_a_legend_on_a_logarithmic_axis_leaves_out_what_has_no_place_there(view):
    view.show(Curves([Series([0.0, 0.5, 1.0], [0.0, -1.0, 1.0], "named")], log="y", y_range=(1e-3, 1.0)))
    assert view.figure.legend_location in CORNERS


def test_what_is_drawn_is_what_the_picture_says(view):
    band = Series(T, np.stack([T, T + 1]), "spread", style="band", color="#009E73")
    picture = Curves([Series(T, T, "a"), Series(T, T**2, "b", style="points"), band], x="step", y="loss", caption="<b>")
    view.show(picture)
    line, points, filled = view.figure.marks
    np.testing.assert_array_equal(line.y, T)
    np.testing.assert_array_equal(points.y, T**2)
    np.testing.assert_array_equal(filled.y, [T, T + 1])
    assert (filled.fill, filled.colors) == ("between", ["#009E73"] * 2)
    assert [mark.labels for mark in view.figure.marks] == [["a"], ["b"], ["spread"]]
    assert [axis.label for axis in view.figure.axes] == ["step", "loss"]
    assert "&lt;b&gt;" in view.caption.value
    for axis, ends in zip(view.figure.axes, picture.ranges, strict=True):
        assert (axis.scale.min, axis.scale.max) == ends


def test_ends_that_have_no_place_are_cut_off_and_gaps_stay(view):
    view.show(Curves([Series(T, np.where(T < 0.15, np.nan, np.where(T == 0.5, np.nan, T)))]))
    (line,) = view.figure.marks
    np.testing.assert_array_equal(line.x, T[2:])
    assert np.isnan(line.y).sum() == 1


@pytest.mark.parametrize("log", ["", "x", "y", "xy"])
def test_scales_are_those_asked_for(view, log):
    view.show(Curves([Series(T + 1, T + 1)], x="t", y="loss", log=log))
    for name, axis in zip("xy", view.figure.axes, strict=True):
        assert type(axis.scale).__name__ == ("LogScale" if name in log else "LinearScale")
        assert axis.label.endswith("(log scale)") is (name in log)
        assert all(mark.scales[name] is axis.scale for mark in view.figure.marks)


def test_units_are_equal_where_that_is_asked_for_and_free_again(view):
    free = view.figure.min_aspect_ratio, view.figure.max_aspect_ratio
    for width in (4, 0.25, 1):
        view.show(Curves([Series([0, width], [0, 1])], equal=True))
        assert view.figure.min_aspect_ratio == view.figure.max_aspect_ratio == pytest.approx(width)
    view.show(Curves([Series([0, 4], [0, 1])]))
    assert (view.figure.min_aspect_ratio, view.figure.max_aspect_ratio) == free


def test_a_move_sends_the_marks_that_changed_and_nothing_else(view, sent):
    def picture(at):
        return Curves([Series(T, T**2, "loss"), Series([at], [at**2], "here", style="points"), Rule(x=at)])

    view.show(picture(0.2))
    kept, point, rule = view.figure.marks
    sent.clear()
    view.show(picture(0.3))
    assert [(mark, traits) for mark, traits in sent if mark is kept] == []
    assert {mark for mark, _ in sent} == {point, rule}
    assert set().union(*(traits for _, traits in sent)) <= {"x", "y"}
    assert len(sent) == 2
    assert view.figure.marks == [kept, point, rule]


def test_the_same_again_sends_nothing(view, sent):
    def picture():
        return Curves([Series(T, np.where(T > 0.5, np.nan, T), "loss"), Rule(y=0.1)], x="t", y="loss", caption="c")

    view.show(picture())
    sent.clear()
    view.show(picture())
    assert sent == []


def test_dragging_alpha_over_a_curve_sends_what_moves_alone(sent):
    explorer = lw.CurveExplorer(*lw.demo.digits(hidden=(4,), steps=2), resolution=9, alpha=0.25)
    assert explorer.wait(60)
    (panel,) = [name for name, view in explorer.panels.views() if isinstance(view, CurvesView)]
    view = explorer.panels.places[panel].view
    explorer.alpha = 0.3
    assert explorer.wait(60)
    before = {mark: (mark.x.copy(), mark.y.copy()) for mark in view.figure.marks}
    curve = explorer.landscape.values["loss"]
    sent.clear()
    explorer.alpha = 0.35
    assert explorer.wait(60)
    assert list(before) == view.figure.marks
    changed = {mark for mark, (x, y) in before.items() if not (np.array_equal(x, mark.x) and np.array_equal(y, mark.y))}
    told = [mark for mark, _ in sent if mark in before]
    assert set(told) == changed
    assert len(told) == len(changed) < len(before)
    assert not [mark for mark in changed if np.size(mark.y) == curve.size]
    assert view.figure not in [widget for widget, _ in sent]
    assert not [axis for axis in view.figure.axes if axis in [widget for widget, _ in sent]]
    explorer.close()


def test_marks_that_are_replaced_are_closed(view):
    before = set(_instances)
    for k in range(6):
        line = Series([0, 1], [1, 2], style="dashed" if k % 3 else "solid")
        view.show(Curves([line] * (1 + k % 2), x="x", y="loss", log="y" if k % 2 else ""))
    assert len(set(_instances) - before) == len(view.figure.marks)


def test_closing_gives_everything_back():
    before = set(_instances)
    view = CurvesView()
    view.show(Curves([Series(T + 1, T + 1)], log="xy"))
    view.close()
    assert set(_instances) == before
