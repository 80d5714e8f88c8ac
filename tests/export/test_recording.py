"""Recording a study: what the panels show at every position, and nothing the user had is lost."""

import base64
import json

import numpy as np
import pytest

import lwidgets as lw
from lwidgets.check import Check
from lwidgets.export.document import document
from lwidgets.export.recording import record, recording_of
from lwidgets.pictures import Curves, Path, Picture, Reference, Series, Surface, Words
from lwidgets.study.sliders import Slider, positions_of, value_text
from tests.export.decoding import decoded

X = np.linspace(-1, 1, 9)


def land(values, y=X[:5]):
    shape = np.shape(values)
    return lw.Landscape((X, y), ("x", "y"), ("x", "y"), {"loss": values}, np.ones(shape, bool), 45, {"loss": 0.0})


@pytest.fixture
def parabola():
    """A curve and a surface that depend on three sliders, and a text."""
    study = lw.Study("Parabola", source="Euclid", claim="It is lowest in the middle")
    study.slider("steepness", 2.0, low=0.0, high=4.0, step=0.5)
    study.slider("seed", 0, low=0, high=9)
    study.slider("log_height", False)

    @study.node
    def curve(steepness, seed):
        return steepness * X**2 + np.random.default_rng(seed).random()

    @study.view
    def draw(curve):
        return Curves([Series(X, curve, "height")], x="x", y="height", caption=f"lowest {curve.min():.3f}")

    @study.view(beside="draw")
    def paint(curve, log_height):
        return Surface(land(curve[:, None] + 1 + X[None, :5] ** 2), log=log_height)

    @study.view
    def tell(curve):
        return Words(f"{curve[0]:.6f}")

    @study.check
    def is_lowest(curve):
        """It is lowest in the middle"""
        return Check.that(curve.argmin() == 4, f"at {X[curve.argmin()]:g}")

    study.start()
    assert study.wait(10)
    yield study
    study.close()


def no_report(done, total, so_far):
    pass


def arrays_of(told):
    return decoded(told["arrays"], base64.b64decode(told["data"]))


def test_every_combination_is_what_the_live_panels_show(parabola):
    positions = {"steepness": (1.0, 3.0), "seed": (4, 5, 6)}
    found = record(parabola, positions, no_report)
    assert len(found.frames) == 6
    assert [(panel.name, panel.kind, panel.beside) for panel in found.panels] == [
        ("draw", "curves", ""),
        ("paint", "surface", "draw"),
        ("tell", "words", ""),
    ]
    for k, (steepness, seed) in enumerate((s, n) for s in (1.0, 3.0) for n in (4, 5, 6)):
        curve = steepness * X**2 + np.random.default_rng(seed).random()
        drawn, painted, told = found.frames[k]
        np.testing.assert_array_equal(drawn.strokes[0].y, curve)
        np.testing.assert_allclose(painted.landscape.values["loss"], curve[:, None] + 1 + X[None, :5] ** 2)
        assert told.text == f"{curve[0]:.6f}"
    assert found.words == {"source": "Euclid", "claim": "It is lowest in the middle"}
    assert {name: check.state for name, check in found.checks.items()} == {"It is lowest in the middle": "pass"}


def test_it_opens_where_the_sliders_are(parabola):
    parabola.set(steepness=3.0, seed=5)
    found = record(parabola, {"steepness": (1.0, 3.0), "seed": (4, 5, 6)}, no_report)
    assert found.starts == {"steepness": 1, "seed": 1}
    assert found.opening is found.frames[4]


def test_the_sliders_are_put_back(parabola):
    before = dict(parabola.values)
    record(parabola, {"steepness": (1.0, 3.0), "log_height": (False, True)}, no_report)
    assert parabola.values == before

    class Enough(Exception):
        pass

    def stop(done, total, so_far):
        raise Enough

    with pytest.raises(Enough):
        record(parabola, {"steepness": (1.0, 3.0)}, stop)
    assert parabola.values == before


def test_mixing_is_allowed_where_it_was_compared_and_close(parabola):
    positions = {"steepness": (1.0, 2.0, 3.0), "seed": (1, 2, 3), "log_height": (False, True)}
    found = record(parabola, positions, no_report)
    assert found.between == {"steepness": "interpolate", "seed": "snap", "log_height": "snap"}
    few = record(parabola, {"steepness": (1.0, 2.0)}, no_report)
    assert few.between == {"steepness": "snap"}


def test_mixing_is_refused_where_it_is_wrong():
    study = lw.Study("Bumps")
    study.slider("place", 0.0, low=-1.0, high=1.0, step=0.01)
    x = np.linspace(-1, 1, 65)

    @study.view
    def draw(place):
        return Curves([Series(x, np.exp(-(((x - place) / 0.1) ** 2)))])

    assert record(study, {"place": (-0.5, 0.0, 0.5)}, no_report).between == {"place": "snap"}
    study.close()


def test_a_view_that_shows_nothing_at_a_position_is_an_empty_place_there():
    study = lw.Study("Now and then")
    study.slider("n", 1, low=0, high=3)

    @study.view
    def some(n):
        return Words(f"{n}") if n % 2 else None

    @study.view
    def never(n):
        return None

    found = record(study, {"n": range(4)}, no_report)
    assert [panel.name for panel in found.panels] == ["some"]
    assert [None if frame[0] is None else frame[0].text for frame in found.frames] == [None, "1", None, "3"]
    (told,) = document([found], "")["studies"]
    assert told["frames"]["pictures"] == [[None], [0], [None], [1]]
    study.close()


def test_a_failure_at_a_position_names_it():
    study = lw.Study("Fails")
    study.slider("x", 1, low=0, high=3)

    @study.view
    def tell(x):
        return Words(str(1 / x))

    with pytest.raises(RuntimeError, match=r"failure at x = 0 .*division by zero"):
        record(study, {"x": (1, 0)}, no_report)
    assert study.values["x"] == 1
    study.close()


def test_positions_as_they_can_be_asked_for():
    sliders = {
        "seed": Slider("seed", 0, low=0, high=100),
        "span": Slider("span", 1.0, low=0.0, high=2.0),
        "rate": Slider("rate", 0.1, low=0.01, high=1.0, log=True),
        "metric": Slider("metric", "loss", options=("loss", "error")),
        "steep": Slider("steep", False),
        "pair": Slider("pair", (0.0, 1.0), low=-1.0, high=2.0),
    }
    asked = {"seed": range(3), "span": 5, "metric": None, "steep": None, "pair": [(0, 1), (0, 2)]}
    assert positions_of(sliders, asked) == {
        "seed": (0, 1, 2),
        "span": (0.0, 0.5, 1.0, 1.5, 2.0),
        "metric": ("loss", "error"),
        "steep": (False, True),
        "pair": ((0.0, 1.0), (0.0, 2.0)),
    }
    assert positions_of(sliders, {"seed": 3}) == {"seed": (0, 50, 100)}
    assert positions_of(sliders, {"rate": 3})["rate"] == pytest.approx((0.01, 0.1, 1.0))
    for wrong, error, words in [
        ({"sed": 3}, KeyError, "must be among"),
        ({"seed": []}, ValueError, "at least one position"),
        ({"seed": [200]}, ValueError, r"lie in \[0, 100\]"),
        ({"pair": 3}, ValueError, "positions listed"),
        ({"metric": ["lost"]}, ValueError, "one of"),
    ]:
        with pytest.raises(error, match=words):
            positions_of(sliders, wrong)


def test_a_document_holds_every_frame_and_equal_pictures_once(parabola):
    found = record(parabola, {"seed": (4, 5), "log_height": (False, True)}, no_report)
    told = document([found], "Title")
    assert (told["format"], told["title"]) == ("lwidgets.companion", "Title")
    assert told["needs"] == ["curves", "surface", "words", "recorded"]
    (study,) = told["studies"]
    frames = study["frames"]["pictures"]
    assert len(frames) == 4
    assert [slider["name"] for slider in study["sliders"]] == ["seed", "log_height"]
    assert study["sliders"][0]["positions"] == [4, 5]
    plots = [row[0] for row in frames]
    assert plots[0] == plots[1] != plots[2] == plots[3]  # the curve does not depend on the height's scale
    assert {"label": "steepness", "value": "2"} in study["fixed"]
    assert study["panels"][1] == {"name": "paint", "kind": "surface", "beside": "draw"}
    assert (study["source"], study["claim"]) == ("Euclid", "It is lowest in the middle")
    assert study["checks"] == [{"name": "It is lowest in the middle", "state": "pass", "detail": "at 0"}]
    fields = [study["pictures"][row[1]] for row in frames]
    assert [field["log"] for field in fields] == [False, True, False, True]
    codings = [told["arrays"][field["values"]["arrays"][0]]["coding"] for field in fields]
    assert codings == ["q2", "l2", "q2", "l2"]


def test_a_claim_of_a_picture_is_a_check_on_the_page():
    study = lw.Study("Claims")

    @study.view
    def line():
        """It is straight"""
        return Curves([Series(X, X, "found"), Reference(X, X, tol=1e-6)])

    (told,) = document([record(study, {}, no_report)], "")["studies"]
    (check,) = told["checks"]
    assert (check["name"], check["state"]) == ("It is straight", "pass")
    assert "tolerance 1e-06" in check["detail"]
    study.close()


def test_sliders_say_that_they_are_logarithmic_or_play():
    study = lw.Study("Played")
    study.slider("rate", 0.1, low=0.01, high=1.0, log=True)
    study.slider("step", 0, low=0, high=9, play=True)

    @study.view
    def tell(rate, step):
        return Words(f"{rate:g} {step}")

    (told,) = document([record(study, positions_of(study.sliders, {"rate": 3, "step": 3}), no_report)], "")["studies"]
    assert [(one.get("log", False), one.get("play", False)) for one in told["sliders"]] == [
        (True, False),
        (False, True),
    ]
    study.close()


def bent(kink=False):
    """A landscape that stays, and a path over it that bends with a slider."""
    study = lw.Study("Bent")
    study.slider("bend", 0.0, low=0.0, high=2.0, step=0.25)
    t, plane = np.linspace(0, 1, 7), land(X[:, None] + X[None, :5])

    @study.view
    def draw():
        return Surface(plane)

    @study.view(on="draw")
    def way(bend):
        y = np.maximum(bend - 1, 0) * t if kink else bend * t * (1 - t)
        look = {"label": f"{'kinked' if kink else 'curved'} " * 2000, "color": "#D55E00"}
        return Surface(None, paths=[Path(t, y, **look), Path([0, 1], [0, 0], **look, dashed=True)])

    return study


def test_a_document_holds_the_paths_of_every_position():
    study = bent()
    told = document([record(study, {"bend": (0.0, 1.0, 2.0)}, no_report)], "")
    assert json.dumps(told, allow_nan=False)
    arrays, t = arrays_of(told), np.linspace(0, 1, 7)
    (shown,) = told["studies"]
    pictures = [shown["pictures"][frame[0]] for frame in shown["frames"]["pictures"]]
    for bend, picture in enumerate(pictures):
        curve, straight = picture["paths"]
        assert [curve["dashed"], straight["dashed"], curve["color"]] == [False, True, "#D55E00"]
        assert 10_000 < len(curve["label"]) < 10_100
        np.testing.assert_allclose(arrays[curve["x"]["array"]], t, rtol=1e-7)
        np.testing.assert_allclose(arrays[curve["y"]["array"]], bend * t * (1 - t), rtol=1e-6)
        np.testing.assert_array_equal(arrays[straight["x"]["array"]], [0, 1])
    assert len({picture["values"]["arrays"][0] for picture in pictures}) == 1  # the landscape once
    study.close()


@pytest.mark.parametrize(("kink", "between"), [(False, "interpolate"), (True, "snap")])
def test_a_path_counts_where_mixing_is_allowed(kink, between):
    study = bent(kink)
    assert record(study, {"bend": (0.0, 0.75, 1.5)}, no_report).between == {"bend": between}
    study.close()


def test_a_camera_is_kept_as_a_person_left_it(parabola):
    parabola.held["paint"] = {"camera": {"yaw": 1.25, "pitch": 0.5}, "point": [0.0, 0.0]}
    found = record(parabola, {"seed": (4, 5)}, no_report)
    assert [frame[1].camera for frame in found.frames] == [{"yaw": 1.25, "pitch": 0.5}] * 2


LARGE = [
    (np.linspace(1, 13.8, 50), np.linspace(1, 1e9, 50)),
    (1000 + 3e-3 * np.sin(np.arange(50)), np.linspace(0, 1e6, 50)),
]


@pytest.mark.parametrize("log", ["", "y"])
@pytest.mark.parametrize("curves", LARGE, ids=["an explosion", "a conserved quantity"])
def test_a_curve_is_right_on_its_own_axis_whatever_other_positions_show(curves, log):
    curves = [1 + one for one in curves]
    study = lw.Study("Two sizes")
    study.slider("which", 0, low=0, high=1)

    @study.view
    def draw(which):
        return Curves([Series(np.arange(50), curves[which])], log=log)

    told = document([record(study, {"which": (0, 1)}, no_report)], "")
    arrays = arrays_of(told)
    for truth, picture in zip(curves, told["studies"][0]["pictures"], strict=True):
        found = arrays[picture["series"][0]["y"]["array"]]
        low, high = picture["y_range"]
        assert low <= found.min() <= found.max() <= high
        if log:
            found, truth = np.log(found), np.log(truth)
        np.testing.assert_allclose(found, truth, rtol=0, atol=1e-4 * np.ptp(truth))
    study.close()


def test_a_surface_is_right_whatever_other_positions_show():
    study = lw.Study("Two sizes")
    study.slider("large", False)
    bowl = X[:, None] ** 2 + X[None, :5] ** 2

    @study.view
    def draw(large):
        return Surface(land(1e7 * bowl if large else bowl))

    told = document([record(study, {"large": (False, True)}, no_report)], "")
    arrays = arrays_of(told)
    for size, picture in zip((1, 1e7), told["studies"][0]["pictures"], strict=True):
        found = arrays[picture["values"]["arrays"][0]]
        np.testing.assert_allclose(found, size * bowl, rtol=0, atol=1e-4 * size)
    study.close()


def test_a_part_of_a_curve_that_somebody_chose_to_see_is_no_staircase():
    y = np.append(np.linspace(0, 1, 99), 1e9)
    told = document([recording_of(Curves([Series(np.arange(100), y)], y_range=(0.0, 1.0)))], "")
    (found,) = [arrays_of(told)[one["y"]["array"]] for one in told["studies"][0]["pictures"][0]["series"]]
    np.testing.assert_allclose(found[:99], y[:99], atol=1e-6)


def test_a_kind_nobody_registered_is_named():
    class Spectrogram(Picture):
        kind = "spectrogram"

    with pytest.raises(ValueError, match=r"picture must be a kind of picture that is registered, got 'spectrogram'"):
        recording_of(Spectrogram())
    with pytest.raises(TypeError, match="picture must be one of Surface, Curves, Table, Words, got dict"):
        recording_of({})


def test_values_of_sliders_are_told_shortly():
    assert value_text(Slider("x", 0.5), 1 / 3) == "0.333333"
