"""The scripts of ipywidgets and bqplot that pip installed, for a page with the widgets of the notebook."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# Package -> its script for the classic Notebook, the one form that runs in any page. Front-end packages of the same
# names on npm lag behind these.
_SCRIPTS = {
    "widgetsnbextension": "jupyter-js-widgets/extension.js",
    "bqscales": "bqscales/index.js",
    "bqplot": "bqplot/index.js",
}


@dataclass(frozen=True)
class Bundle:
    """A script that pip installed.

    Attributes:
        name: Of the package, and of the module that it defines.
        code: JavaScript, below the package's licence.
    """

    name: str
    code: str


@cache
def bundles() -> tuple[Bundle, ...]:
    """The scripts of ipywidgets and bqplot, in the order in which they need each other.

    Raises:
        FileNotFoundError: One is not where pip puts it.
    """
    return tuple(Bundle(package, _code(package, script)) for package, script in _SCRIPTS.items())


def _code(package: str, script: str) -> str:
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    found = [Path(str(file.locate())) for file in files if file.as_posix().endswith(f"/nbextensions/{script}")]
    if not (found and found[0].is_file()):
        raise FileNotFoundError(
            f'to_html: kind="page" must find share/jupyter/nbextensions/{script} of the package {package}, got no '
            f'such file. Install {package} with pip, or use kind="figure".'
        )
    licences = [file.read_text().replace("*/", "") for file in files if file.parent.name == "licenses"]
    head = f"/* {package} {importlib.metadata.version(package)}"
    return "\n".join([head, *licences, "*/", found[0].read_text(encoding="utf-8")])
