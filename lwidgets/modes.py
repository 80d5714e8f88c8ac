"""Dispatch modes that belong to the thread that enters them, and to nothing else."""

from __future__ import annotations

from typing import Self

from torch.utils._python_dispatch import TorchDispatchMode, _pop_mode, _push_mode


class ThreadMode(TorchDispatchMode):
    """A dispatch mode of this thread alone; torch's own also sets switches that all threads see."""

    def __enter__(self) -> Self:
        _push_mode(self)
        return self

    def __exit__(self, *_: object) -> None:
        _pop_mode(None)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: torch would import its compiler for that, in whatever thread comes first."""
        return False
