"""Recording a study: what the views show at every position, and nothing the user had is lost."""

import base64
import json

import ipywidgets as W
import numpy as np
import pytest
from lwidgets.export.companion import document
from lwidgets.export.record import record, text_of
from lwidgets.widgets.height_field import HeightField, frame

import lwidgets as lw
from lwidgets.study.sliders import Slider, positions_of, value_text
from tests.export.decoding import decoded


@pytest.fixture
def parabola():
    """A curve and a surface that depend on three sliders, and a text."""
    study = lw.Study("Parabola", source="Euclid")
    study.slider("steepness", 2.0, low=0.0, high=4.0, step=0.5)
    study.slider("seed", 0, low=0, high=9)
    study.slider("log", False)
    plot, field, words = lw.LinePlot("x", "height"), HeightField(), W.HTML()
    x = np.linspace(-1, 1, 9)

    @study.node
    def curve(steepness, seed):
        return steepness * x**2 + np.random.default_rng(seed).random()

    @study.view(widget=plot)
    def draw(curve):
        plot.fit(x, curve)
        plot.draw("curve", [lw.Series(x, curve, "height")])
        plot.describe(f"lowest {curve.min():.3f}")

    @study.view(widget=field)
    def paint(curve, log):
        values = {"loss": curve[:, None] + 1 + x[None, :5] ** 2}
        field.frame = frame(x, x[:5], values, np.ones((9, 5), bool), {}, metric="loss", log=log)

    @study.view(widget=words)
    def tell(curve):
        words.value = f"<b>{curve[0]:.6f}</b>"

    widget = study.show()
    widget.wait(10)
    yield widget
    widget.close()


def no_report(done, total, so_far):
    pass


def test_every_combination_is_what_the_live_views_show(parabola):
    positions = {"steepness": (1.0, 3.0), "seed": (4, 5, 6)}
    found = record(parabola, positions, no_report)
    assert len(found.frames) == 6
    assert found.kinds == ("line_plot", "height_field", "text")
    x = np.linspace(-1, 1, 9)
    for k, (steepness, seed) in enumerate((s, n) for s in (1.0, 3.0) for n in (4, 5, 6)):
        curve = steepness * x**2 + np.random.default_rng(seed).random()
        plot, field, words = found.frames[k]
        np.testing.assert_array_equal(plot["series"][0]["y"], curve)
        np.testing.assert_allclose(field["frame"]["values"][0], curve[:, None] + 1 + x[None, :5] ** 2, rtol=1e-6)
        assert words["text"] == f"{curve[0]:.6f}"


def test_the_sliders_are_put_back(parabola):
    before = dict(parabola.study.values)
    record(parabola, {"steepness": (1.0, 3.0), "log": (False, True)}, no_report)
    assert parabola.study.values == before

    class Enough(Exception):
        pass

    def stop(done, total, so_far):
        raise Enough

    with pytest.raises(Enough):
        record(parabola, {"steepness": (1.0, 3.0)}, stop)
    assert parabola.study.values == before


def test_mixing_is_allowed_where_it_was_compared_and_close(parabola):
    found = record(parabola, {"steepness": (1.0, 2.0, 3.0), "seed": (1, 2, 3), "log": (False, True)}, no_report)
    assert found.between == {"steepness": "interpolate", "seed": "snap", "log": "snap"}
    few = record(parabola, {"steepness": (1.0, 2.0)}, no_report)
    assert few.between == {"steepness": "snap"}


def test_mixing_is_refused_where_it_is_wrong():
    study = lw.Study("Bumps")
    study.slider("place", 0.0, low=-1.0, high=1.0, step=0.01)
    plot, x = lw.LinePlot("x"), np.linspace(-1, 1, 65)

    @study.view(widget=plot)
    def draw(place):
        y = np.exp(-(((x - place) / 0.1) ** 2))
        plot.fit(x, y)
        plot.draw("bump", [lw.Series(x, y)])

    widget = study.show()
    widget.wait(10)
    assert record(widget, {"place": (-0.5, 0.0, 0.5)}, no_report).between == {"place": "snap"}
    widget.close()


def test_a_failure_at_a_position_names_it():
    study = lw.Study("Fails")
    study.slider("x", 1, low=0, high=3)
    words = W.HTML()

    @study.view(widget=words)
    def tell(x):
        words.value = str(1 / x)

    widget = study.show()
    widget.wait(10)
    with pytest.raises(RuntimeError, match=r"failure at x = 0 .*division by zero"):
        record(widget, {"x": (1, 0)}, no_report)
    assert study.values["x"] == 1
    widget.close()


def test_positions_as_they_can_be_asked_for():
    sliders = {
        "seed": Slider("seed", 0, low=0, high=100),
        "span": Slider("span", 1.0, low=0.0, high=2.0),
        "metric": Slider("metric", "loss", options=("loss", "error")),
        "log": Slider("log", False),
        "pair": Slider("pair", (0.0, 1.0), low=-1.0, high=2.0),
    }
    asked = {"seed": range(3), "span": 5, "metric": None, "log": None, "pair": [(0, 1), (0, 2)]}
    assert positions_of(sliders, asked) == {
        "seed": (0, 1, 2),
        "span": (0.0, 0.5, 1.0, 1.5, 2.0),
        "metric": ("loss", "error"),
        "log": (False, True),
        "pair": ((0.0, 1.0), (0.0, 2.0)),
    }
    assert positions_of(sliders, {"seed": 3}) == {"seed": (0, 50, 100)}
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
    found = record(parabola, {"seed": (4, 5), "log": (False, True)}, no_report)
    told = document([found], "Title")
    (study,) = told["studies"]
    assert len(study["frames"]) == 4
    assert [slider["name"] for slider in study["sliders"]] == ["seed", "log"]
    assert study["sliders"][0]["positions"] == [4, 5]
    plots = [row[0] for row in study["frames"]]
    assert plots[0] == plots[1] != plots[2] == plots[3]  # the curve does not depend on log
    assert {"label": "steepness", "value": "2"} in study["fixed"]
    fields = [study["pictures"][row[1]]["frame"] for row in study["frames"]]
    assert [field["log"] for field in fields] == [False, True, False, True]
    codings = [told["arrays"][field["values"]["arrays"][0]]["coding"] for field in fields]
    assert codings == ["q2", "l2", "q2", "l2"]


@pytest.fixture
def bent():
    """A landscape that stays, and a path over it that bends with a slider."""
    study = lw.Study("Bent")
    study.slider("bend", 0.0, low=0.0, high=2.0, step=0.25)
    study.slider("kink", False)
    field, x, t = HeightField(), np.linspace(-1, 1, 9), np.linspace(0, 1, 7)

    @study.view(widget=field)
    def draw(bend, kink):
        field.frame = frame(x, x[:5], {"loss": x[:, None] + x[None, :5]}, np.ones((9, 5), bool), {}, metric="loss")
        y = np.maximum(bend - 1, 0) * t if kink else bend * t * (1 - t)
        look = {"label": f"{'kinked' if kink else 'curved'} " * 2000, "color": "#D55E00"}
        field.paths = [{"x": t, "y": y, **look}, {"x": [0, 1], "y": [0, 0], **look, "dashed": True}]

    widget = study.show()
    widget.wait(10)
    yield widget
    widget.close()


def test_a_document_holds_the_paths_of_every_position(bent):
    found = record(bent, {"bend": (0.0, 1.0, 2.0)}, no_report)
    told = document([found], "")
    assert json.dumps(told, allow_nan=False)
    arrays, t = decoded(told["arrays"], base64.b64decode(told["data"])), np.linspace(0, 1, 7)
    pictures = [told["studies"][0]["pictures"][frame[0]] for frame in told["studies"][0]["frames"]]
    for bend, picture in enumerate(pictures):
        curve, straight = picture["paths"]
        assert [curve["dashed"], straight["dashed"], curve["color"]] == [False, True, "#D55E00"]
        assert 10_000 < len(curve["label"]) < 10_100
        np.testing.assert_allclose(arrays[curve["x"]["array"]], t, rtol=1e-7)
        np.testing.assert_allclose(arrays[curve["y"]["array"]], bend * t * (1 - t), rtol=1e-6)
        np.testing.assert_array_equal(arrays[straight["x"]["array"]], [0, 1])


def test_a_path_counts_where_mixing_is_allowed(bent):
    positions = {"bend": (0.0, 0.75, 1.5)}
    assert record(bent, positions, no_report).between == {"bend": "interpolate"}
    bent.study.set(kink=True)
    assert bent.wait(10)
    assert record(bent, positions, no_report).between == {"bend": "snap"}


def test_texts_are_kept_short():
    assert value_text(Slider("x", 0.5), 1 / 3) == "0.333333"
    assert text_of("<div><b>a</b> &amp; <i>b</i></div>") == "a & b"
