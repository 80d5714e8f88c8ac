"""Where code runs: in which cell of which notebook, and whether somebody is there to see it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

WIDGET = "application/vnd.jupyter.widget-view+json"
"""How Jupyter shows a live widget."""
LIVE = "application/vnd.lwidgets.live.v1+json"
"""The same data under a name that only our extension for JupyterLab and Notebook 7 reads.

A program that makes a web page of a notebook prefers `WIDGET` to a still where the notebook holds the widgets' state
("Save Widget State"), and without a network then shows nothing.
"""

_NUMBER = re.compile(r"(?<=<ipython-input-)\d+-")  # IPython in a terminal counts its inputs in their names


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

    def repeats(self, other: Run | None) -> bool:
        """Whether this is a later run of the cell that the other was a run of.

        >>> Run("a", "2").repeats(Run("a", "1")), Run("a", "1").repeats(Run("a", "1"))
        (True, False)
        """
        return other is not None and self.cell == other.cell and self.number != other.number


def running_cell() -> Run | None:
    """The cell that is running, where the front end says which (JupyterLab, Notebook 7 and VS Code do)."""
    kernel = _kernel()
    get_parent = getattr(kernel, "get_parent", None)
    parent: Any = get_parent("shell") if get_parent is not None else {}
    cell = parent.get("metadata", {}).get("cellId") if parent else None
    return Run(str(cell), str(parent["header"]["msg_id"])) if cell else None


def run_that_declares(filename: str) -> Run | None:
    """The run of a cell in which a function is being declared; None in a script.

    Where the front end does not say which cell is running, one is known by its code: IPython names the "file" of a
    cell after its content. There a cell whose code was edited is another.

    Args:
        filename: ``function.__code__.co_filename``.
    """
    shell = _shell()
    if shell is None:
        return None
    return running_cell() or Run(_NUMBER.sub("", filename), str(shell.execution_count))


def _shell() -> Any:
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return None
    return get_ipython()


def _kernel() -> Any:
    return getattr(_shell(), "kernel", None)
