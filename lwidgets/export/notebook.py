"""Whether there is a notebook to show something in."""

from __future__ import annotations

from typing import Any


def in_notebook() -> bool:
    """Whether this process is a Jupyter kernel."""
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return False
    shell: Any = get_ipython()
    return shell is not None and hasattr(shell, "kernel")
