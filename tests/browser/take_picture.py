"""Make the picture at the top of the README: a curve and a surface, as JupyterLab shows them.

    python tests/browser/take_picture.py [FILE]

It writes notebooks/quickstart.png unless told otherwise.
"""

import sys
import tempfile
from pathlib import Path

from explorers import Explorer
from lab import ask_kernel, chromium_page, console_errors, jupyter_server, open_and_run, write_notebook

TARGET = Path(__file__).parents[2] / "notebooks" / "quickstart.png"
CELLS = [
    "import lwidgets as lw\n\nobjective, a, b = lw.demo.digits()",
    "curve = lw.CurveExplorer(objective, a, b, alpha=0.35)\ncurve",
    "surface = lw.SurfaceExplorer(objective, seed_x=18, seed_y=19)\nsurface",
]
WIDTH = 1180
HIDDEN = """
.jp-Cell .jp-cell-toolbar, .jp-Toolbar, .jp-Collapser, .jp-SideBar { display: none !important; }
.jp-Notebook .jp-Cell.jp-mod-active { box-shadow: none !important; border-color: transparent !important; }
"""


def take(target: Path) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        jupyter_server(Path(folder)) as server,
        chromium_page((WIDTH, 1500), scale=2) as page,
    ):
        write_notebook(server.root / "quickstart.ipynb", CELLS)
        open_and_run(page, server, "quickstart.ipynb")
        page.add_style_tag(content=HIDDEN)
        page.evaluate(
            """() => {
                window.jupyterapp.shell.collapseLeft();
                window.jupyterapp.shell.currentWidget.content.activeCellIndex = 0;
                document.activeElement?.blur();
            }"""
        )
        for explorer in (Explorer(page, "curve", 0), Explorer(page, "surface", 1)):
            explorer.settle()
        ask_kernel(page, "setattr(surface, 'point', (-0.5, 0.5))")
        page.mouse.move(2, 2)
        page.wait_for_timeout(600)  # a surface that has come to rest is drawn once more, smoother
        first, last = (page.locator(".jp-Notebook .jp-CodeCell").nth(k).bounding_box() for k in (1, 2))
        clip = {
            "x": first["x"],
            "y": first["y"],
            "width": first["width"],
            "height": last["y"] + last["height"] - first["y"],
        }
        target.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=target, clip=clip)
        if console_errors(page):
            raise SystemExit("\n".join(console_errors(page)))


if __name__ == "__main__":
    take(Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET)
