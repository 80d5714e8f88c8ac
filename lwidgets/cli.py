"""``lwidgets view FILE.landscape.json`` and ``lwidgets export STUDY.ipynb -o page.html``, for the command line."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lwidgets.landscape import load
from lwidgets.version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: Those of the command line by default.

    Returns:
        The exit status: 0, or 1 after an error that was told on stderr.
    """
    asked = _parser().parse_args(arguments)
    try:
        asked.run(asked)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        told = error.args[0] if isinstance(error, KeyError) and error.args else error
        print(f"lwidgets: {told}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lwidgets", description="Loss landscapes without a notebook.")
    parser.add_argument("--version", action="version", version=f"lwidgets {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    view = commands.add_parser("view", help="open a landscape file in the browser", description=_view.__doc__)
    view.add_argument("file", type=Path, help="a .landscape.json file")
    view.add_argument("-o", "--output", type=Path, help="write the page here and open nothing")
    view.add_argument("--metric", help="which metric to show; the first by default")
    view.add_argument("--log", action="store_true", help="logarithmic height")
    _add_kind(view)
    view.set_defaults(run=_view)

    export = commands.add_parser("export", help="a notebook's studies as one page", description=_export.__doc__)
    export.add_argument("notebook", type=Path, help="a notebook that shows explorers; it is run, with all it does")
    export.add_argument("-o", "--output", type=Path, required=True, help="the HTML file")
    export.add_argument(
        "-s",
        "--slider",
        action="append",
        default=[],
        metavar="NAME=POSITIONS",
        help="keep a slider alive, in every study that has it: seed_x=0..19, span=0.5,1,2, alpha=21 positions as "
        "alpha=#21, or all options as log_height=*",
    )
    export.add_argument("--title", help="of the page; the notebook's name by default")
    _add_kind(export)
    export.add_argument("--budget", type=float, default=3.0, metavar="MB", help="most megabytes (3)")
    export.set_defaults(run=_export)
    return parser


def _add_kind(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--kind",
        choices=("figure", "page"),
        default="figure",
        help="what draws: a small figure (the default), or the very widgets of the notebook, 0.7 MB more",
    )


def _view(asked: argparse.Namespace) -> None:
    """Make a page of a landscape file, and open it."""
    landscape = load(asked.file)
    output = asked.output or Path(tempfile.mkdtemp(prefix="lwidgets-")) / f"{asked.file.name.split('.')[0]}.html"
    landscape.to_html(output, metric=asked.metric, log=asked.log, title=asked.file.name, kind=asked.kind)
    print(f"{landscape}\nwritten to {output}, {output.stat().st_size / 1e3:.0f} kB")
    if asked.output is None:
        webbrowser.open(output.resolve().as_uri())


def _export(asked: argparse.Namespace) -> None:
    """Run a notebook, and write the studies that it shows as one page whose sliders work without a kernel."""
    from lwidgets.export.write import expected, write_page

    sliders = dict(_slider(text) for text in asked.slider)
    began = time.perf_counter()
    print(f"running {asked.notebook.name} ...", file=sys.stderr)
    studies = _studies_of(asked.notebook)
    spent = time.perf_counter() - began
    if not studies:
        raise ValueError(
            f"export: {asked.notebook.name} must show an explorer or another study, got none that is open. "
            "End a cell with one, and do not close it."
        )
    unknown = [name for name in sliders if not any(name in widget.study.sliders for widget in studies)]
    if unknown:
        known = sorted({name for widget in studies for name in widget.study.sliders})
        raise ValueError(
            f"export: --slider must name one of {', '.join(known)}, got {unknown[0]!r}. Check the spelling."
        )
    alive = [{name: values for name, values in sliders.items() if name in w.study.sliders} for w in studies]
    asked_for = list(zip(studies, alive, strict=True))
    page = expected(asked_for, kind=asked.kind)
    for widget, count in zip(studies, page.frames, strict=True):
        print(f"  {widget.study.title}: {count:,} frame{'s' * (count > 1)}", file=sys.stderr)
    print(f"ran in {spent:.1f} s; to compute: {page}", file=sys.stderr)
    write_page(
        asked.output,
        asked_for,
        title=asked.title or asked.notebook.stem,
        kind=asked.kind,
        budget=asked.budget,
        progress=_Clock(),
    )
    print(f"\nwritten to {asked.output}, {asked.output.stat().st_size / 1e3:.0f} kB", file=sys.stderr)


class _Clock:
    """Progress with the time that is left, on one line of stderr."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    def __call__(self, done: int, total: int) -> None:
        left = (time.perf_counter() - self._began) / done * (total - done)
        print(f"\r  frame {done:,} of {total:,}, {left:.0f} s left   ", end="", file=sys.stderr, flush=True)
        if done == total:
            self._began = time.perf_counter()


def _slider(text: str) -> tuple[str, Any]:
    """NAME=POSITIONS: ``0..19``, ``#21`` evenly spaced, ``*`` for all options, or values with commas.

    >>> _slider("seed=0..2"), _slider("span=0.5,1"), _slider("alpha=#21"), _slider("plane=*"), _slider("metric=loss")
    (('seed', range(0, 3)), ('span', [0.5, 1]), ('alpha', 21), ('plane', None), ('metric', ['loss']))
    """
    name, equals, positions = text.partition("=")
    if not (name and equals and positions):
        raise ValueError(f"export: --slider must be NAME=POSITIONS, got {text!r}. Use for example seed_x=0..19.")
    low, dots, high = positions.partition("..")
    if positions == "*":
        return name, None
    if positions.startswith("#") and positions[1:].isdigit():
        return name, int(positions[1:])
    if dots and low.lstrip("-").isdigit() and high.lstrip("-").isdigit():
        return name, range(int(low), int(high) + 1)
    return name, [_value(part) for part in positions.split(",")]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _studies_of(notebook: Path) -> list[Any]:
    """Run the code of a notebook in this process, and find the studies that are open at its end."""
    from IPython.core.interactiveshell import InteractiveShell

    from lwidgets.widgets.study import StudyWidget

    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"export: {notebook.name} must be a notebook, got something that is not ({type(error).__name__}). "
            "Open it in Jupyter to see what is wrong."
        ) from error
    before = set(StudyWidget.on_show())
    shell: Any = InteractiveShell.instance()
    sys.path.insert(0, str(notebook.resolve().parent))
    try:
        for number, source in enumerate(sources, 1):
            outcome = shell.run_cell(source, store_history=False)
            problem = outcome.error_before_exec or outcome.error_in_exec
            if problem is not None:
                raise RuntimeError(
                    f"export: code cell {number} of {notebook.name} must run, got {type(problem).__name__}: {problem}. "
                    "Run the notebook from the top in Jupyter."
                ) from problem
    finally:
        sys.path.remove(str(notebook.resolve().parent))
    return [widget for widget in StudyWidget.on_show() if widget not in before]


if __name__ == "__main__":
    sys.exit(main())
