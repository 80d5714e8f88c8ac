"""Make the pictures of the README: explorers as JupyterLab shows them.

    python tests/browser/take_picture.py [quickstart] [connectivity] [merging]

They are written to notebooks/.
"""

import sys
import tempfile
from pathlib import Path

from explorers import Explorer
from lab import ask_kernel, chromium_page, console_errors, jupyter_server, open_and_run, write_notebook

FOLDER = Path(__file__).parents[2] / "notebooks"
SETUP = "import lwidgets as lw\n\nobjective, a, b = lw.demo.digits"
PICTURES = {  # name -> the cells, what to do once they are shown, and the panel with a surface
    "quickstart": (
        [
            f"{SETUP}()",
            "curve = lw.CurveExplorer(objective, a, b, alpha=0.35)\ncurve",
            "surface = lw.SurfaceExplorer(objective, seed_x=18, seed_y=19)\nsurface",
        ],
        "setattr(surface, 'point', (-0.5, 0.5))",
        "surface_picture",
    ),
    "connectivity": (
        [
            f"{SETUP}(hidden=(64, 64))",
            "connected = lw.ConnectivityExplorer(objective, a, b, alignment='weights', curve='bezier')\nconnected",
        ],
        "None",
        "plane_picture",
    ),
    "merging": (
        [
            "import lwidgets as lw\n\nbase, models, tasks = lw.demo.digits_tasks()",
            "merging = lw.MergingExplorer(base, models, tasks, method='ties')\nmerging",
        ],
        "None",
        "plane_picture",
    ),
}
WIDTH = 1180
HIDDEN = """
.jp-Cell .jp-cell-toolbar, .jp-Toolbar, .jp-Collapser, .jp-SideBar { display: none !important; }
.jp-Notebook .jp-Cell.jp-mod-active { box-shadow: none !important; border-color: transparent !important; }
"""


def take(name: str) -> None:
    cells, finish, panel = PICTURES[name]
    with (
        tempfile.TemporaryDirectory() as folder,
        jupyter_server(Path(folder)) as server,
        chromium_page((WIDTH, 1500), scale=2) as page,
    ):
        write_notebook(server.root / f"{name}.ipynb", cells)
        open_and_run(page, server, f"{name}.ipynb")
        page.add_style_tag(content=HIDDEN)
        page.evaluate(
            """() => {
                window.jupyterapp.shell.collapseLeft();
                window.jupyterapp.shell.currentWidget.content.activeCellIndex = 0;
                document.activeElement?.blur();
            }"""
        )
        for k, cell in enumerate(cells[1:]):
            Explorer(page, cell.split()[0], k, panel).settle()
        ask_kernel(page, finish)
        page.mouse.move(2, 2)
        page.wait_for_timeout(600)  # a surface that has come to rest is drawn once more, smoother
        first, last = (page.locator(".jp-Notebook .jp-CodeCell").nth(k).bounding_box() for k in (1, len(cells) - 1))
        clip = {
            "x": first["x"],
            "y": first["y"],
            "width": first["width"],
            "height": last["y"] + last["height"] - first["y"],
        }
        page.screenshot(path=FOLDER / f"{name}.png", clip=clip)
        if console_errors(page):
            raise SystemExit("\n".join(console_errors(page)))


if __name__ == "__main__":
    for name in sys.argv[1:] or PICTURES:
        take(name)
