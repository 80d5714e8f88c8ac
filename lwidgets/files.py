"""Writing files so that nothing which was there is lost."""

from __future__ import annotations

import os
import re
from pathlib import Path


def write_whole(path: str | Path, content: str | bytes) -> Path:
    """Write a file; an existing one is replaced only once the new one is complete.

    Args:
        path: Of the file.
        content: Text is written in UTF-8.

    Returns:
        The path written.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        unfinished.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def without_folders(text: str) -> str:
    r"""A message with every path in it cut down to its last part; addresses of pages stay.

    What is saved with a picture or shown to others must not tell whose machine it was made on.

    >>> without_folders("no '/home/someone/models/a.pt', see https://pytorch.org/docs")
    "no 'a.pt', see https://pytorch.org/docs"
    >>> without_folders(r"no C:\Users\someone\a.pt")
    'no a.pt'
    """
    text = re.sub(r"(?<![\w.:/])~?(?:/[\w.@+~ -]*\w)+/(?=[\w.@+~-])", "", text)
    return re.sub(r"\b[A-Za-z]:(?:\\+[\w.@+~ -]+)*\\+(?=[\w.@+~-])", "", text)
