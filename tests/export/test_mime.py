"""What a notebook keeps of a landscape."""

import base64
import json

import numpy as np
import pytest
from ipywidgets.widgets.widget import _instances

import lwidgets as lw
from lwidgets.export import mime
from lwidgets.export.companion import MIME
from tests.export.decoding import decoded


def bowl(dim, resolution=9):
    objective = lw.Objective.from_function(lambda u: 1 + (u**2).sum(dim=1), dim=dim)
    return lw.sample(objective, lw.Subspace.identity(dim), resolution=resolution)


@pytest.mark.parametrize(("dim", "kind"), [(1, "line_plot"), (2, "height_field")])
def test_a_picture_a_still_and_a_line(dim, kind):
    landscape = bowl(dim)
    found = mime.bundle(landscape)
    assert found["text/plain"] == repr(landscape)
    assert base64.b64decode(found["image/png"]).startswith(b"\x89PNG")
    json.dumps(found[MIME], allow_nan=False)
    assert found[MIME]["studies"][0]["views"] == [{"kind": kind}]


def parabola(dim):
    return lw.Objective.from_function(lambda u: 1 + (u**2).sum(dim=1), dim=dim)


def curve_explorer():
    return lw.CurveExplorer(*lw.demo.digits(steps=5))


def wave(shape):
    x, y = (np.linspace(-1, 1 + k, n) for k, n in enumerate(shape))
    values = np.random.default_rng(0).random(shape)
    return lw.Landscape((x, y), ("x", "y"), ("x", "y"), {"loss": values}, np.ones(shape, bool), x.size, {"loss": 0.0})


def arrays_of(document):
    return decoded(document["arrays"], base64.b64decode(document["data"]))


def test_no_widget_is_made_for_it():
    before = set(_instances)
    mime.bundle(bowl(1))
    mime.bundle(bowl(2))
    assert set(_instances) == before


def test_one_that_is_too_large_is_kept_with_fewer_pixels_and_says_so(monkeypatch):
    landscape = wave((65, 41))
    monkeypatch.setattr(mime, "BUDGET", 4000)
    with pytest.warns(UserWarning, match=r"must stay within 0\.004 MB, got 0\.0"):
        found = mime.bundle(landscape)
    assert len(json.dumps(found[MIME])) <= 4000
    field, told = found[MIME]["studies"][0]["pictures"]
    assert field["frame"]["shape"] == [17, 11]
    assert "every 4th of its 65 x 41 pixels" in told["text"]
    arrays, frame = arrays_of(found[MIME]), field["frame"]
    x, y, z = (arrays[k] for k in (frame["x"]["array"], frame["y"]["array"], frame["values"]["arrays"][0]))
    np.testing.assert_allclose(x, landscape.coords[0][::4], rtol=1e-6)
    np.testing.assert_allclose(y, landscape.coords[1][::4], rtol=1e-6)
    np.testing.assert_allclose(z, landscape.values["loss"][::4, ::4], atol=1e-4)


def test_one_that_is_far_too_large_says_what_to_do(monkeypatch):
    monkeypatch.setattr(mime, "BUDGET", 700)
    with pytest.warns(UserWarning, match="fewer pixels"):
        found = mime.bundle(bowl(2, 33))
    assert [p["text"] for p in found[MIME]["studies"][0]["pictures"]] == [mime._TOO_LARGE]
    assert "image/png" in found


@pytest.mark.parametrize("make", [lambda: lw.SurfaceExplorer(parabola(2)), curve_explorer])
def test_a_study_keeps_what_it_shows_now(make):
    widget = make()
    assert widget.wait(60)
    widget.set_trait("resolution", 17)
    assert widget.wait(60)
    found = widget._repr_mimebundle_()
    assert found["application/vnd.jupyter.widget-view+json"]["model_id"] == widget.model_id
    assert found["text/plain"] == repr(widget)
    assert "resolution=17" in repr(widget)
    assert base64.b64decode(found["image/png"]).startswith(b"\x89PNG")
    study = found[MIME]["studies"][0]
    assert study["sliders"] == []
    assert {"label": "resolution", "value": "17"} in study["fixed"]
    if isinstance(widget, lw.SurfaceExplorer):
        shown = widget.height_field.picture()["frame"]["values"][0]
        (array,) = study["pictures"][0]["frame"]["values"]["arrays"]
        kept = arrays_of(found[MIME])[array]
    else:
        shown = widget.plot.picture()["series"][0]["y"]
        kept = arrays_of(found[MIME])[study["pictures"][0]["series"][0]["y"]["array"]]
    np.testing.assert_allclose(kept, shown, atol=1e-5 * np.ptp(shown))
    widget.close()
    closed = widget.bundle()
    assert "application/vnd.jupyter.widget-view+json" not in closed
    assert closed[MIME] == found[MIME]


def test_an_unfinished_study_says_so_in_its_place():
    study = lw.Study("Nothing yet")
    study.slider("n", 1, low=1, high=3)
    widget = lw.StudyWidget(study)
    found = widget.bundle()
    assert [p["text"] for p in found[MIME]["studies"][0]["pictures"]] == [mime._UNFINISHED]
    assert "image/png" not in found
    widget.close()


def test_outside_a_notebook_it_is_only_text():
    landscape = bowl(1)
    assert landscape._repr_mimebundle_() == {"text/plain": repr(landscape)}
