"""What JupyterLab and Notebook 7 show without a kernel: saved outputs, landscape files, and ways to begin."""

import ast
import base64
import io
import json
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import safetensors.torch
import torch
from lab import Server, ask_kernel, console_errors, open_and_run, open_notebook, run_all, write_notebook
from nbformat.sign import NotebookNotary
from PIL import Image
from playwright.sync_api import Locator, Page, expect

import lwidgets as lw
from lwidgets.export.document import MIME as COMPANION
from lwidgets.where import LIVE, WIDGET

NO_MODEL = {"version_major": 2, "version_minor": 0, "model_id": "0123456789abcdef0123456789abcdef"}
NOT_OURS = (
    "widget model not found",  # ipywidgets logs that a kernel has no such model
    "Canceled future for",  # a kernel that was shut down by a test did not answer any more
)
X, Y = np.linspace(-1, 1, 5), np.linspace(0, 3, 4)

INJECTIONS = [
    "<script>window.pwned = 1</script>",
    "<img src=x onerror='window.pwned = 2'>",
    '"><svg onload=window.pwned=3>',
    "<iframe srcdoc='<script>parent.pwned = 4</script>'></iframe>",
    "javascript:window.pwned=5",
    "</script><script>window.pwned = 6</script>",
    "</style><style>body { display: none }</style>",
    "{{constructor.constructor('window.pwned = 7')()}} ${window.pwned = 8}",
    "[x](javascript:window.pwned=9) $\\href{javascript:window.pwned=10}{x}$",
    "&lt;b&gt; &#x3c;script&#x3e;",
    "\u202egnp.\u0000\x1b[31m",
    "__proto__",
]


def heights(seed: int) -> np.ndarray:
    """Values of the study below, shape (5, 4)."""
    return (np.random.default_rng(seed).random() + X[:, None] ** 2 + Y[None, :]).astype("<f4")


def saved_study(words: str = "", **more: Any) -> dict[str, Any]:
    """A companion document of one slider and a picture of each kind, written by hand; ``words`` wherever text goes.

    Args:
        words: Of a stranger.
        **more: Fields in place of its own.
    """
    arrays = [("f4", X.astype("<f4")), ("f4", Y.astype("<f4")), ("u1", np.ones((5, 4), np.uint8))]
    arrays += [("f4", heights(seed)) for seed in range(3)]
    metric = words or "loss"

    def surface(seed: int) -> dict[str, Any]:
        path = {"x": {"array": 0}, "y": {"array": 0}, "color": "#d55e00", "label": words}
        return {
            "shape": [5, 4],
            "labels": [words or "x", words or "y"],
            "metrics": [metric],
            "metric": metric,
            "errors": [0.0],
            "colormap": words or "viridis",
            "x": {"array": 0},
            "y": {"array": 1},
            "evaluated": {"array": 2},
            "values": {"arrays": [3 + seed]},
            "missable": words,
            "description": words,
            "markers": [{"x": 0, "y": 1, "label": words}],
            "paths": [path] if words else [],
        }

    series = {"x": {"array": 0}, "y": {"array": 0}, "label": words or "line"}
    curves = {"x": words, "y": words, "x_range": [-2, 2], "y_range": [-2, 2], "caption": words, "series": [series]}
    table = {"title": words, "head": [words or "row"], "rows": [[words or "cell"]], "notes": [words]}
    slider = {"name": words or "seed", "label": words or "seed", "kind": "integer", "positions": [0, 1, 2], "start": 1}
    kinds = ["surface", "curves", "table", "words"]
    study = {
        "title": words or "Three seeds",
        **dict.fromkeys(("source", "claim", "limits", "citation"), words),
        "sliders": [{**slider, "between": "snap", "help": words}],
        "fixed": [{"label": words or "span", "value": words or "1"}],
        "panels": [{"name": f"{words}{kind}", "kind": kind, "beside": ""} for kind in kinds],
        "frames": {"kind": "recorded", "pictures": [[seed, 3, 4, 5] for seed in range(3)]},
        "pictures": [*map(surface, range(3)), curves, table, {"text": words or "Said below.", "title": words}],
        "checks": [{"name": words or "is right", "state": "pass", "detail": words}],
    }
    return {
        "format": "lwidgets.companion",
        "needs": [*kinds, "recorded"],
        "title": words or "A saved study",
        "studies": [study],
        "arrays": [
            {"coding": coding, "shape": list(array.shape), "low": 0, "high": 0, "base": None}
            for coding, array in arrays
        ],
        "data": base64.b64encode(zlib.compress(b"".join(array.tobytes() for _, array in arrays))).decode(),
        **more,
    }


def bundle(document: Any, **more: Any) -> dict[str, Any]:
    return {COMPANION: document, "text/plain": "StudyWidget()", **more}


def write_outputs(server: Server, name: str, *bundles: dict[str, Any], trusted: bool = False) -> None:
    """Write a notebook with a cell for each output, as one that was run elsewhere."""
    path = write_notebook(server.root / name, ["pass"] * len(bundles))
    notebook = nbformat.read(path, 4)
    for cell, data in zip(notebook.cells, bundles, strict=True):
        cell.outputs = [nbformat.v4.new_output("display_data", data)]
    nbformat.write(notebook, path)
    if trusted:
        NotebookNotary(data_dir=str(server.root / ".jupyter" / "data")).sign(nbformat.read(path, 4))


def open_file(page: Page, path: str) -> None:
    """Open a file in the running application by its default factory."""
    page.evaluate("(path) => { window.jupyterapp.commands.execute('docmanager:open', { path }); }", path)


def open_lab(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/lab?reset", timeout=90_000)
    page.locator(".jp-DirListing").wait_for(timeout=90_000)
    page.evaluate("() => window.jupyterapp.restored.then(() => undefined)")


def close_file(page: Page) -> None:
    page.evaluate("() => window.jupyterapp.shell.currentWidget.close()")
    expect(page.locator(".jp-MimeDocument")).to_have_count(0)


def enter(page: Page, folder: str) -> None:
    """Go into a folder of the file browser."""
    page.evaluate("(path) => { window.jupyterapp.commands.execute('filebrowser:open-path', { path }); }", folder)
    page.locator(".jp-BreadCrumbs", has_text=folder).wait_for()


def errors(page: Page) -> list[str]:
    return [text for text in console_errors(page) if not any(known in text for known in NOT_OURS)]


def assert_shows(page: Page, root: Locator, values: np.ndarray) -> None:
    """The height field below ``root`` shows exactly these values, which its own readings tell."""
    field = root.locator(".lw-height-field")
    expect(field).to_have_attribute("data-max", str(float(values.max())), timeout=20_000)
    assert float(field.get_attribute("data-min")) == values.min()


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("fixture", ["lab_server", "notebook_server"])
def test_a_saved_notebook_that_was_not_run_is_interactive(fixture: str, trusted: bool, request, page: Page):
    server = request.getfixturevalue(fixture)
    study = saved_study()
    outputs = [bundle(study), bundle(study, **{WIDGET: NO_MODEL})]
    write_outputs(server, "saved.ipynb", *outputs, trusted=trusted)
    open_notebook(page, server, "saved.ipynb")
    told = page.evaluate(
        "() => [...window.jupyterapp.shell.currentWidget.content.widgets].map((cell) => cell.model.trusted)"
    )
    assert told == [trusted, trusted]
    for k in range(2):
        cell = page.locator(".jp-Cell").nth(k)
        expect(cell.locator(".lwidgets-saved")).to_contain_text("Three seeds")
        assert_shows(page, cell, heights(1))
        # From the keyboard, in the command mode whose shortcuts would move to another cell.
        cell.locator("input[type=range]").focus()
        page.keyboard.press("ArrowRight")
        assert_shows(page, cell, heights(2))
        cell.locator("input[type=range]").focus()
        page.keyboard.press("Home")
        assert_shows(page, cell, heights(0))
        expect(cell.locator(".jp-OutputArea")).not_to_contain_text("model not found", use_inner_text=True)
        expect(cell.locator(".jp-OutputArea")).not_to_contain_text("StudyWidget()")
    assert errors(page) == []


SLIDER = f"""
import json, ipywidgets
from IPython.display import display
slider = ipywidgets.IntSlider(value=7, description="living")
display({{
    {COMPANION!r}: json.loads({json.dumps(saved_study())!r}),
    "MIME TYPE": {{"version_major": 2, "version_minor": 0, "model_id": slider.model_id}},
    "text/plain": "a slider",
}}, raw=True)
"""


@pytest.mark.parametrize(
    ("fixture", "type_"), [("lab_server", WIDGET), ("lab_server", LIVE), ("notebook_server", LIVE)]
)
def test_the_live_widget_takes_over_as_long_as_its_kernel_lives(fixture: str, type_: str, request, page: Page):
    server = request.getfixturevalue(fixture)
    write_notebook(server.root / "live.ipynb", [SLIDER.replace("MIME TYPE", type_)])
    open_and_run(page, server, "live.ipynb")

    def expect_live() -> None:
        expect(page.locator(".widget-slider")).to_be_visible(timeout=20_000)
        expect(page.locator(".lwidgets-saved")).to_have_count(0)

    def expect_saved() -> None:
        assert_shows(page, page.locator(".lwidgets-saved"), heights(1))
        expect(page.locator(".widget-slider")).to_have_count(0)

    expect_live()
    page.locator(".widget-slider .noUi-handle").press("PageUp")
    ask_kernel(page, "slider.value")

    # Closed and opened again while the kernel runs: the picture first, then the widget.
    page.evaluate("() => window.jupyterapp.shell.currentWidget.context.save()")
    open_notebook(page, server, "live.ipynb")
    expect_live()

    ask_kernel(page, "slider.close()")
    expect_saved()

    run_all(page)
    expect_live()
    page.evaluate("() => { window.jupyterapp.shell.currentWidget.sessionContext.restartKernel(); }")
    expect_saved()
    run_all(page)
    expect_live()
    page.evaluate("() => { window.jupyterapp.shell.currentWidget.sessionContext.shutdown(); }")
    expect_saved()
    page.locator(".lwidgets-saved input[type=range]").press("ArrowRight")
    assert_shows(page, page.locator(".lwidgets-saved"), heights(2))
    assert errors(page) == []


def landscape(words: str = "") -> lw.Landscape:
    """A surface with a hole, over a grid that is not square; ``words`` wherever text goes."""
    values = heights(4).astype(float)
    values[1, 2] = np.nan
    return lw.Landscape(
        coords=(X, Y),
        axes=(words or "x", words + "y"),
        labels=(words or "along x", words or "along y"),
        values={words or "loss": values},
        evaluated=np.ones((5, 4), bool),
        evaluations=20,
        error={words or "loss": 0.0},
        provenance={"objective": words},
    )


def test_a_landscape_file_opens_from_the_file_browser(lab_server: Server, page: Page):
    landscape().save(lab_server.root / "valley.landscape.json")
    line = lw.Landscape(
        *((X,), ("alpha",), ("alpha",), {"loss": X**2}, np.ones(5, bool), 5),
        error={"loss": 0.0},
    )
    line.save(lab_server.root / "line.landscape.json")
    open_lab(page, lab_server)
    for name in ("valley", "line"):
        page.locator(".jp-DirListing-item", has_text=f"{name}.landscape.json").dblclick()
    shown = page.locator(".lwidgets-saved")
    expect(shown).to_have_count(2)
    values = landscape().values["loss"].astype("<f4")
    assert_shows(page, shown.first, values[np.isfinite(values)])
    expect(shown.first.locator(".lw-text")).to_contain_text("1 of 20")
    expect(shown.last.locator("canvas, svg").first).to_be_visible()
    assert errors(page) == []


def test_a_landscape_file_opens_in_notebook_7(notebook_server: Server, page: Page):
    landscape().save(notebook_server.root / "valley.landscape.json")
    page.goto(f"{notebook_server.url}/tree", timeout=90_000)
    with page.expect_popup() as opened:
        page.locator(".jp-DirListing-item", has_text="valley.landscape.json").dblclick()
    expect(opened.value.locator(".lwidgets-saved .lw-height-field")).to_have_attribute(
        "data-shape", "5x4", timeout=60_000
    )


def changed(**changes: Any) -> Callable[[str], str]:
    return lambda text: json.dumps(json.loads(text) | changes)


DAMAGE: dict[str, tuple[Callable[[str], str], str]] = {  # name -> what happens to the file, what the reader is told
    "truncated": (lambda text: text[: len(text) // 2], "Copy or save it again"),
    "empty": (lambda text: "", "Copy or save it again"),
    "list": (lambda text: "[]", "must be an object"),
    "other": (lambda text: '{"cells": []}', "format"),
    "newer": (changed(version=99), "99"),
    "huge": (changed(shape=[100_000, 100_000]), "shape"),
    "negative": (changed(shape=[-5, -4]), "shape"),
    "wordy": (changed(version=INJECTIONS[1] + "x" * 1_000_000), "version"),
}


def test_a_damaged_landscape_file_says_so_in_place(lab_server: Server, page: Page, tmp_path: Path):
    text = landscape().save(tmp_path / "one.landscape.json").read_text()
    for name, (damage, _) in DAMAGE.items():
        (lab_server.root / f"{name}.landscape.json").write_text(damage(text))
    open_lab(page, lab_server)
    for name, (_, told) in DAMAGE.items():
        open_file(page, f"{name}.landscape.json")
        alert = page.locator(".lwidgets-saved:visible [role=alert]")
        expect(alert).to_contain_text(told, timeout=20_000)
        assert len(alert.inner_text()) < 1000
        close_file(page)
    assert page.locator(".jp-Dialog").count() == 0
    assert_inert(page)


def test_a_damaged_output_says_so_in_place(lab_server: Server, page: Page):
    study = saved_study()
    broken = {
        "truncated": study | {"data": study["data"][:40]},
        "of another format": study | {"format": "lwidgets.companion.v9"},
        "in need of more": study | {"needs": ["oracle"]},
        "without frames": study | {"studies": [study["studies"][0] | {"frames": []}]},
        "huge": study | {"arrays": [{**study["arrays"][0], "shape": [2**20, 2**20]}]},
        "text": INJECTIONS[1],
        "null": None,
    }
    write_outputs(lab_server, "broken.ipynb", *map(bundle, broken.values()), bundle(study), trusted=True)
    open_notebook(page, lab_server, "broken.ipynb", kernel=False)
    cells = page.locator(".jp-Cell")
    for k in range(len(broken)):
        expect(cells.nth(k).get_by_role("alert")).to_contain_text("companion:", timeout=20_000)
    assert_shows(page, cells.nth(len(broken)), heights(1))
    assert_inert(page)


def test_what_needs_a_newer_reader_says_so_above_its_still(lab_server: Server, page: Page):
    """And the address of the still is that of a picture, or it is not followed."""
    still = io.BytesIO()
    Image.new("RGB", (30, 20), "magenta").save(still, "PNG")
    address = f"data:image/png;base64,{base64.b64encode(still.getvalue()).decode()}"
    needs = {"needs": ["surface", "recorded", "oracle"]}
    bad = ["https://example.com/a.png", "javascript:window.pwned=1", "data:image/svg+xml,<svg onload=window.pwned=2>"]
    documents = [saved_study(still=one, **needs) for one in (address, *bad)]
    write_outputs(lab_server, "newer.ipynb", *map(bundle, documents), trusted=True)
    open_notebook(page, lab_server, "newer.ipynb", kernel=False)
    cells = page.locator(".jp-Cell")
    for k in range(len(documents)):
        alert = cells.nth(k).get_by_role("alert")
        expect(alert).to_contain_text('"oracle"', timeout=20_000)
        expect(alert).to_contain_text("Update lwidgets")
    image = page.locator(".lwidgets-saved img")
    expect(image).to_have_count(1)
    assert image.evaluate("(node) => [node.naturalWidth, node.naturalHeight]") == [30, 20]
    assert page.evaluate("() => window.pwned") is None
    assert errors(page) == []


def test_words_of_strangers_stay_words(lab_server: Server, page: Page):
    """In every place that holds text, of outputs and of files."""
    studies = [saved_study(words) for words in [*INJECTIONS, "wide " * 200_000]]
    for k, words in enumerate(INJECTIONS):
        landscape(words).save(lab_server.root / f"stranger{k}.landscape.json")
    write_outputs(lab_server, "strangers.ipynb", *map(bundle, studies), trusted=True)
    open_notebook(page, lab_server, "strangers.ipynb", kernel=False)
    for k, words in enumerate(INJECTIONS):
        cell = page.locator(".jp-Cell").nth(k)
        cell.scroll_into_view_if_needed()
        assert_shows(page, cell, heights(1))
        for place in ("h2", ".lw-claim", ".lw-paths", ".lw-table caption", ".lw-table th", ".lw-words", ".lw-checks"):
            assert words in cell.locator(place).first.evaluate("(node) => node.textContent")
    assert_inert(page)
    for k in range(len(INJECTIONS)):
        open_file(page, f"stranger{k}.landscape.json")
        visible = page.locator(".jp-MimeDocument:visible .lw-height-field")
        expect(visible).to_have_attribute("data-shape", "5x4", timeout=20_000)
        assert_inert(page)
        close_file(page)


def assert_inert(page: Page) -> None:
    """Nothing of the documents ran or became an element."""
    assert page.evaluate("() => window.pwned") is None
    elements = ":is(script, iframe, object, embed, link, img, a, [onload], [onerror], [href])"
    assert page.locator(f".lwidgets-saved {elements}").count() == 0
    assert errors(page) == []


def made(page: Page, server: Server) -> tuple[str, dict[str, list[str]]]:
    """The notebook that was just made, once its kernel runs: its path, and the sources of its cells by type."""
    page.locator(".jp-NotebookPanel:visible .jp-Cell").first.wait_for(timeout=60_000)
    path = page.evaluate(
        """async () => {
            const panel = window.jupyterapp.shell.currentWidget;
            await panel.context.ready;
            await panel.sessionContext.ready;
            await panel.sessionContext.session.kernel.info;
            return panel.context.path;
        }"""
    )
    content = nbformat.read(server.root / path, 4)
    nbformat.validate(content)
    assert not any(cell.get("outputs") for cell in content.cells)  # nothing runs by itself
    cells: dict[str, list[str]] = {"code": [], "markdown": []}
    for cell in content.cells:
        cells[cell.cell_type].append(cell.source)
    return path, cells


def run_with_one_thread(page: Page) -> None:
    """Run all cells; a second thread waits for the browser more than it helps."""
    ask_kernel(page, "__import__('torch').set_num_threads(1)")
    run_all(page)


def test_the_launcher_card_makes_a_notebook_that_runs(lab_server: Server, page: Page):
    (lab_server.root / "deep er").mkdir()
    open_lab(page, lab_server)
    page.evaluate("() => { window.jupyterapp.commands.execute('launcher:create', { cwd: 'deep er' }); }")
    page.locator(".jp-LauncherCard:visible", has_text="Loss landscape").click()
    path, _ = made(page, lab_server)
    assert path == "deep er/Untitled.ipynb"
    assert page.locator(".jp-Dialog").count() == 0  # it knows its kernel
    run_with_one_thread(page)
    expect(page.locator(".lwidgets-explorer")).to_have_count(2)
    page.locator('.lw-height-field[data-final="true"]').wait_for()
    assert errors(page) == []


def test_the_palette_offers_a_notebook_and_a_comparison(lab_server: Server, page: Page):
    folder = lab_server.root / "compared"
    folder.mkdir()
    for name in ("one", "two", "three"):
        landscape().save(folder / f"{name}.landscape.json")
    (folder / "other.json").write_text("{}")
    open_lab(page, lab_server)
    enter(page, "compared")
    page.evaluate("() => { window.jupyterapp.commands.execute('apputils:activate-command-palette'); }")
    entries = page.locator(".lm-CommandPalette-item")
    page.locator(".lm-CommandPalette-input").fill("landscape")
    expect(entries.filter(has_text="New loss landscape notebook")).to_be_visible()
    entries.filter(has_text="Compare landscapes").click()
    dialog = page.locator(".jp-Dialog")
    files = dialog.locator(".jp-DirListing-item")
    expect(files).to_have_count(3)  # no other.json
    files.filter(has_text="one").click()
    files.filter(has_text="two").click(modifiers=["ControlOrMeta"])
    dialog.locator("button.jp-mod-accept").click()
    shown = page.locator(".lwidgets-saved:visible .lw-height-field")
    expect(shown).to_have_count(2)
    left, right = sorted((shown.nth(k).bounding_box() for k in range(2)), key=lambda box: box["x"])
    assert left["x"] + left["width"] <= right["x"]
    assert abs(left["y"] - right["y"]) < 5
    assert errors(page) == []


NAMES = ["net.pt", "it's \"so\" ${x} {y} #''' %s <b>.safetensors", "ünï\u2028 𝛼\t\x7f[0m.PT"]


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_opens_in_a_notebook_about_it(name: str, lab_server: Server, page: Page):
    folder = lab_server.root / f"checkpoints {NAMES.index(name)}"
    folder.mkdir()
    _, _, b = lw.demo.digits(steps=1)
    save = safetensors.torch.save_file if name.endswith("safetensors") else torch.save
    save(b.state_dict(), folder / name)
    (folder / "notes.txt").write_text("")
    open_lab(page, lab_server)
    enter(page, folder.name)
    items = page.locator(".jp-DirListing-item")
    offer = page.locator(".lm-Menu-item", has_text="Explore loss landscape")
    items.filter(has_text="notes.txt").click(button="right")
    page.locator(".lm-Menu-item", has_text="Rename").wait_for()
    assert not offer.is_visible()
    page.keyboard.press("Escape")
    items.filter(has_not_text="notes.txt").click(button="right")
    offer.click()
    path, cells = made(page, lab_server)
    assert path == f"{folder.name}/Untitled.ipynb"
    (assigned,) = [node for node in ast.parse(cells["code"][0]).body if isinstance(node, ast.Assign)]
    assert ast.literal_eval(assigned.value) == name
    assert not any(name in prose for prose in cells["markdown"])
    if name != NAMES[1]:
        return
    run_with_one_thread(page)
    assert f"'0.weight': {tuple(b[0].weight.shape)}" in page.locator(".jp-OutputArea").first.inner_text()
    page.locator('.lw-height-field[data-final="true"]').wait_for()
    assert errors(page) == []


def test_jupyter_lists_the_extension_as_sound():
    done = subprocess.run([sys.executable, "-m", "jupyter", "labextension", "list"], text=True, capture_output=True)
    (told,) = [line for line in (done.stdout + done.stderr).splitlines() if "lwidgets v" in line]
    assert f"lwidgets v{lw.__version__}" in told
    assert "enabled" in told
    assert "OK" in told


@pytest.mark.parametrize("fixture", ["lab_server", "notebook_server"])
def test_a_landscape_that_ends_a_cell_is_a_picture_now_and_when_reopened(fixture: str, request, page: Page):
    server: Server = request.getfixturevalue(fixture)
    name = f"ends_{fixture}.ipynb"
    write_notebook(
        server.root / name,
        [
            "import lwidgets as lw\nbowl = lw.Objective.from_function(lambda u: u[:, 0] ** 2 + u[:, 1] ** 2, dim=2)",
            "lw.sample(bowl, lw.Subspace.identity(2), resolution=17)",
        ],
    )
    open_and_run(page, server, name)
    page.locator(".lw-height-field canvas").first.wait_for()
    assert page.locator(".jp-OutputArea img").count() == 0
    page.evaluate("() => { window.jupyterapp.shell.currentWidget.context.save(); }")
    page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
    saved = json.loads((server.root / name).read_text())
    (output,) = saved["cells"][1]["outputs"]
    assert {COMPANION, "image/png", "text/plain"} <= set(output["data"])
    open_notebook(page, server, name, kernel=False)
    page.locator(".lw-height-field canvas").first.wait_for()
    assert not errors(page)


EXPLORED = """
import lwidgets as lw
import torch
torch.set_num_threads(1)
bowl = lw.Objective.from_function(lambda u: u[:, 0] ** 2 + 3 * u[:, 1] ** 2 + 0.1, dim=2)
surface = lw.SurfaceExplorer(bowl, resolution=17)
"""


def saved_outputs(page: Page, path: Path) -> list[dict[str, Any]]:
    """The data of all outputs as the notebook holds them on disk now."""
    page.evaluate("() => window.jupyterapp.shell.currentWidget.context.save()")
    cells = json.loads(path.read_text())["cells"]
    return [output["data"] for cell in cells for output in cell.get("outputs", ())]


@pytest.mark.parametrize("fixture", ["lab_server", "notebook_server"])
def test_an_explorer_is_live_and_its_saved_picture_follows_it(fixture: str, request, page: Page):
    server: Server = request.getfixturevalue(fixture)
    name = f"explored_{fixture}.ipynb"
    curve = "curve = lw.CurveExplorer(*lw.demo.digits(steps=20))\ncurve"
    write_notebook(server.root / name, [EXPLORED, "surface", curve])
    open_and_run(page, server, name)
    expect(page.locator(".lwidgets-explorer")).to_have_count(2)
    expect(page.locator(".bqplot").first).to_be_visible()
    expect(page.locator('.lwidgets-output[data-mode="live"]')).to_have_count(2)
    page.wait_for_timeout(2500)

    surface = page.locator(".lwidgets-explorer").first
    field = surface.locator(".lw-height-field")
    handle = field.element_handle()
    kept = saved_outputs(page, server.root / name)
    assert len(kept) == 2
    for data in kept:
        assert {COMPANION, LIVE, "image/png", "text/plain"} == set(data)
    assert "".join(kept[0]["text/plain"]).startswith("SurfaceExplorer('Loss surface'")

    # Moved: the same widget, in place, and after a moment a new picture is kept.
    ask_kernel(page, "surface.set_trait('span', (-2, 2))")
    expect(field).to_have_attribute("data-max", str(float(np.float32(16.1))), timeout=20_000)
    page.wait_for_timeout(2500)
    moved, other = saved_outputs(page, server.root / name)
    assert moved["image/png"] != kept[0]["image/png"]
    assert "span=(-2.0, 2.0)" in "".join(moved["text/plain"])
    assert other == kept[1]
    assert handle.evaluate("(node) => node.isConnected")

    # Opened again and not run, its kernel gone: what was on show last, to be turned and read.
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    open_notebook(page, server, name, kernel=False)
    expect(page.locator(".lwidgets-saved")).to_have_count(2)
    expect(page.locator(".lwidgets-saved .lw-height-field")).to_have_attribute(
        "data-max", str(float(np.float32(16.1))), timeout=20_000
    )
    expect(page.locator(".lwidgets-saved").last).to_contain_text("Barrier of the loss")
    expect(page.locator(".jp-OutputArea").first).not_to_contain_text("model not found", use_inner_text=True)
    assert errors(page) == []


def made_by_nbconvert(notebook: Path, *options: str) -> str:
    """The HTML page that nbconvert makes of a notebook."""
    command = [sys.executable, "-m", "jupyter", "nbconvert", "--to", "html", *options, notebook.name]
    env = {**os.environ, "PYTHONPATH": str(Path(lw.__file__).parents[1])}
    done = subprocess.run(command, cwd=notebook.parent, env=env, text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return notebook.with_suffix(".html").read_text()


def stills(page: str) -> list[np.ndarray]:
    """The pictures that a page shows, as pixels."""
    found = re.findall(r"<img[^>]*src=\"data:image/png;base64,([^\"]+)", page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")) for data in found]


@pytest.mark.parametrize("stored", [True, False])
def test_a_web_page_made_of_a_notebook_shows_the_still(stored: bool, tmp_path: Path):
    """Run by a program, in which the picture is there before the cell ends; the last cell of all is the explorer."""
    options = "--execute", f"--ExecutePreprocessor.store_widget_state={stored}"
    assert stills(made_by_nbconvert(write_notebook(tmp_path / "empty.ipynb", ["1"]), *options)) == []
    page = made_by_nbconvert(write_notebook(tmp_path / "paper.ipynb", [EXPLORED + "surface"]), *options)
    (still,) = stills(page)
    assert still.shape[0] > 100
    assert still.shape[1] > 200
    assert len(np.unique(still.reshape(-1, 3), axis=0)) > 100  # a map of many colours, and not a blank
    assert "model not found" not in page
    assert '<script type="application/vnd.jupyter.widget-view+json"' not in page


def test_a_notebook_that_was_saved_with_its_widgets_makes_a_page_with_stills(lab_server: Server, page: Page):
    """Run by hand; nbconvert would show a live widget rather than a still, and without a network nothing at all."""
    name, path = "kept.ipynb", lab_server.root / "kept.ipynb"
    write_notebook(path, [EXPLORED, "surface", "lw.CurveExplorer(*lw.demo.digits(steps=20))"])
    toggle = "() => window.jupyterapp.commands.execute('@jupyter-widgets/jupyterlab-manager:saveWidgetState')"
    open_and_run(page, lab_server, name)
    page.evaluate(toggle)
    try:
        expect(page.locator('.lwidgets-output[data-mode="live"]')).to_have_count(2)
        page.wait_for_timeout(2500)
        saved_outputs(page, path)
    finally:
        page.evaluate(toggle)
    states = json.loads(path.read_text())["metadata"]["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    assert len(states) > 20
    made = made_by_nbconvert(path)
    assert len(stills(made)) == 2
    for still in stills(made):
        assert len(np.unique(still.reshape(-1, 3), axis=0)) > 100
    assert '<script type="application/vnd.jupyter.widget-view+json"' not in made
