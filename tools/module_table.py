"""The table of modules in docs/architecture.md, made from their docstrings: ``python tools/module_table.py``.

What a module is about is the first sentence of its docstring; its literature is what follows "Source:" anywhere in it.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/architecture.md"
BEGIN, END = "<!-- modules: python tools/module_table.py -->", "<!-- end of modules -->"
_SOURCE = re.compile(r"\bSources?:\s+(.*?)(?:\n\s*\n|\Z)", re.S)
_YEAR = re.compile(r"\b(?:19|20)\d\d\b")


def table(root: Path, modules: Sequence[str] = ()) -> str:
    """Markdown: a heading and a table for each folder.

    Args:
        root: Holds lwidgets/ and tests/.
        modules: Files below lwidgets/; by default all that say something.
    """
    package = root / "lwidgets"
    paths = [package / name for name in modules] or sorted(package.rglob("*.py"), key=_by_folder)
    lines = []
    for folder, group in groupby(paths, key=lambda path: path.parent.relative_to(root).as_posix()):
        rows = [row for path in group for row in _row(path, root, asked=bool(modules))]
        if rows:
            lines += [f"### {folder}/", "", "| what | file | test | literature |", "|---|---|---|---|", *rows, ""]
    return "\n".join(lines).rstrip()


def _by_folder(path: Path) -> tuple[str, str]:
    return path.parent.as_posix(), path.stem


def _row(path: Path, root: Path, *, asked: bool) -> Iterator[str]:
    tree = ast.parse(path.read_text("utf-8"))
    told = ast.get_docstring(tree)
    if told is None:
        if asked or ast.unparse(tree).strip():
            raise SystemExit(
                f"module_table: {path.relative_to(root)} must open with a docstring, got none. Say what it is."
            )
        return
    first = re.split(r"(?<!e\.g)(?<!i\.e)(?<!etc)\.(?:\s|$)", " ".join(told.split()), maxsplit=1)[0]
    folders = path.relative_to(root / "lwidgets").parts[:-1]
    own = Path("tests", *folders, f"test_{path.stem}.py")
    whole = Path("tests", *folders[:-1], f"test_{folders[-1]}.py") if folders else own
    tested = next((f"`{test.name}`" for test in (own, whole) if (root / test).exists()), "")
    found = [text for node in ast.walk(tree) for text in _literature(node)]
    cells = (first, f"`{path.name}`", tested, "; ".join(dict.fromkeys(found)))
    yield f"| {' | '.join(cell.replace('``', '`').replace('|', chr(92) + '|') for cell in cells)} |"


def _literature(node: ast.AST) -> Iterator[str]:
    """Author and year of every source that a docstring names: ``Garipov et al. 2018``."""
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
        return
    for source in _SOURCE.findall(ast.get_docstring(node) or ""):
        for part in re.split(r";\s|, and (?=[A-Z]\w+ et al)|(?<=\d\d\d\d), (?=[A-Z])", " ".join(source.split())):
            if year := _YEAR.search(part):
                author, *others = re.sub(r"^(?:and |\w+: )", "", part).split(",")
                several = others and re.fullmatch(r" [A-Z][\w-]+(?: and [A-Z][\w-]+)?", others[0])
                name = author[: found.start()].strip() if (found := _YEAR.search(author)) else author.strip()
                yield f"{name}{' et al.' if several and 'et al' not in name else ''} {year[0]}"


def replaced(text: str, root: Path = ROOT) -> str:
    """A page with its table made anew between the marks.

    Raises:
        ValueError: The page has no such marks.
    """
    before, after = text.split(BEGIN)[0], text.split(END)[-1]
    if before == text or after == text:
        raise ValueError(f"replaced: text must hold {BEGIN} and {END}, got neither or one. Put them in.")
    return f"{before}{BEGIN}\n\n{table(root)}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(replaced(PAGE.read_text("utf-8")), "utf-8")
    sys.stdout.write(f"{PAGE.relative_to(ROOT)}\n")
