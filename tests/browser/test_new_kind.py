"""A new kind of picture is a file in Python, one in TypeScript and a line in each list: it is shown everywhere."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from lab import (
    CHECKOUT,
    ask_kernel,
    chromium_page,
    console_errors,
    jupyter_server,
    open_and_run,
    open_notebook,
    wait_for_kernel,
    write_notebook,
)
from playwright.sync_api import Browser, Page, expect

from lwidgets.export.document import MIME

PYTHON = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lwidgets.pictures.base import Picture

@dataclass(frozen=True, eq=False)
class Dial(Picture):
    kind: ClassVar[str] = "dial"

    values: object
    name: str

    def plain(self, keep):
        return {"values": keep(np.asarray(self.values, dtype=float), "values"), "name": self.name}

    def still(self):
        from lwidgets.pictures.stills import Still

        still = Still(figsize=(3, 1))
        still.add_axes((0.1, 0.2, 0.8, 0.6)).barh([0], [float(self.values[0])], color="#ff00ff")
        return still
"""

TYPESCRIPT = """
import { el } from '../core/dom';
import { text } from '../core/strict';
import { type Kind, Mixer, reference } from './base';

interface Dial { readonly name: string; readonly values: number }
interface Drawing { readonly name: string; readonly values: Float32Array }

export const dial: Kind<Dial, Drawing> = {
  name: 'dial',
  read: (raw, at, arrays) => ({
    name: text(raw.name, `${at}.name`), values: reference(raw.values, `${at}.values`, [1], arrays),
  }),
  mix: (arrays, near, parts) => ({ name: near.name, values: new Mixer(arrays, parts).floats(({ values }) => values) }),
  mount(place) {
    const hand = el('div', { class: 'dial', role: 'meter' });
    place.append(hand);
    return {
      el: place,
      show({ name, values }) {
        hand.textContent = `${name}: ${values[0]!.toFixed(2)}`;
      },
      dispose: () => hand.remove(),
    };
  },
};
"""

STUDY = """
import lwidgets as lw
from lwidgets.pictures import Dial
study = lw.Study("A dial")
study.slider("level", 0.25, low=0.0, high=1.0, step=0.25)

@study.view
def hand(level):
    return Dial([level], "it stands at")
"""


def insert(path: Path, before: str, after: str) -> None:
    """Put something in the place of the one occurrence of a text."""
    text = path.read_text()
    assert text.count(before) == 1, (path, before)
    path.write_text(text.replace(before, after))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this checkout with one kind more, built."""
    if shutil.which("npm") is None or not (CHECKOUT / "js" / "node_modules").exists():
        pytest.skip("needs node, and what `make js` installs, to build the bundles")
    copy = tmp_path_factory.mktemp("checkout")
    ignored = shutil.ignore_patterns("node_modules", "lib", "__pycache__", "labextension")
    shutil.copytree(CHECKOUT / "lwidgets", copy / "lwidgets", ignore=ignored)
    shutil.copytree(CHECKOUT / "js", copy / "js", ignore=shutil.ignore_patterns("node_modules", "lib"))
    for folder in ("js", "js/labextension"):
        (copy / folder / "node_modules").symlink_to((CHECKOUT / folder / "node_modules").resolve())

    pictures, list_ = copy / "lwidgets" / "pictures", copy / "lwidgets" / "pictures" / "__init__.py"
    (pictures / "dial.py").write_text(PYTHON)
    insert(
        list_, "from lwidgets.pictures.marks", "from lwidgets.pictures.dial import Dial\nfrom lwidgets.pictures.marks"
    )
    insert(
        list_, "for _kind in (Surface, Curves, Table, Words):", "for _kind in (Surface, Curves, Table, Words, Dial):"
    )
    kinds = copy / "js" / "src" / "pictures"
    (kinds / "dial.ts").write_text(TYPESCRIPT)
    insert(kinds / "index.ts", "import { surface }", "import { dial } from './dial';\nimport { surface }")
    insert(kinds / "index.ts", "{ surface, curves, table, words };", "{ surface, curves, table, words, dial };")
    for folder in ("js", "js/labextension"):
        done = subprocess.run(["npm", "run", "build"], cwd=copy / folder, text=True, capture_output=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    return copy


def assert_in_a_page(browser: Browser, path: Path) -> None:
    with chromium_page((700, 500), browser=browser) as page:
        page.context.set_offline(True)
        page.goto(path.as_uri())
        meter = page.get_by_role("meter")
        expect(meter).to_have_text("it stands at: 0.75")
        page.get_by_role("slider").press("Home")
        expect(meter).to_have_text("it stands at: 0.00")
        assert console_errors(page) == []


def outputs(path: Path) -> list[dict[str, Any]]:
    cells = json.loads(path.read_text())["cells"]
    return [output["data"] for cell in cells for output in cell.get("outputs", ())]


def test_a_new_kind_is_live_in_pages_saved_and_a_still(checkout: Path, browser: Browser, page: Page, tmp_path: Path):
    with jupyter_server(tmp_path, checkout=checkout) as server:
        path = write_notebook(server.root / "dial.ipynb", [STUDY, "shown = study.show()\nshown"])
        open_and_run(page, server, path.name)
        meter = page.locator(".lwidgets-explorer").get_by_role("meter")
        expect(meter).to_have_text("it stands at: 0.25")
        handle = page.locator(".lwidgets-level .noUi-handle")
        handle.press("ArrowRight")
        handle.press("ArrowRight")
        expect(meter).to_have_text("it stands at: 0.75")
        wait_for_kernel(page, "shown.wait(0) and shown.level == 0.75")
        for kind in ("figure", "page"):
            ask_kernel(page, f"str(shown.to_html('{kind}.html', {{'level': [0.0, 0.5, 0.75]}}, kind={kind!r}))")
            assert_in_a_page(browser, server.root / f"{kind}.html")
        expect(page.locator('.lwidgets-output[data-mode="live"]')).to_have_count(1)
        page.wait_for_timeout(2500)  # the picture is kept when it has come to rest
        page.evaluate("() => window.jupyterapp.shell.currentWidget.context.save()")
        (kept,) = [data for data in outputs(path) if MIME in data]
        assert kept[MIME]["needs"] == ["dial", "recorded"]
        assert ask_kernel(page, "study.pictures['hand'].still() is not None")
        assert len(kept["image/png"]) > 500

        page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
        open_notebook(page, server, path.name, kernel=False)
        expect(page.locator(".lwidgets-saved").get_by_role("meter")).to_have_text("it stands at: 0.75")
