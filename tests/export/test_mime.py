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
from lwidgets.export.document import MIME
from lwidgets.pictures import Curves, Marker, Path, Series, Surface, Words
from tests.export.decoding import decoded


def bowl(dim, resolution=9):
    objective = lw.Objective.from_function(lambda u: 1 + (u**2).sum(dim=1), dim=dim)
    return lw.sample(objective, lw.Subspace.identity(dim), resolution=resolution)


@pytest.fixture(autouse=True)
def kernel(monkeypatch):
    """As in a notebook."""
    monkeypatch.setattr(mime, "in_notebook", lambda: True)


@pytest.mark.parametrize(("dim", "kind"), [(1, "curves"), (2, "surface")])
def test_a_picture_a_still_and_a_line(dim, kind):
    landscape = bowl(dim)
    found = mime.bundle(landscape)
    assert found["text/plain"] == repr(landscape)
    assert base64.b64decode(found["image/png"]).startswith(b"\x89PNG")
    json.dumps(found[MIME], allow_nan=False)
    assert [panel["kind"] for panel in found[MIME]["studies"][0]["panels"]] == [kind]
    assert found[MIME]["needs"] == [kind, "recorded"]
    assert "still" not in found[MIME]  # it stands beside it


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
    (field,) = found[MIME]["studies"][0]["pictures"]
    assert field["shape"] == [17, 11]
    assert "every 4th of its 65 x 41 pixels" in field["description"]
    arrays = arrays_of(found[MIME])
    x, y, z = (arrays[k] for k in (field["x"]["array"], field["y"]["array"], field["values"]["arrays"][0]))
    np.testing.assert_allclose(x, landscape.coords[0][::4], rtol=1e-6)
    np.testing.assert_allclose(y, landscape.coords[1][::4], rtol=1e-6)
    np.testing.assert_allclose(z, landscape.values["loss"][::4, ::4], atol=1e-4)


def test_one_that_is_far_too_large_says_what_to_do(monkeypatch):
    monkeypatch.setattr(mime, "BUDGET", 1000)
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
        shown = widget.study.pictures["surface_picture"].landscape.values["loss"]
        (array,) = study["pictures"][0]["values"]["arrays"]
        kept = arrays_of(found[MIME])[array]
    else:
        panel = study["panels"][0]["name"]
        shown = widget.study.pictures[panel].strokes[0].y
        kept = arrays_of(found[MIME])[study["pictures"][0]["series"][0]["y"]["array"]]
    np.testing.assert_allclose(kept, shown, atol=1e-5 * np.ptp(shown))
    widget.close()
    closed = widget.bundle()
    assert "application/vnd.jupyter.widget-view+json" not in closed
    assert closed[MIME] == found[MIME]


def marked(**marks):
    """A study of one surface over [-1, 1] x [0, 1], nearly of one colour, and what lies on it."""
    x, y = np.linspace(-1, 1, 9), np.linspace(0, 1, 5)
    values, every = 1 + 1e-3 * x[:, None] + 0 * y, np.ones((9, 5), bool)
    study = lw.Study("Marked")

    @study.view
    def draw():
        found = lw.Landscape((x, y), ("x", "y"), ("x", "y"), {"loss": values}, every, 45, {"loss": 0.0})
        return Surface(found, colormap="gray", **marks)

    return study


def still_of(**marks):
    """The still of such a study, shape (height, width, 3), in [0, 1]."""
    study = marked(**marks)
    study.start()
    assert study.wait(10)
    png = base64.b64decode(mime.bundle_of_study(study, "", {}, still=True)["image/png"])
    study.close()
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")) / 255


def reddish(still):
    """Rows and columns of what is red."""
    red, green, blue = np.moveaxis(still, -1, 0)
    return np.argwhere((red > 0.75) & (green < 0.35) & (blue < 0.35))


def a_path(x, y, label="", **more):
    return Path(x, y, label, "#ff0000", **more)


def test_paths_in_a_still_lie_where_they_do_live():
    assert not len(reddish(still_of()))
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
    nameless, named = (still_of(paths=[a_path([-0.5, 0.5], [0.5, 0.5], name)]) for name in ("", "the straight $way"))
    assert nameless.shape[1] == named.shape[1]
    room = named.shape[0] - nameless.shape[0]
    assert 8 < room < 40
    key = reddish(named)[:, 0].min()
    assert key < room + 5 < reddish(nameless)[:, 0].min()
    assert (named[: room + 2].min(axis=-1) < 0.3).sum() > 40  # letters


@pytest.mark.parametrize("label", ["_x", "$_^$", "a\x00\n" * 40, "long" * 3000])
def test_a_still_takes_any_name(label):
    usual = still_of(paths=[a_path([-0.5, 0.5], [0.5, 0.5], "one line")])
    found = still_of(paths=[a_path([-0.5, 0.5], [0.5, 0.5], label)], markers=[Marker(0, 0.5, label)])
    assert abs(found.shape[0] - usual.shape[0]) <= 2
    assert found.shape[1] == usual.shape[1]


def test_a_still_names_no_path_that_is_elsewhere():
    outside = a_path([-3, 3, 3], [-4, -1, 5], label="round the corner")
    found, bare = still_of(paths=[outside]), still_of()
    assert not len(reddish(found))
    told = np.ptp(np.argwhere((found[: len(bare)] != bare).any(axis=-1)), axis=0)
    assert told[0] < 30  # only the note below says that it is elsewhere
    passing = a_path([-3, 3], [-1, 2], label="right through")
    assert len(still_of(paths=[passing])) > len(still_of())


def test_a_still_marks_the_places_inside_it():
    here, elsewhere, labelled = (
        still_of(markers=[Marker(x, 0.5, label)]) for x, label in ((0.0, ""), (3.0, ""), (0.0, "model"))
    )
    bare = still_of()
    assert np.ptp(np.argwhere((elsewhere[: len(bare)] != bare).any(axis=-1)), axis=0)[0] < 30  # the note
    changed = np.argwhere((here != bare).any(axis=-1))
    assert (np.ptp(changed, axis=0) < 14).all()
    more = np.argwhere((labelled != bare).any(axis=-1))
    assert np.ptp(more, axis=0)[1] > 30
    over = still_of(markers=[Marker(0.0, 0.5)], paths=[a_path([-1, 1], [0.5, 0.5])])
    row, column = changed.mean(axis=0).round().astype(int)
    assert (over[row, column] > 0.95).all()  # a white diamond over the red line


def test_an_unfinished_study_says_so_in_its_place():
    study = lw.Study("Nothing yet")
    study.slider("n", 1, low=1, high=3)
    widget = lw.StudyWidget(study)
    found = widget.bundle()
    assert [p["text"] for p in found[MIME]["studies"][0]["pictures"]] == [mime._UNFINISHED]
    assert "image/png" in found  # the same words
    widget.close()


def test_of_several_pictures_the_still_is_a_figure_rather_than_words():
    study = lw.Study("Both")

    @study.view
    def first():
        return Words("a note", tone="note")

    @study.view
    def second():
        return Curves([Series([0, 1], [0, 1], color="#ff0000", width=9)])

    study.start()
    assert study.wait(10)
    png = base64.b64decode(mime.bundle_of_study(study, "", {}, still=True)["image/png"])
    assert len(reddish(np.asarray(Image.open(io.BytesIO(png)).convert("RGB")) / 255)) > 300
    study.close()


def test_outside_a_notebook_it_is_only_text(monkeypatch):
    monkeypatch.setattr(mime, "in_notebook", lambda: False)
    landscape = bowl(1)
    assert landscape._repr_mimebundle_() == {"text/plain": repr(landscape)}
