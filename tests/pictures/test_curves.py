"""Curves: what is taken, what is drawn in the end, and what they claim of themselves."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lwidgets.palette import BLUE, VERMILLION
from lwidgets.pictures import Curves, Reference, Rule, Series

X = np.linspace(0, 1, 11)


def kept(picture):
    """What a document would hold: its JSON, with arrays in place."""
    arrays = []

    def keep(array, *role, coding="f4"):
        arrays.append((np.asarray(array, dtype=float), coding))
        return {"array": len(arrays) - 1}

    return picture.plain(keep), arrays


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([0, 1, 2], [1, 2, 3]),
        ((0, 1, 2), np.array([1, 2, 3], dtype=np.float32)),
        (torch.arange(3), torch.tensor([1.0, 2.0, 3.0], requires_grad=True)),
        (range(3), torch.tensor([1, 2, 3])),
        (np.arange(3), torch.tensor([1.0, 2.0, 3.0]).requires_grad_() * 1),
    ],
)
def test_lists_arrays_and_tensors_are_taken(x, y):
    one = Series(x, y)
    assert one.x.dtype == one.y.dtype == np.float64
    np.testing.assert_array_equal(one.x, [0, 1, 2])
    np.testing.assert_array_equal(one.y, [1, 2, 3])


@pytest.mark.parametrize("style", ["solid", "dashed", "points", "band", "bars", "stems"])
def test_nothing_at_all_is_a_picture(style):
    picture = Curves([Series([], [], "none yet", style=style)], x="t", y="loss", log="xy")
    assert all(low < high for low, high in picture.ranges)
    _plain, arrays = kept(picture)
    assert all(len(array.ravel()) == 0 for array, _ in arrays)
    assert picture.still() is not None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Series([1, 2], [1, 2, 3]), r"x must have shape \(n,\) and y shape \(n,\).*got x \(2,\) and y \(3,\)"),
        (lambda: Series([1, 2], [[1, 2]], style="band"), r"y shape \(2, n\), got x \(2,\) and y \(1, 2\)"),
        (lambda: Series([1, 2], [1, 2], style="bars"), r"n \+ 1 edges"),
        (lambda: Series(X, np.zeros((3, 10))), r"got x \(11,\) and y \(3, 10\)"),
        (lambda: Series(np.zeros((2, 11)), np.zeros((3, 11)), "GD"), "of 'GD'"),
        (lambda: Series(X, X, style="wavy"), "style must be one of solid, dashed"),
        (lambda: Series(X, X, spread=1.5), r"spread must lie in \[0, 1\)"),
        (lambda: Series("abc", X), "x must be numbers, got str"),
        (lambda: Rule(), "one of x and y must be given"),
        (lambda: Rule(x=1, y=2), "one of x and y must be given"),
        (lambda: Curves([X]), "items must be Series, Reference or Rule, got ndarray at 0"),
        (lambda: Curves([], log="z"), 'log must be one of "", "x", "y" and "xy"'),
        (lambda: Curves([], log="x", equal=True), "equal must be for linear axes, got log='x'"),
        (lambda: Curves([], x_range=(1, 0)), "x_range must be"),
        (lambda: Curves([], log="y", y_range=(0, 1)), "y_range must be positive on a log scale"),
        (lambda: Curves([Series(X, X, "a"), Reference(X, X, of="b", tol=1)]), r"got of='b', and there are 'a'"),
        (lambda: Curves([Reference(X, X, tol=1)]), "there are none"),
        (lambda: Curves([Reference(X, X, atol=1)]), "there are none"),
        (lambda: Reference(X, X, tol=-1), "tolerances must be 0 or more, got tol=-1, atol=0.0"),
        (lambda: Reference(X, X, sense="under"), "sense must be one of equal, below, above, got 'under'"),
        (lambda: Curves([Series(X, X, "a"), Series(X, X, "b"), Reference(X, X, "c", tol=1)]), "there are 'a', 'b'"),
    ],
)
def test_what_does_not_fit_is_named(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


@given(st.lists(st.floats(), max_size=20), st.sampled_from(["", "x", "y", "xy"]))
def test_what_is_not_finite_is_masked_anywhere(values, log):
    """In x or in y: what reaches a document has finite coordinates along x, and NaN in y where there is no place."""
    with np.errstate(over="ignore"):
        known = np.isfinite(np.float32(values)) if len(values) else np.zeros(0, bool)
    y = np.linspace(0.5, 2.0, len(values))
    for picture in (Curves([Series(values, y)], log=log), Curves([Series(y, values)], log=log)):
        (stroke,) = picture.strokes
        assert np.isfinite(stroke.x).all()
        assert stroke.x.shape == stroke.y.shape
        lost = ~known
        axis = "x" if picture.items[0].x.shape and np.array_equal(picture.items[0].y, y) else "y"
        if axis in log:
            lost = lost | ~(np.asarray(values) > 0)
        np.testing.assert_array_equal(np.isnan(stroke.y), lost)
        for low, high in picture.ranges:
            assert low < high


def test_colours_are_told_apart_and_chosen_ones_stay():
    picture = Curves([Series(X, X, "a"), Series(X, X, "mine", "#123456"), Series(X, X, "b"), Rule(y=0.5)])
    assert [one.color for one in picture.strokes[:3]] == [BLUE, "#123456", VERMILLION]


def test_ranges_hold_what_is_drawn_and_rules():
    picture = Curves([Series(X, X**2, "a"), Rule(y=7.0, label="2 / eta"), Rule(x=-3.0)])
    (x0, x1), (y0, y1) = picture.ranges
    assert x0 < -3
    assert x1 > 1
    assert y0 < 0
    assert y1 > 7
    upright = picture.strokes[-1]
    np.testing.assert_allclose(upright.y, picture.ranges[1])
    assert set(upright.x) == {-3.0}


def test_bars_stand_on_nothing_and_end_at_their_edges():
    edges, counts = np.array([0.0, 1.0, 3.0]), np.array([2.0, 5.0])
    (bars,) = Curves([Series(edges, counts, style="bars")]).strokes
    np.testing.assert_array_equal(bars.x, [0, 1, 1, 3])
    np.testing.assert_array_equal(bars.y, [[0, 0, 0, 0], [2, 2, 5, 5]])
    assert Curves([Series(edges, counts, style="bars")]).ranges[1][0] < 0


def test_stems_have_a_gap_between_them():
    upright, heads = Curves([Series([1, 2], [3, -4], "s", style="stems")]).strokes
    np.testing.assert_array_equal(upright.x, [1, 1, 1, 2, 2, 2])
    np.testing.assert_array_equal(upright.y, [0, 3, np.nan, 0, -4, np.nan])
    assert (heads.style, heads.label) == ("points", "s")


def test_an_ensemble_is_thin_lines_or_its_median_and_a_band():
    runs = np.random.default_rng(0).normal(size=(50, 11))
    runs[3, 4] = np.nan
    lines = Curves([Series(X, runs, "runs")]).strokes
    assert len(lines) == 50
    assert [one.label for one in lines] == ["runs"] + [""] * 49
    assert lines[0].width < 2
    band, middle = Curves([Series(X, runs, "runs", spread=0.5)]).strokes
    for k in range(11):
        known = runs[:, k][np.isfinite(runs[:, k])]
        np.testing.assert_allclose(band.y[:, k], np.quantile(known, [0.25, 0.75]))
        np.testing.assert_allclose(middle.y[k], np.median(known))


def test_a_layer_lies_on_the_base():
    base = Curves([Series(X, X, "a")], x="t", y="loss", log="y", caption="below")
    both = Curves([Rule(x=0.5)], caption="").over(base)
    assert (both.x, both.y, both.log, both.caption) == ("t", "loss", "y", "below")
    assert len(both.items) == 2
    assert Curves([], caption="moved").over(base).caption == "moved"


@pytest.mark.parametrize(
    ("reference", "state"),
    [
        (Reference(X, X**2, tol=1e-9), "pass"),
        (Reference(X, X**2 + 0.01, tol=1e-3), "fail"),
        (Reference(X, X**2 + 0.01, tol=1e-3, atol=0.02), "pass"),
        (Reference(X, X**2 + 0.01, atol=0.02), "pass"),
        (Reference(X, X**2 + 0.03, atol=0.02), "fail"),
        (Reference(X, X**2 + 0.01, tol=0.0, sense="below"), "pass"),
        (Reference(X, X**2 - 0.01, tol=0.0, sense="below"), "fail"),
        (Reference(X, X**2 - 0.01, tol=0.0, sense="above"), "pass"),
        (Reference([0.0, 1.0], [0.0, 1.0], tol=0.3), "pass"),  # between its own points
        (Reference([1.0, 0.0], [1.0, 0.0], tol=0.2), "fail"),
        (Reference([5.0, 6.0], [0.0, 1.0], tol=1.0), "fail"),  # nowhere near
        (Reference(X, np.where(X > 0.5, np.nan, X**2), tol=1e-9), "pass"),  # not known everywhere
    ],
)
def test_a_reference_is_a_check(reference, state):
    judged = Curves([Series(X, X**2, "found"), reference]).judge()
    assert judged.state == state
    assert "found" in judged.detail


def test_a_series_with_a_gap_does_not_agree_where_the_reference_is_known():
    assert Curves([Series(X, np.where(X == 0.5, np.nan, X)), Reference(X, X, tol=1.0)]).judge().state == "fail"


def test_a_reference_of_an_ensemble():
    runs = X + np.array([[-1.0], [0.0], [1.0]])
    assert Curves([Series(X, runs, spread=0.5), Reference(X, X, tol=1e-12)]).judge().state == "pass"
    assert Curves([Series(X, runs), Reference(X, X, tol=1e-12)]).judge().state == "fail"


def test_the_words_of_a_check_have_the_unit_of_its_tolerance():
    told = [
        Curves([Series(X, X, "found"), Reference(X, X + 0.5, **room)]).judge().detail
        for room in ({"tol": 1.0}, {"atol": 1.0}, {"tol": 1.0, "atol": 2.0})
    ]
    assert told == [
        "found within 0.33 of it (tolerance 1)",
        "found within 0.5 (absolute 1)",
        "found within 0.33 of it (tolerance 1 and absolute 2)",
    ]


def test_one_that_is_only_drawn_claims_nothing():
    assert Curves([Series(X, X), Reference(X, X + 9)]).judge() is None


@pytest.mark.parametrize(("y", "log", "coding"), [(X, "y", "l2"), (X - 0.5, "y", "q2"), (X, "", "q2")])
def test_what_a_document_keeps(y, log, coding):
    plain, arrays = kept(Curves([Series(X, y, "a"), Rule(y=0.3)], x="t", y="loss", log=log))
    assert (plain["x"], plain["y"], plain["x_log"], plain["y_log"]) == ("t", "loss", False, log == "y")
    assert arrays[plain["series"][0]["y"]["array"]][1] in (coding, "l2" if log else coding)
    np.testing.assert_allclose(arrays[plain["series"][0]["x"]["array"]][0], X)


def test_a_still_has_every_stroke():
    picture = Curves(
        [Series(X, X + 1, "a"), Series(X, np.stack([X, X + 2]), style="band"), Series(X, X + 1, style="points")],
        log="xy",
        caption="$not maths_",
    )
    axes = picture.still().axes[0]
    assert len(axes.lines) == 2
    assert len(axes.collections) == 1
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
