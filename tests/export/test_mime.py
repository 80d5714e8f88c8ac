"""What a notebook keeps of a landscape."""

import base64
import io
import json

import numpy as np
import pytest
from ipywidgets.widgets.widget import _instances
from PIL import Image

import lwidgets as lw
from lwidgets.export import mime
from lwidgets.export.companion import MIME
from lwidgets.widgets.height_field import HeightField, frame
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


def marked(**marks):
    """A study of one surface over [-1, 1] x [0, 1], nearly of one colour, and what lies on it."""
    study, field = lw.Study("Marked"), HeightField(**marks)
    study.slider("n", 1, low=1, high=3)
    x, y = np.linspace(-1, 1, 9), np.linspace(0, 1, 5)

    @study.view(widget=field)
    def draw(n):
        values = 1 + 1e-3 * x[:, None] + 0 * y
        field.frame = frame(x, y, {"loss": values}, np.ones((9, 5), bool), {}, metric="loss", colormap="gray")

    return study.show()


def still_of(**marks):
    """The still of such a study, shape (height, width, 3), in [0, 1]."""
    widget = marked(**marks)
    assert widget.wait(10)
    png = base64.b64decode(widget.bundle()["image/png"])
    widget.close()
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")) / 255


def reddish(still):
    """Rows and columns of what is red."""
    red, green, blue = np.moveaxis(still, -1, 0)
    return np.argwhere((red > 0.75) & (green < 0.35) & (blue < 0.35))


def a_path(x, y, **more):
    return {"x": x, "y": y, "label": "", "color": "#ff0000", **more}


def test_paths_in_a_still_lie_where_they_do_live():
    bare = still_of()
    assert not len(reddish(bare))
    # Half of a line along the border is inside, and shows where the border is.
    box = reddish(still_of(paths=[a_path([-1, 1, 1, -1, -1], [0, 0, 1, 1, 0])]))
    (top, left), (bottom, right) = box.min(axis=0), box.max(axis=0)
    rising = reddish(still_of(paths=[a_path([-0.5, 9.5], [0.25, 5.25])]))  # one up for two to the right, and out
    u = (rising[:, 1] - left) / (right - left)
    v = (bottom - rising[:, 0]) / (bottom - top)
    np.testing.assert_allclose(v, u, atol=0.03)
    assert u.min() == pytest.approx(0.25, abs=0.02)
    assert u.max() == pytest.approx(1, abs=0.02)
    assert len(reddish(still_of(paths=[a_path([-0.5, 9.5], [0.25, 5.25], dashed=True)]))) < 0.8 * len(rising)


def test_a_still_names_its_paths_above_the_map():
    path = a_path([-0.5, 0.5], [0.5, 0.5])
    nameless, named = still_of(paths=[path]), still_of(paths=[{**path, "label": "the straight $way"}])
    assert nameless.shape[1] == named.shape[1]
    room = named.shape[0] - nameless.shape[0]
    assert 8 < room < 40
    key = reddish(named)[:, 0].min()
    assert key < room + 5 < reddish(nameless)[:, 0].min()
    assert (named[: room + 2].min(axis=-1) < 0.3).sum() > 40  # letters


@pytest.mark.parametrize("label", ["_x", "$_^$", "a\x00\n" * 40, "long" * 3000])
def test_a_still_takes_any_name(label):
    path = a_path([-0.5, 0.5], [0.5, 0.5], label="one line")
    usual = still_of(paths=[path])
    found = still_of(paths=[{**path, "label": label}], markers=[{"x": 0, "y": 0.5, "label": label}])
    assert abs(found.shape[0] - usual.shape[0]) <= 2
    assert found.shape[1] == usual.shape[1]


def test_a_still_names_no_path_that_is_elsewhere():
    outside = a_path([-3, 3, 3], [-4, -1, 5], label="round the corner")
    np.testing.assert_array_equal(still_of(paths=[outside]), still_of())
    passing = a_path([-3, 3], [-1, 2], label="right through")
    assert len(still_of(paths=[passing])) > len(still_of())


def test_a_still_marks_the_places_inside_it():
    here, elsewhere, labelled = (
        still_of(markers=[{"x": x, "y": 0.5, "label": label}]) for x, label in ((0.0, ""), (3.0, ""), (0.0, "model"))
    )
    bare = still_of()
    np.testing.assert_array_equal(elsewhere, bare)
    changed = np.argwhere((here != bare).any(axis=-1))
    assert (np.ptp(changed, axis=0) < 14).all()
    more = np.argwhere((labelled != bare).any(axis=-1))
    assert np.ptp(more, axis=0)[1] > 30
    over = still_of(markers=[{"x": 0.0, "y": 0.5, "label": ""}], paths=[a_path([-1, 1], [0.5, 0.5])])
    row, column = changed.mean(axis=0).round().astype(int)
    assert (over[row, column] > 0.95).all()  # a white diamond over the red line


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
