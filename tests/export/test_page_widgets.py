"""What a page with the widgets of the notebook is made of: their states, and the scripts that pip installed."""

import base64
import hashlib
import importlib.metadata
import json
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from ipywidgets.widgets.widget import _instances

import lwidgets as lw
from lwidgets.cli import main
from lwidgets.export import bundles
from lwidgets.export.document import document
from lwidgets.export.recording import record, recording_of
from lwidgets.export.write import write_page
from lwidgets.pictures import Curves, Series
from lwidgets.study.sliders import positions_of
from lwidgets.widgets.embed import states

PACKED = re.compile(r'<script type="application/octet-stream" ([^>]*) data-size="(\d+)">([^<]*)</script>')


def bowl(dim=2):
    return lw.Objective.from_function(lambda u: 1 + (u**2).sum(1), dim=dim)


def recorded(widget, asked):
    assert widget.wait(30)
    return record(widget.study, positions_of(widget.study.sliders, asked), lambda *told: None)


def packed(path):
    """What a page carries compressed: attributes -> text."""
    found = {}
    for attributes, size, data in PACKED.findall(path.read_text()):
        text = zlib.decompress(base64.b64decode(data))
        assert len(text) == int(size)
        found[attributes] = text.decode()
    return found


@pytest.fixture
def sliders():
    """A study with a slider of every kind, which shows a line."""
    study = lw.Study("Sliders")
    study.slider("whole", 2, low=0, high=9, help="An integer")
    study.slider("number", 0.5, low=0.0, high=1.0, step=0.05)
    study.slider("free", 0.1, low=0.0, high=1.0)
    study.slider("ends", (0.0, 1.0), low=-1.0, high=2.0, step=0.5)
    study.slider("which", "a", options=("a", "b", "c"))
    study.slider("on", False, label="switched on")
    study.slider("bank", (0.0, 1.0), low=0.0, high=1.0, step=0.1, parts=("a", "b"))

    @study.view
    def draw(whole, number, free, ends, which, on, bank):
        line = Series([0.0, 1.0], [whole, number * free])
        return Curves([line], x="x", y="y", x_range=(0.0, 1.0), y_range=(0.0, 10.0))

    widget = lw.StudyWidget(study)
    yield widget
    widget.close()


@pytest.mark.parametrize(
    ("name", "positions", "model", "state"),
    [
        ("whole", range(1, 8, 2), "IntSliderModel", {"min": 1, "max": 7, "step": 2, "value": 1}),
        ("whole", (0, 1, 5), "SelectionSliderModel", {"_options_labels": ["0", "1", "5"], "index": 1}),
        ("whole", (5, 2), "SelectionSliderModel", {"_options_labels": ["5", "2"], "index": 1}),
        ("whole", (2,), "DropdownModel", {"_options_labels": ["2"], "index": 0, "disabled": True}),
        ("number", (0.0, 0.25, 0.5), "FloatSliderModel", {"min": 0.0, "max": 0.5, "step": 0.05, "value": 0.5}),
        ("free", (0.0, 0.1), "FloatSliderModel", {"min": 0.0, "max": 0.1, "step": 0.1, "value": 0.1}),
        ("free", (0.0, 0.1, 1.0), "FloatSliderModel", {"min": 0.0, "max": 1.0, "step": 0.005, "value": 0.1}),
        ("ends", ((0.0, 1.0), (0.5, 2.0)), "SelectionSliderModel", {"_options_labels": ["0 to 1", "0.5 to 2"]}),
        ("which", ("c", "a"), "DropdownModel", {"_options_labels": ["c", "a"], "index": 1, "disabled": False}),
        ("bank", ((0.0, 1.0), (0.5, 0.5)), "DropdownModel", {"_options_labels": ["a 0, b 1", "a 0.5, b 0.5"]}),
        ("on", (False, True), "CheckboxModel", {"value": False, "description": "switched on", "disabled": False}),
        ("on", (False,), "CheckboxModel", {"value": False, "disabled": True}),
    ],
)
def test_controls_are_the_notebooks_at_the_positions_asked_for(sliders, name, positions, model, state):
    recording = recorded(sliders, {name: positions})
    told = states([recording], document([recording], ""))
    (control,) = told["studies"][0]["controls"]
    found = told["models"][control]
    live = sliders.controls[name]
    assert found["_model_name"] == model
    for key, value in state.items():
        assert found[key] == (pytest.approx(value) if isinstance(value, float) else value)
    slider = sliders.study.sliders[name]
    assert (found["description"], found["tooltip"]) == (slider.title, slider.help or None)
    assert found["_dom_classes"] == list(live._dom_classes)
    if name == "bank":  # a box of sliders, which has no label of its own
        return
    layout = told["models"][found["layout"].removeprefix("IPY_MODEL_")]
    assert layout["max_width"] == live.layout.max_width
    style = told["models"][found["style"].removeprefix("IPY_MODEL_")]
    assert style["description_width"] == live.style.description_width


def test_curves_look_as_in_the_notebook_at_every_position():
    objective, a, b = lw.demo.digits(steps=5)
    explorer = lw.CurveExplorer(objective, a, b, resolution=9)
    asked = {"log_height": None, "barrier": ["excess", "error"], "span": [(0.0, 1.0), (-0.5, 1.5)]}
    recording = recorded(explorer, asked)
    told = states([recording], document([recording], ""))
    models, (study,) = told["models"], told["studies"]
    frames = document([recording], "")["studies"][0]["frames"]["pictures"]

    def model(reference):
        return models[reference.removeprefix("IPY_MODEL_")]

    numbers = {"x", "y", "scales", "_view_count", "color", "size", "opacity", "rotation", "skew", "names"}
    places = [(log, barrier, span) for log in (False, True) for barrier in asked["barrier"] for span in asked["span"]]
    for frame, (log, barrier, span) in zip(frames, places, strict=True):
        explorer.study.set(log_height=log, barrier=barrier, span=span)
        assert explorer.wait(30)
        live = explorer.panels.places[recording.panels[0].name].view.figure
        look = study["looks"][0][str(frame[0])]
        figure = models[look["figure"]]
        assert (figure["fig_margin"], figure["legend_location"]) == (live.fig_margin, live.legend_location)
        assert len(figure["axes"]) == len(live.axes) == 2
        for axis, ticks, own in zip(map(model, figure["axes"]), look["ticks"], live.axes, strict=True):
            assert (axis["label"], axis["side"], axis["grid_color"]) == (own.label, own.side, own.grid_color)
            assert model(axis["scale"])["_model_name"] == own.scale._model_name
            assert ticks["tick_format"] == own.tick_format
            np.testing.assert_allclose(ticks["tick_values"], own.tick_values)
        assert len(figure["marks"]) == len(live.marks)
        for mark, own in zip(map(model, figure["marks"]), live.marks, strict=True):
            for name in own.get_state().keys() - numbers:
                assert np.array_equal(mark[name], getattr(own, name)), name
    explorer.close()


@pytest.mark.parametrize("log", ["", "x", "y", "xy"])
def test_axes_of_a_page_are_those_of_the_picture(log):
    picture = Curves([Series([1, 10], [1, 100])], x="rate", y="loss", log=log)
    told = document([recording_of(picture)], "")
    found = states([recording_of(picture)], told)
    models, look = found["models"], found["studies"][0]["looks"][0]["0"]
    axes = [models[axis.removeprefix("IPY_MODEL_")] for axis in models[look["figure"]]["axes"]]
    for name, axis in zip("xy", axes, strict=True):
        scale = models[axis["scale"].removeprefix("IPY_MODEL_")]["_model_name"]
        assert scale == ("LogScaleModel" if name in log else "LinearScaleModel")
        assert axis["label"] == getattr(picture, name) + (" (log scale)" if name in log else "")


def test_equal_units_are_equal_on_a_page():
    pictures = [Curves([Series([0, width], [0, 1])], equal=True) for width in (1, 4)]
    for picture, ratio in zip(pictures, (1, 4), strict=True):
        recording = recording_of(picture)
        found = states([recording], document([recording], ""))
        figure = found["models"][found["studies"][0]["looks"][0]["0"]["figure"]]
        assert figure["min_aspect_ratio"] == figure["max_aspect_ratio"] == pytest.approx(ratio)


def test_what_is_made_for_the_page_is_closed_again_and_the_same_in_every_run(sliders):
    recording = recorded(sliders, {"whole": (0, 1, 5), "on": None, "number": 3})
    content = document([recording], "")
    before = set(_instances)
    first = states([recording], content)
    left = [type(_instances[key]).__name__ for key in set(_instances) - before]
    assert all(name.endswith(("Layout", "Style")) for name in left)  # ipywidgets keeps those of closed widgets
    assert json.dumps(states([recording], content)) == json.dumps(first)


def test_states_refer_to_each_other_alone_and_hold_no_coordinates(sliders):
    recording = recorded(sliders, {"whole": range(3), "ends": [(0.0, 1.0), (0.5, 1.0)]})
    content = document([recording], "")
    told = json.loads(json.dumps(states([recording], content)))
    references = set(re.findall(r"IPY_MODEL_(\w+)", json.dumps(told["models"])))
    assert references <= told["models"].keys()
    shown = {look["figure"] for looks in told["studies"][0]["looks"] for look in looks.values()}
    assert told["models"].keys() - references == shown | set(told["studies"][0]["controls"])
    assert len(shown) == 1  # six pictures that differ in numbers alone
    assert not any(state.get(name) for state in told["models"].values() for name in ("x", "y"))


def test_a_page_carries_what_pip_installed_and_allows_it_by_hash(tmp_path):
    landscape = lw.sample(bowl(1), lw.Subspace.identity(1), resolution=5)
    path = landscape.to_html(tmp_path / "page.html", kind="page")
    carried = packed(path)
    text = path.read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    sources = re.search(r"script-src ([^;]*);", policy)[1].split()
    scripts = {name: code for name, code in carried.items() if "lwidgets-bundle" in name}
    scripts = {"own": carried['id="lwidgets-script"'], **scripts}
    inline = re.findall(r"<script>(.*?)</script>", text, re.S)
    hashes = [
        base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() for code in (*inline, *scripts.values())
    ]
    assert sources == [f"'sha256-{one}'" for one in hashes]
    assert "default-src 'none'" in policy
    assert "eval" not in policy
    for package, name in (("bqplot", "bqplot/index.js"), ("widgetsnbextension", "jupyter-js-widgets/extension.js")):
        (file,) = (f for f in importlib.metadata.files(package) if f.as_posix().endswith(f"nbextensions/{name}"))
        (code,) = (code for attributes, code in scripts.items() if f'data-name="{package}"' in attributes)
        assert code.endswith(Path(file.locate()).read_text())
        assert f"{package} {importlib.metadata.version(package)}" in code[:100]
        assert "license" in code[:3000].lower()
    assert set(json.loads(carried['id="lwidgets-widgets"'])) == {"models", "studies"}
    assert path.stat().st_size < 1_000_000
    assert str(Path(lw.__file__).parent) not in "".join(carried.values())


def test_the_default_draws_without_them(tmp_path):
    landscape = lw.sample(bowl(1), lw.Subspace.identity(1), resolution=5)
    assert list(packed(landscape.to_html(tmp_path / "page.html"))) == ['id="lwidgets-script"']
    assert (tmp_path / "page.html").stat().st_size < 200_000


def test_a_budget_counts_the_scripts(tmp_path):
    explorer = lw.SurfaceExplorer(bowl(), resolution=9)
    assert explorer.wait(30)
    with pytest.raises(
        ValueError, match=r'0\.5 MB, got 0\.\d+ MB for 1 frame, 0\.\d+ MB of them scripts.*kind="figure"'
    ):
        explorer.to_html(tmp_path / "page.html", kind="page", budget=0.5)
    with pytest.raises(
        ValueError, match=r"0\.1 MB, got about .* MB \(\d{3} kB of scripts \+ \d+ kB for the first frame"
    ):
        explorer.to_html(
            tmp_path / "page.html", {"span": [(-1.0, 1.0), (-1.5, 1.5), (-2.0, 2.0)]}, kind="page", budget=0.1
        )
    assert not list(tmp_path.iterdir())
    explorer.to_html(tmp_path / "page.html", budget=0.5)
    explorer.close()


def test_another_kind_is_refused_before_anything_is_computed(tmp_path):
    explorer = lw.SurfaceExplorer(bowl(), resolution=9)
    explorer.wait(30)

    def never(done, total):
        raise AssertionError

    with pytest.raises(ValueError, match="kind must be one of figure, page, got 'book'"):
        write_page(tmp_path / "page.html", [(explorer, None)], title="", kind="book", progress=never)
    explorer.close()


def test_without_the_installed_script_the_page_says_what_to_do(monkeypatch, tmp_path):
    landscape = lw.sample(bowl(1), lw.Subspace.identity(1), resolution=5)
    monkeypatch.setattr(bundles, "_SCRIPTS", {"no-such-package": "none/index.js"})
    with pytest.raises(
        FileNotFoundError, match=r"none/index\.js of the package no-such-package.*Install no-such-package"
    ):
        bundles.bundles.__wrapped__()
    landscape.to_html(tmp_path / "page.html")


def test_the_command_line_writes_either_kind(tmp_path):
    landscape = lw.sample(bowl(), lw.Subspace.identity(2), resolution=5)
    landscape.save(tmp_path / "bowl.landscape.json")
    for kind in ("figure", "page"):
        path = tmp_path / f"{kind}.html"
        assert main(["view", str(tmp_path / "bowl.landscape.json"), "-o", str(path), "--kind", kind]) == 0
        assert (len(packed(path)) > 1) is (kind == "page")
