"""Dispatch modes that belong to the thread that enters them, and to nothing else."""

from __future__ import annotations

from typing import Self

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class ThreadMode(TorchDispatchMode):
    """A dispatch mode that no other thread notices; a subclass says in ``__torch_dispatch__`` what it does."""

    def __init__(self) -> None:
        """Nothing is seen before it is entered."""
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here, and the import of torch._dynamo takes more than a second."""
        return False

    def __enter__(self) -> Self:
        """Push it on this thread's stack; torch's own method also sets flags that stop compilation in all threads."""
        torch._C._push_on_torch_dispatch_stack(self)
        return self

    def __exit__(self, *error: object) -> None:
        """Pop it."""
        torch._C._pop_torch_dispatch_stack(None)
