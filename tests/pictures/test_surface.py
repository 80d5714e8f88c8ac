"""Surfaces: what is refused, what lies on them, what a document keeps, and stills."""

import numpy as np
import pytest

import lwidgets as lw
from lwidgets.pictures import Marker, Path, Picture, Surface, Table, Words, checked, register

X, Y = np.linspace(-1, 1, 9), np.linspace(0, 3, 5)


def land(values=None, **more):
    values = X[:, None] ** 2 + Y if values is None else values
    grids = {"loss": values, "error": values / 10}
    every = np.ones(values.shape, bool)
    return lw.Landscape(
        (X, Y), ("x", "y"), ("along x", "along y"), grids, every, 45, {"loss": 0.01, "error": np.nan}, **more
    )


def kept(picture):
    arrays = []

    def keep(array, *role, coding="f4"):
        arrays.append((array, coding))
        return {"array": len(arrays) - 1}

    return picture.plain(keep), arrays


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Surface(land(), "accuracy"), "metric must be one of loss, error, got 'accuracy'"),
        (lambda: Surface(land(), colormap="jet"), "colormap must be one of viridis"),
        (lambda: Surface(land(), panes=("map", "cube")), 'panes must be "map", "surface" or both'),
        (lambda: Surface(land(), panes=()), "panes must be"),
        (lambda: Surface(land(), contours=41), "contours must be between 0 and 40"),
        (lambda: Surface(np.zeros((3, 3))), "landscape must be a Landscape, got ndarray"),
        (lambda: Surface(land(), markers=[(0, 0)]), "markers must be Markers, got tuple at 0"),
        (lambda: Surface(land(), paths=[Marker(0, 0)]), "paths must be Paths, got Marker at 0"),
        (lambda: Surface(land(), cells=(["a"], ["b"])), r"cells must name the \(9, 5\) points"),
        (lambda: Marker(np.nan, 0, "a"), "x and y must be finite"),
        (lambda: Path([0], [0]), r"x must hold two or more finite numbers, got shape \(1,\)"),
        (
            lambda: Path([0, np.inf], [0, 1], "GD"),
            "Path 'GD': x must hold two or more finite numbers, got inf at index 1",
        ),
        (lambda: Path([0, 1], [0, 1, 2]), r"y must be as long as x, \(2,\), got \(3,\)"),
        (lambda: Path([0, 1], [0, 1], loss=[1]), r"loss must be as long as x, \(2,\), got \(1,\)"),
        (lambda: Path([0, 1], [0, 1], color="red"), "color must be #rrggbb, got 'red'"),
        (lambda: Surface.matrix(np.zeros((2, 3)), (["a"], ["b"])), "a row and a column for each name"),
    ],
)
def test_what_does_not_fit_is_named(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_an_axis_that_does_not_increase_in_float32_is_refused():
    close = lw.Landscape(
        (1 + 1e-12 * X, Y), ("x", "y"), ("x", "y"), {"loss": np.zeros((9, 5))}, np.ones((9, 5), bool), 45, {"loss": 0.0}
    )
    with pytest.raises(ValueError, match="x must be finite and strictly increasing in float32"):
        Surface(close)


def test_what_a_document_keeps():
    landscape = land()
    path = Path([0, 1], [0, 1], "GD", time=[0, 10], loss=[1, 2], residual=[0, 0.5])
    picture = Surface(landscape, "error", log=True, markers=[Marker(0, 1, "a")], paths=[path])
    plain, arrays = kept(picture)
    assert plain["shape"] == [9, 5]
    assert (plain["metric"], plain["metrics"]) == ("error", ["loss", "error"])
    assert plain["errors"] == [0.01, None]
    for name, index in zip(plain["metrics"], plain["values"]["arrays"], strict=True):
        assert arrays[index][0] is landscape.values[name]  # itself: a widget that has it sends it once
        assert arrays[index][1] == "l2"
    assert arrays[plain["evaluated"]["array"]][1] == "u1"
    assert {"time", "loss", "residual"} < set(plain["paths"][0])
    assert plain["markers"] == [{"x": 0.0, "y": 1.0, "label": "a"}]


def test_of_a_page_only_the_metric_on_show_is_kept():
    plain, _ = kept(Surface(land(), "error").lean())
    assert plain["metrics"] == ["error"]
    assert Surface(land(), "loss").lean().landscape.error == {"loss": 0.01}


def test_a_layer_of_marks_lies_on_the_base():
    base = Surface(land(), "loss", markers=[Marker(0, 0, "a")], description="below")
    both = Surface(None, markers=[Marker(1, 1, "b")], paths=[Path([0, 1], [0, 1])]).over(base)
    assert both.landscape is base.landscape
    assert [one.label for one in both.markers] == ["a", "b"]
    assert (len(both.paths), both.description) == (1, "below")
    assert kept(Surface(None, markers=[Marker(0, 0)]))[0] == {}
    assert Surface(None).still() is None


@pytest.mark.parametrize(
    ("marks", "words"),
    [
        ({}, ""),
        ({"markers": [Marker(-1, 0, "corner"), Marker(1, 3, "other")]}, ""),
        ({"markers": [Marker(1.1, 0, "b")]}, "outside the picture: b"),
        ({"paths": [Path([0, 2], [0, 0], "GD")]}, "outside the picture: a part of GD"),
        ({"paths": [Path([4, 5], [0, 0])]}, "outside the picture: a path"),
        ({"markers": [Marker(9, k, str(k)) for k in range(5)]}, "outside the picture: 0, 1, 2 and 2 more"),
    ],
)
def test_what_leaves_the_window_is_said(marks, words):
    picture = Surface(land(), **marks)
    assert picture.outside == words
    text = " ".join(one.get_text() for one in picture.still().axes[0].texts).replace("\n", " ")
    assert words in text


def test_a_person_turns_it():
    turned = Surface(land()).hold({"camera": {"yaw": 1.0}, "point": [0, 0]})
    assert turned.camera == {"yaw": 1.0}
    assert Surface(land()).hold({}).camera == {}


@pytest.mark.parametrize("step", [2, 4])
def test_thinner(step):
    values = X[:, None] + 10 * Y
    thin = Surface(land(values), description="Mine.").thin(step)
    nx, _ny = thin.landscape.shape
    assert nx < 9
    i, j = (np.abs(c[:, None] - t).argmin(axis=0) for c, t in zip((X, Y), thin.landscape.coords, strict=True))
    np.testing.assert_array_equal(thin.landscape.values["loss"], values[np.ix_(i, j)])
    assert f"every {step}th of its 9 x 5 pixels" in thin.description
    assert Surface(land()).thin(1).landscape.shape == (9, 5)


def test_a_matrix_has_a_square_for_each_entry():
    values = np.array([[1.0, 2.0, np.nan], [4.0, 5.0, 6.0]])
    picture = Surface.matrix(values, (["a", "b"], [0.5, 1, 2]), labels=("model", "rate"), metric="accuracy")
    plain, _arrays = kept(picture)
    assert plain["names"] == [["a", "b"], ["0.5", "1", "2"]]
    assert (plain["panes"], plain["contours"]) == (["map"], 0)
    axes = picture.still().axes[0]
    image = axes.images[0].get_array()
    np.testing.assert_array_equal(image.filled(np.nan), values.T)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["a", "b"]


@pytest.mark.parametrize(
    "picture", [Table(("a", "b"), [("1", "2")], title="T", colors=["#0072B2"], notes=["n"]), Words("w", title="t")]
)
def test_words_and_tables_have_stills(picture):
    still = picture.still()
    texts = [text.get_text() for axes in still.axes for text in axes.texts] + [text.get_text() for text in still.texts]
    for word in ("1", "2", "a", "b", "n", "T") if isinstance(picture, Table) else ("w", "t"):
        assert any(word in text for text in texts)


def test_a_row_of_another_length_and_another_tone_are_refused():
    with pytest.raises(ValueError, match="rows must have 2 cells, as the head has, got 1 at 1"):
        Table(("a", "b"), [("1", "2"), ("3",)])
    with pytest.raises(ValueError, match="tone must be one of plain, note, alert"):
        Words("x", tone="loud")


def test_a_kind_nobody_registered_is_named():
    class Spectrogram(Picture):
        kind = "spectrogram"

    with pytest.raises(ValueError, match=r"registered, got 'spectrogram'.*register\(Spectrogram\)"):
        checked(Spectrogram(), "view")
    with pytest.raises(TypeError, match="view must return one of Surface, Curves, Table, Words or None, got dict"):
        checked({}, "view")

    class Other(Picture):
        kind = "curves"

    with pytest.raises(ValueError, match="kind must be a new name, got 'curves' for Other"):
        register(Other)
