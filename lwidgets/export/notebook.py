"""Whether there is a notebook to show something in, and somebody before it."""

from __future__ import annotations

from typing import Any


def in_notebook() -> bool:
    """Whether this process is a Jupyter kernel."""
    return _kernel() is not None


def somebody_is_there() -> bool:
    """Whether the running cell was run by a person; programs that run notebooks do not offer to answer questions."""
    kernel = _kernel()
    return kernel is not None and bool(getattr(kernel, "_allow_stdin", True))


def _kernel() -> Any:
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return None
    shell: Any = get_ipython()
    return getattr(shell, "kernel", None)
