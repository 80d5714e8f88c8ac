"""A companion page as a file: complete, closed to the world, within its budget."""

import base64
import getpass
import hashlib
import io
import json
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lwidgets as lw
from lwidgets.cli import main
from lwidgets.export.write import expected, write_page
from lwidgets.pictures import Curves, Series
from tests.export.decoding import decoded

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</title><svg onload=alert(1)>",
    '"><iframe src=javascript:alert(1)>',
    "<!--<script>",
    "\u2028alert(1)",
    "${alert(1)}",
    "x" * 1_000_000,
]


class Page(HTMLParser):
    """What a browser finds: elements with their attributes, scripts, and text."""

    def __init__(self, path):
        super().__init__()
        self.source = Path(path).read_text(encoding="utf-8")
        self.elements, self.scripts, self._script = [], [], None
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self._script = [dict(attrs), ""]

    def handle_data(self, data):
        if self._script is not None:
            self._script[1] += data

    def handle_endtag(self, tag):
        if tag == "script":
            self.scripts.append(tuple(self._script))
            self._script = None

    @property
    def policy(self):
        return next(a["content"] for t, a in self.elements if t == "meta" and a.get("http-equiv"))

    @property
    def document(self):
        return json.loads(next(text for a, text in self.scripts if a.get("type") == "application/json"))


def bowl():
    return lw.Objective.from_function(lambda u: u[:, 0] ** 2 + 3 * u[:, 1] ** 2, dim=2)


@pytest.fixture
def explorer():
    explorer = lw.SurfaceExplorer(bowl(), resolution=17)
    assert explorer.wait(30)
    yield explorer
    explorer.close()


def test_a_page_holds_all_it_needs_and_asks_for_nothing(explorer, tmp_path):
    page = Page(explorer.to_html(tmp_path / "page.html", {"resolution": [9, 17], "log_height": None}))
    inline = [text for attributes, text in page.scripts if "type" not in attributes]
    packed = [text for attributes, text in page.scripts if attributes.get("id") == "lwidgets-script"]
    code = [*inline, *(zlib.decompress(base64.b64decode(text)).decode() for text in packed)]
    assert (len(inline), len(packed), len(page.scripts)) == (1, 1, 3)
    digests = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in code]
    assert f"script-src 'sha256-{digests[0]}' 'sha256-{digests[1]}';" in page.policy
    assert "default-src 'none'" in page.policy
    assert "unsafe-eval" not in page.policy
    assert not [a for _, a in page.elements if a.get("src") or a.get("href")]
    (study,) = page.document["studies"]
    assert len(study["frames"]["pictures"]) == 4
    assert [slider["name"] for slider in study["sliders"]] == ["resolution", "log_height"]


def test_what_the_machine_is_called_does_not_leave_it(explorer, tmp_path):
    source = Page(explorer.to_html(tmp_path / "page.html")).source
    for secret in (str(tmp_path), str(Path.home()), str(Path(lw.__file__).parent), f"/{getpass.getuser()}/"):
        assert secret not in source


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:24])
def test_names_with_markup_are_names(tmp_path, text):
    objective = lw.Objective.from_function(lambda u: {text: u[:, 0] ** 2 + u[:, 1] ** 2}, dim=2)
    landscape = lw.sample(objective, lw.Subspace.identity(2), resolution=5)
    path = landscape.to_html(tmp_path / "page.html", title=text[:1000])
    page = Page(path)
    kinds = {tag for tag, _ in page.elements}
    assert kinds <= {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "h1",
        "main",
        "noscript",
        "footer",
        "p",
        "script",
    }
    assert len(page.scripts) == 3
    assert not [name for _, a in page.elements for name in a if name.startswith("on")]
    (picture,) = page.document["studies"][0]["pictures"]
    assert picture["metrics"][0][:1000] == text[:1000]
    assert len(page.source) < 300_000


@pytest.mark.parametrize("kind", ["figure", "page"])
def test_the_size_is_known_before(explorer, tmp_path, kind, monkeypatch):
    asked = [(explorer, {"span": [(-1.0, 1.0 + k) for k in range(6)], "log_height": None})]
    with monkeypatch.context() as patch:
        patch.setattr(lw.sampling.evaluate.Local, "__call__", lambda *_: pytest.fail("something was evaluated"))
        page = expected(asked, kind=kind)
    assert page.frames == (12,)
    size = lw.write_page(tmp_path / "page.html", asked, title="Sizes", kind=kind).stat().st_size
    assert 0.3 * page.size < size <= 1.02 * page.size
    assert str(page) == f"12 frames, at most about {page.size / 1e6:.2g} MB"


def test_a_budget_is_kept_or_refused_with_the_arithmetic(tmp_path):
    objective, a, _ = lw.demo.digits(steps=5)
    explorer = lw.SurfaceExplorer(objective, a, resolution=17)
    explorer.wait(60)
    with pytest.raises(
        ValueError, match=r"within 0\.1 MB, got about .* MB \(.* kB for the first frame \+ 199 frames x"
    ):
        explorer.to_html(tmp_path / "page.html", {"seed_x": range(200)}, budget=0.1)
    assert not list(tmp_path.iterdir())
    assert explorer.seed_x == 0
    path = explorer.to_html(tmp_path / "page.html", {"seed_x": range(3)}, budget=0.5)
    assert path.stat().st_size < 500_000
    explorer.close()


def test_a_page_carries_a_small_still_for_readers_that_cannot_draw_it(explorer, tmp_path):
    document = Page(explorer.to_html(tmp_path / "page.html", {"resolution": [9, 17]})).document
    head, _, data = document["still"].partition(",")
    assert head == "data:image/png;base64"
    assert len(document["still"]) <= 8_000
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert image.mode == "P"
    assert image.width >= 180
    shown = np.asarray(image.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(shown, axis=0)) >= 8  # a picture, not a page of one colour
    assert document["needs"] == ["surface", "recorded"]


def test_the_still_is_of_the_position_at_which_the_page_opens(tmp_path):
    study = lw.Study("Colours")
    study.slider("which", 2, low=0, high=2)

    @study.view
    def draw(which):
        return Curves([Series([0, 1], [0, 1], color=("#ff0000", "#00ff00", "#0000ff")[which], width=40)])

    document = Page(study.to_html(tmp_path / "page.html", {"which": range(3)})).document
    image = Image.open(io.BytesIO(base64.b64decode(document["still"].partition(",")[2]))).convert("RGB")
    red, green, blue = np.moveaxis(np.asarray(image).astype(int), -1, 0)
    assert ((blue > 200) & (red < 60) & (green < 60)).sum() > 500
    assert not ((red > 200) & (green < 60) & (blue < 60)).any()
    study.close()


@pytest.mark.parametrize(("exact", "told"), [(False, "rounded to 1 part in 13,000"), (True, "")])
def test_what_a_page_says_of_its_numbers_is_so(explorer, tmp_path, exact, told):
    page = Page(explorer.to_html(tmp_path / "page.html", exact=exact))
    assert ("rounded to" in page.source) is bool(told)
    assert told in page.source
    specs, (picture,) = page.document["arrays"], page.document["studies"][0]["pictures"]
    found = decoded(specs, base64.b64decode(page.document["data"]))[picture["values"]["arrays"][0]]
    truth = explorer.landscape.values["loss"]
    if exact:
        np.testing.assert_array_equal(found, truth.astype(np.float32))
    else:
        np.testing.assert_allclose(found, truth, rtol=0, atol=np.ptp(truth) / 13_000)


def test_several_studies_share_a_page(explorer, tmp_path):
    objective, a, b = lw.demo.digits(steps=5)
    curve = lw.CurveExplorer(objective, a, b, resolution=17)
    curve.wait(60)
    told = []
    studies = [(explorer, None), (curve, {"alpha": 3})]
    write_page(tmp_path / "both.html", studies, title="Both", progress=lambda done, total: told.append((done, total)))
    page = Page(tmp_path / "both.html")
    assert [len(study["frames"]["pictures"]) for study in page.document["studies"]] == [1, 3]
    assert told == [(1, 1), (1, 3), (2, 3), (3, 3)]
    curve.close()


def test_an_existing_page_is_replaced_only_by_a_complete_one(explorer, tmp_path):
    path = tmp_path / "page.html"
    path.write_text("before")

    def stop(done, total):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        explorer.to_html(path, {"log_height": None}, progress=stop)
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_a_closed_explorer_says_so(tmp_path):
    explorer = lw.SurfaceExplorer(bowl(), resolution=9)
    explorer.close()
    with pytest.raises(RuntimeError, match="must be open"):
        explorer.to_html(tmp_path / "page.html")


@pytest.mark.parametrize("log", [False, True])
def test_a_landscape_makes_a_page_of_exact_numbers(tmp_path, log):
    curve = lw.sample(
        lw.Objective.from_function(lambda u: 1 + u[:, 0] ** 2, dim=1), lw.Subspace.identity(1), resolution=9
    )
    document = Page(curve.to_html(tmp_path / "page.html", log=log)).document
    assert {spec["coding"] for spec in document["arrays"]} == {"f4"}
    (picture,) = document["studies"][0]["pictures"]
    assert picture["y_log"] is log
    with pytest.raises(ValueError, match="metric must be one of loss"):
        curve.to_html(tmp_path / "page.html", metric="lost")


# --- the command line ---------------------------------------------------------------------------------------------


def test_view_writes_a_page_of_a_file(tmp_path, capsys):
    landscape = lw.sample(bowl(), lw.Subspace.identity(2), resolution=9)
    landscape.save(tmp_path / "bowl.landscape.json")
    assert main(["view", str(tmp_path / "bowl.landscape.json"), "-o", str(tmp_path / "bowl.html")]) == 0
    assert "written to" in capsys.readouterr().out
    assert Page(tmp_path / "bowl.html").document["studies"][0]["panels"] == [
        {"name": "picture", "kind": "surface", "beside": ""}
    ]


def test_view_of_something_else_is_refused_in_a_line(tmp_path, capsys):
    (tmp_path / "x.landscape.json").write_text("{")
    assert main(["view", str(tmp_path / "x.landscape.json"), "-o", str(tmp_path / "x.html")]) == 1
    told = capsys.readouterr().err
    assert told.startswith("lwidgets: load: x.landscape.json must be a complete landscape file")
    assert "Traceback" not in told
    assert not (tmp_path / "x.html").exists()


def notebook(path, *sources):
    cells = [{"cell_type": "code", "source": source, "outputs": [], "metadata": {}} for source in sources]
    path.write_text(json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}))
    return str(path)


EXPLORER = """
import lwidgets as lw
bowl = lw.Objective.from_function(lambda u: u[:, 0] ** 2 + 3 * u[:, 1] ** 2, dim=2)
explorer = lw.SurfaceExplorer(bowl, resolution=9)
"""


def test_export_runs_a_notebook_and_keeps_its_sliders_alive(tmp_path, capsys):
    source = notebook(tmp_path / "study.ipynb", EXPLORER, "explorer")
    page = tmp_path / "page.html"
    assert main(["export", source, "-o", str(page), "-s", "resolution=9,17", "-s", "log_height=*"]) == 0
    told = capsys.readouterr().err
    assert re.search(r"to compute: 4 frames, at most about 0\.\d+ MB", told)
    assert "written to" in told
    document = Page(page).document
    assert document["title"] == "study"
    assert len(document["studies"][0]["frames"]["pictures"]) == 4
    for widget in lw.StudyWidget.on_show():
        widget.close()


@pytest.mark.parametrize(
    ("sources", "more", "words"),
    [
        (["1 + 1"], [], "must show an explorer"),
        (["1 / 0"], [], "code cell 1 of study.ipynb must run, got ZeroDivisionError"),
        ([EXPLORER], ["-s", "sed=1"], "must name one of"),
        ([EXPLORER], ["-s", "resolution"], "must be NAME=POSITIONS"),
    ],
)
def test_export_says_what_is_wrong(tmp_path, capsys, sources, more, words):
    source = notebook(tmp_path / "study.ipynb", *sources)
    assert main(["export", source, "-o", str(tmp_path / "page.html"), *more]) == 1
    assert words in capsys.readouterr().err
    for widget in lw.StudyWidget.on_show():
        widget.close()


def test_a_file_that_is_no_notebook_is_refused(tmp_path, capsys):
    (tmp_path / "study.ipynb").write_text("[]")
    assert main(["export", str(tmp_path / "study.ipynb"), "-o", str(tmp_path / "page.html")]) == 1
    assert "must be a notebook" in capsys.readouterr().err


def test_help_says_what_there_is(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert re.search(r"view .*\n.*export", capsys.readouterr().out, re.S)
