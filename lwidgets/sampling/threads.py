"""How many threads torch computes with, for the calling thread alone.

``torch.set_num_threads`` also sets the number that every thread born from then on begins with, the user's included. The
libraries that do the work keep a number for each thread of their own: OpenMP's ``nthreads-var`` (OpenMP 5.2, section
18.2.1), and MKL's ``mkl_set_num_threads_local``. These are set here.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import torch

from lwidgets.failures import contextmanager

_outer = threading.local()  # .count: how many this thread had before it was told otherwise here
_LIBRARY = {"darwin": "libtorch_cpu.dylib", "win32": "torch_cpu.dll"}


@contextmanager
def using_threads(count: int) -> Iterator[None]:
    """Within: torch computes in this thread with so many threads; after it, with as many as before.

    Args:
        count: One of `thread_counts`.
    """
    before = torch.get_num_threads()
    setters = _setters() if count != before else ()
    outermost = getattr(_outer, "count", None) is None
    if outermost:
        _outer.count = before
    for setter in setters:
        setter(count)
    try:
        yield
    finally:
        for setter in setters:
            setter(before)
        if outermost:
            _outer.count = None


def thread_counts() -> list[int]:
    """Numbers of threads to choose from, the present one first; where it cannot be chosen, that one alone.

    Within `using_threads`, those that there were to choose from outside: what samples chooses for itself, also inside a
    function that does better with one thread as a whole.
    """
    mine = getattr(_outer, "count", None) or torch.get_num_threads()
    return sorted({mine, max(1, mine // 2), 1}, reverse=True) if _setters() else [mine]


@cache
def _setters() -> tuple[Callable[[int], object], ...]:
    """What sets the number for this thread, or nothing where torch was built in another way."""
    if "ATen parallel backend: OpenMP" not in torch.__config__.parallel_info():
        return ()
    try:  # the names are looked up in the library that torch has loaded, and in those that this one needs
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / _LIBRARY.get(sys.platform, "libtorch_cpu.so")))
        found: list[Callable[[int], object]] = [library.omp_set_num_threads]
    except (OSError, AttributeError):
        return ()
    if "USE_MKL=ON" in torch.__config__.show():
        try:
            found.append(library.MKL_Set_Num_Threads_Local)
        except AttributeError:  # MKL would go on with its own number
            return ()
    return tuple(found)
