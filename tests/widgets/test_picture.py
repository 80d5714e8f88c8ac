"""What crosses to the browser of a picture: layout, types, and each array once."""

import numpy as np
import pytest
import traitlets

import lwidgets as lw
from lwidgets.pictures import Curves, Marker, Path, Picture, Series, Surface, Table, Words
from lwidgets.widgets.picture import PictureView

NX, NY = 5, 3
X = np.linspace(-1.0, 1.0, NX)
Y = np.linspace(10.0, 20.0, NY)
LOSS = 100 * np.arange(NX)[:, None] + np.arange(NY)  # value (i, j) = 100 i + j


def land(**changes):
    given = {
        "values": {"loss": LOSS, "error": -LOSS},
        "evaluated": LOSS % 2 == 0,
        "error": {"loss": 0.5},
    } | changes
    return lw.Landscape(coords=(X, Y), axes=("x", "y"), labels=("x", "y"), evaluations=8, **given)


@pytest.fixture
def view():
    made = PictureView()
    yield made
    made.close()


@pytest.fixture
def sent(view):
    """Messages to the browser: for each the traits in it."""
    found = []
    view.send_state = lambda key=None: found.append({key} if isinstance(key, str) else set(key))
    return found


def numbers(view, reference):
    """The array that a picture refers to, from its bytes alone."""
    spec = view.arrays[str(reference["array"])]
    dtype = {"f4": "<f4", "u1": "u1"}[spec["coding"]]
    return np.frombuffer(spec["data"], dtype).reshape(spec["shape"])


def test_value_i_j_sits_at_i_times_ny_plus_j_of_its_metric(view):
    view.show(Surface(land()))
    shown = view.picture
    assert (shown["kind"], shown["shape"], shown["metrics"]) == ("surface", [NX, NY], ["loss", "error"])
    for sign, array in zip((1, -1), shown["values"]["arrays"], strict=True):
        values = np.frombuffer(view.arrays[str(array)]["data"], "<f4")
        for i in range(NX):
            for j in range(NY):
                assert values[i * NY + j] == sign * (100 * i + j)


def test_order_in_memory_does_not_matter(view):
    view.show(Surface(land()))
    first = view.arrays
    view.show(Surface(land(values={"loss": np.asfortranarray(LOSS), "error": np.asfortranarray(-LOSS)})))
    assert view.arrays == first


def test_axes_and_mask_have_their_types(view):
    view.show(Surface(land()))
    np.testing.assert_array_equal(numbers(view, view.picture["x"]), X.astype("f4"))
    np.testing.assert_array_equal(numbers(view, view.picture["y"]), Y.astype("f4"))
    np.testing.assert_array_equal(numbers(view, view.picture["evaluated"]), LOSS % 2 == 0)


def test_not_finite_values_stay_what_they_are(view):
    values = LOSS.astype(float)
    values[1, 2], values[2, 0], values[3, 1] = np.nan, np.inf, 1e300
    view.show(Surface(land(values={"loss": values}, error={"loss": np.nan})))
    back = numbers(view, {"array": view.picture["values"]["arrays"][0]})
    assert np.isnan(back[1, 2])
    assert np.isposinf(back[2, 0])
    assert np.isposinf(back[3, 1])
    assert np.isfinite(back).sum() == NX * NY - 3
    assert view.picture["errors"] == [None]


def test_arguments_are_left_alone(view):
    before = LOSS.copy(), X.copy()
    view.show(Surface(land()))
    np.testing.assert_array_equal(before[0], LOSS)
    np.testing.assert_array_equal(before[1], X)


@pytest.mark.parametrize(
    "picture",
    [Surface(land()), Curves([Series(X, X)]), Table(("a",), [("1",)]), Words("w")],
    ids=lambda picture: picture.kind,
)
def test_every_kind_crosses_with_the_arrays_it_refers_to(view, picture):
    view.show(picture)
    assert view.picture["kind"] == picture.kind
    referred = set()

    def look(value):
        if isinstance(value, dict):
            for name, each in value.items():
                if name == "array":
                    referred.add(str(each))
                elif name == "arrays":
                    referred.update(map(str, each))
                else:
                    look(each)
        elif isinstance(value, list):
            for each in value:
                look(each)

    look(view.picture)
    assert referred == view.arrays.keys()


def test_a_marker_that_moves_over_a_surface_sends_no_array(view, sent):
    plane = land()
    view.show(Surface(plane, markers=[Marker(0, 11, "here")]))
    first = view.arrays
    sent.clear()
    for x in (0.1, 0.2, 0.3):
        view.show(Surface(plane, markers=[Marker(x, 11, "here")]))
    assert sent == [{"picture"}] * 3
    assert view.arrays is first
    assert view.picture["markers"] == [{"x": 0.3, "y": 11.0, "label": "here"}]


def test_what_is_computed_again_and_is_the_same_is_not_sent_again(view, sent):
    view.show(Surface(land(), paths=[Path(X, X + 11)]))
    sent.clear()
    view.show(Surface(land(values={"loss": LOSS.copy(), "error": -LOSS}), paths=[Path(X.copy(), X + 11)]))
    assert sent == []


def test_arrays_are_there_before_the_picture_that_refers_to_them_and_old_ones_go(view, sent):
    view.show(Surface(land()))
    assert sent == [{"arrays"}, {"picture"}]
    kept = view.picture["x"]["array"]
    old = view.picture["values"]["arrays"][0]
    sent.clear()
    view.show(Surface(land(values={"loss": LOSS + 1})))
    assert sent == [{"arrays"}, {"picture"}]
    assert view.picture["x"]["array"] == kept
    assert str(old) not in view.arrays
    assert view.picture["values"]["arrays"][0] not in (old, kept)  # a number never means another array


def test_a_slider_that_moves_a_marker_sends_no_array():
    study = lw.Study("Marker over a plane")
    study.slider("place", 0.0, low=-1.0, high=1.0, step=0.1)
    plane = land()

    @study.view
    def draw():
        return Surface(plane)

    @study.view(on="draw")
    def mark(place):
        return Surface(None, markers=[Marker(place, 12.0, "here")])

    widget = lw.StudyWidget(study)
    assert widget.wait(10)
    view = widget.panels.places["draw"].view
    found = []
    view.send_state = lambda key=None: found.append({key} if isinstance(key, str) else set(key))
    for place in (0.1, 0.2):
        widget.place = place
        assert widget.wait(10)
    assert set().union(*found) == {"picture"}
    assert view.picture["markers"][0]["x"] == 0.2
    widget.close()


def test_what_is_held_goes_round():
    study = lw.Study("Held")
    study.slider("n", 1, low=1, high=3)

    @study.view
    def draw(n):
        return Surface(land(values={"loss": n * LOSS}))

    widget = lw.StudyWidget(study)
    assert widget.wait(10)
    view = widget.panels.places["draw"].view
    view.set_state({"held": {"camera": {"yaw": 0.5, "pitch": 0.4, "zoom": 1.0}, "point": [0.0, 12.0]}})  # a person
    assert study.held["draw"] == {"camera": {"yaw": 0.5, "pitch": 0.4, "zoom": 1.0}, "point": [0.0, 12.0]}
    widget.n = 2
    assert widget.wait(10)
    assert view.held["point"] == [0.0, 12.0]  # a new picture lets go of nothing
    widget.hold("draw", point=[])  # a program
    assert view.held == {"camera": {"yaw": 0.5, "pitch": 0.4, "zoom": 1.0}, "point": []}
    assert study.held["draw"]["point"] == []
    widget.close()


@pytest.mark.parametrize("point", [[1.0], [1.0, float("nan")], [1.0, 2.0, 3.0]])
def test_a_point_that_is_none_is_refused(point):
    with pytest.raises(
        traitlets.TraitError, match=r"^PictureView: point must be \[x, y\] with finite numbers, or \[\]"
    ):
        PictureView(held={"point": point})


def test_what_is_no_picture_or_of_a_kind_nobody_registered_is_refused(view):
    class Spectrogram(Picture):
        kind = "spectrogram"

    with pytest.raises(TypeError, match=r"PictureView.show: picture must be one of Surface, .*, got dict"):
        view.show({})
    with pytest.raises(ValueError, match=r"registered, got 'spectrogram'.*register\(Spectrogram\)"):
        view.show(Spectrogram())
    assert view.picture == {}
