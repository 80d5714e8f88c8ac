"""The built JavaScript that is part of the package."""

from __future__ import annotations

from pathlib import Path


def script(name: str) -> Path:
    """Return the built script of a widget.

    Args:
        name: File name in ``lwidgets/static``, e.g. ``"picture.js"``.

    Returns:
        The path of an existing file.

    Raises:
        FileNotFoundError: The script was not built.

    Example:
        >>> script("no_such.js")
        Traceback (most recent call last):
        ...
        FileNotFoundError: script: lwidgets/static must hold no_such.js, got no such file. Run `make build`.
    """
    path = Path(__file__).parent / "static" / name
    if not path.is_file():
        raise FileNotFoundError(f"script: lwidgets/static must hold {name}, got no such file. Run `make build`.")
    return path
