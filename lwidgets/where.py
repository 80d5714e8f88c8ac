"""Whether there is a notebook to show something in, and somebody before it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

WIDGET = "application/vnd.jupyter.widget-view+json"
"""How Jupyter shows a live widget."""
LIVE = "application/vnd.lwidgets.live.v1+json"
"""The same data under a name that only our extension for JupyterLab and Notebook 7 reads.

A program that makes a web page of a notebook prefers `WIDGET` to a still where the notebook holds the widgets' state
("Save Widget State"), and without a network then shows nothing.
"""


def in_notebook() -> bool:
    """Whether this process is a Jupyter kernel."""
    return _kernel() is not None


def somebody_is_there() -> bool:
    """Whether somebody sees the running cell live: a person who ran it, or the visitor of a page served from it.

    Programs that run notebooks do not offer to answer questions; Voila, which does not either, serves what comes out.
    """
    kernel = _kernel()
    served = os.environ.get("SERVER_SOFTWARE", "").startswith("voila")
    return kernel is not None and (served or bool(getattr(kernel, "_allow_stdin", True)))


@dataclass(frozen=True)
class Run:
    """One run of a cell.

    Attributes:
        cell: Which; the same when it is run again.
        number: Which run.
    """

    cell: str
    number: str


def running_cell() -> Run | None:
    """The cell that is running, where the front end says which (JupyterLab, Notebook 7 and VS Code do)."""
    kernel = _kernel()
    get_parent = getattr(kernel, "get_parent", None)
    parent: Any = get_parent("shell") if get_parent is not None else {}
    cell = parent.get("metadata", {}).get("cellId") if parent else None
    return Run(str(cell), str(parent["header"]["msg_id"])) if cell else None


def _kernel() -> Any:
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return None
    shell: Any = get_ipython()
    return getattr(shell, "kernel", None)
