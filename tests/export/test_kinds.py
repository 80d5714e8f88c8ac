"""A kind of picture that nobody foresaw goes wherever the others go, and one that nobody registered nowhere."""

import base64
import io
import json
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

import lwidgets as lw
from lwidgets.export import mime
from lwidgets.export.document import MIME, document
from lwidgets.export.recording import snapshot
from lwidgets.pictures import KINDS, Picture, Words, register
from lwidgets.pictures.stills import Still
from lwidgets.widgets.picture import PictureView
from tests.export.decoding import decoded


@dataclass(frozen=True, eq=False)
class Barcode(Picture):
    """Bars of grey."""

    kind: ClassVar[str] = "barcode"

    grays: Any
    note: str = ""
    turned: bool = False

    def plain(self, keep):
        return {"grays": keep(self.grays, "grays", coding="q2"), "note": self.note, "turned": self.turned}

    def thin(self, step):
        return Barcode(self.grays[::step], f"{self.note}, every {step}th", self.turned) if step > 1 else self

    def hold(self, held):
        return Barcode(self.grays, self.note, held.get("turned", self.turned))

    def still(self):
        still = Still(figsize=(2, 1))
        still.add_axes((0, 0, 1, 1)).imshow([self.grays], cmap="gray", vmin=0, vmax=1, aspect="auto")
        return still


def grays(dark):
    """From dark to white, and nothing that compresses well."""
    return np.sort([dark, *np.random.default_rng(0).uniform(dark, 1, 398), 1.0])


@pytest.fixture
def barcode():
    """The kind, registered for one test."""
    register(Barcode)
    yield Barcode
    del KINDS[Barcode.kind]


@pytest.fixture
def study():
    """Bars, darker with a slider, and a word."""
    made = lw.Study("Bars")
    made.slider("dark", 0.0, low=0.0, high=1.0, step=0.1)

    @made.view
    def bars(dark):
        return Barcode(grays(dark), f"from {dark:g}")

    @made.view
    def words(dark):
        return Words(f"{dark:g}")

    yield made
    made.close()


def arrays_of(told):
    return decoded(told["arrays"], base64.b64decode(told["data"]))


def test_a_page_holds_it_at_every_position(barcode, study, tmp_path):
    path = study.to_html(tmp_path / "page.html", {"dark": (0.0, 0.5)})
    data = path.read_text().partition('id="lwidgets-companion">')[2].partition("</script>")[0]
    told = json.loads(data)
    assert told["needs"] == ["barcode", "words", "recorded"]
    assert told["still"].startswith("data:image/png;base64,")
    (shown,) = told["studies"]
    assert shown["panels"][0] == {"name": "bars", "kind": "barcode", "beside": ""}
    arrays = arrays_of(told)
    for dark, frame in zip((0.0, 0.5), shown["frames"]["pictures"], strict=True):
        picture = shown["pictures"][frame[0]]
        assert (picture["note"], picture["turned"]) == (f"from {dark:g}", False)
        np.testing.assert_allclose(arrays[picture["grays"]["array"]], grays(dark), atol=1e-5)


def test_a_page_with_the_notebooks_widgets_holds_it_too(barcode, study, tmp_path):
    assert study.to_html(tmp_path / "page.html", {"dark": 3}, kind="page").stat().st_size > 100_000


def test_a_notebook_keeps_it_with_its_still_and_smaller_if_it_must(barcode, study, monkeypatch):
    monkeypatch.setattr(mime, "in_notebook", lambda: True)
    study.start()
    assert study.wait(10)
    study.held["bars"] = {"turned": True}
    found = mime.bundle_of_study(study, "bars", {}, still=True)
    picture, _ = found[MIME]["studies"][0]["pictures"]
    assert picture["turned"]
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(found["image/png"]))).convert("L"))
    assert image.shape == (96, 192)
    assert image[50, 2] < 9
    assert image[50, -2] > 246
    monkeypatch.setattr(mime, "BUDGET", len(json.dumps(found[MIME])) - 1)
    with pytest.warns(UserWarning, match="fewer pixels"):
        small = mime.bundle_of_study(study, "bars", {}, still=False)[MIME]
    picture, _ = small["studies"][0]["pictures"]
    assert picture["note"] == "from 0, every 4th"
    assert small["arrays"][picture["grays"]["array"]]["shape"] == [100]


def test_it_is_on_show_live(barcode, study):
    widget = lw.StudyWidget(study)
    assert widget.wait(10)
    view = widget.panels.places["bars"].view
    assert isinstance(view, PictureView)
    assert (view.picture["kind"], view.picture["note"]) == ("barcode", "from 0")
    widget.dark = 0.5
    assert widget.wait(10)
    spec = view.arrays[str(view.picture["grays"]["array"])]
    np.testing.assert_array_equal(np.frombuffer(spec["data"], "<f4"), grays(0.5).astype("f4"))
    view.set_state({"held": {"turned": True}})
    assert study.held["bars"] == {"turned": True}
    assert snapshot(study).frames[0][0].turned
    widget.close()


def test_verify_runs_it(barcode, study):
    assert study.verify(10)


def test_unregistered_it_goes_nowhere_and_is_named(study, tmp_path):
    named = r"registered, got 'barcode'.*register\(Barcode\)"
    with pytest.raises(RuntimeError, match=r"to_html: the study must work at every position.*got 'barcode'"):
        study.to_html(tmp_path / "page.html")
    assert not list(tmp_path.iterdir())
    assert "got 'barcode'" in str(study.verify(10))
    bars = Barcode(np.zeros(3))
    with pytest.raises(ValueError, match=named):
        PictureView().show(bars)
    with pytest.raises(ValueError, match=named):
        document([_recording_of_an_old_kind(bars)], "")


def _recording_of_an_old_kind(picture):
    """As if its kind had been unregistered after it was recorded."""
    from lwidgets.export.recording import recording_of

    register(Barcode)
    try:
        return recording_of(picture)
    finally:
        del KINDS[Barcode.kind]
