"""One direction: no file imports what stands to its right, lazily or for types either, and nothing in a circle."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "lwidgets"

# From left to right: what, where, how, result, what it tells, picture, study, page, widget, ready-made studies. What
# samples (`sampling`) knows no landscape; what makes one of it (`sampling.sample`) stands right of it.
# An entry is a module, or a folder with all that it holds; the longest that fits a module counts.
# Modules of one entry may import each other, as long as that makes no circle. A helper stands to the left of its users.
ROOMS = """
    version failures pauses files palette check progress doors where assets metrics weights normals modes attention
    batch noise data means measures hooks wrappers batchnorm checkpoints
    parameters directions basis replica objective
    calls features gradients demo
    subspaces
    sampling
    barrier landscape
    sampling.sample sampling.polish sampling.__init__
    distances connectivity symmetry grams merging
    pictures
    study
    studies
    export
    widgets
    explorers
    cli __init__
"""
ORDER = ROOMS.split()

# (file, what it imports although that stands to its right). An exception that is not needed any more fails the test.
EXCEPTIONS: set[tuple[str, str]] = set()

# Pairs of files that import each other, one of them for types alone.
CIRCLES: set[frozenset[str]] = set()

WIDGET_LIBRARIES = {"anywidget", "bqplot", "bqscales", "ipywidgets"}
# Files to the left of `widgets` that import a widget library all the same.
WITH_WIDGETS: set[str] = set()


@dataclass(frozen=True)
class Import:
    """A line of a file: which module of ours imports which, or which other package."""

    importer: str
    imported: str
    line: int

    def __str__(self) -> str:
        return f"{self.importer} (line {self.line}) imports {self.imported}"


def modules(package: Path) -> dict[str, Path]:
    """Name below the package -> file; a folder's own file is ``folder.__init__``."""
    return {".".join(path.relative_to(package).with_suffix("").parts): path for path in package.rglob("*.py")}


def imports(package: Path) -> Iterator[Import]:
    """Every import statement anywhere in the package: at the top, in functions, for types."""
    known = modules(package)

    def ours(dotted: str) -> str:
        name = dotted.removeprefix(package.name).removeprefix(".")
        return name if name in known else f"{name}.__init__".removeprefix(".")

    for importer, path in known.items():
        parents = (package.name, *importer.split("."))[:-1]
        text = path.read_text("utf-8")
        by_name = "import_module(" in text  # then names of modules in strings, as in a table of lazy ones, count
        for node in ast.walk(ast.parse(text)):
            targets: list[str] = []
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                above = parents[: len(parents) - node.level + 1] if node.level else ()
                base = ".".join([*above, *([node.module] if node.module else [])])
                for alias in node.names:
                    part = f"{base}.{alias.name}".removeprefix(f"{package.name}.")
                    targets.append(f"{base}.{alias.name}" if part in known or f"{part}.__init__" in known else base)
            elif by_name and isinstance(node, ast.Constant) and ours(str(node.value)) in known:
                targets = [node.value] if str(node.value).startswith(f"{package.name}.") else []
            for target in dict.fromkeys(targets):
                inside = target.split(".")[0] == package.name
                yield Import(importer, ours(target) if inside else target.split(".")[0], getattr(node, "lineno", 0))


def place(module: str, order: list[str]) -> int:
    """Where a module stands, counted from the left."""
    fitting = [entry for entry in order if f"{module}.".startswith(f"{entry}.")]
    assert fitting, f"{module} stands nowhere. Add it to ORDER of {Path(__file__).name}, left of all that import it."
    return order.index(max(fitting, key=len))


def upward(found: Iterable[Import], order: list[str], known: Iterable[str]) -> list[Import]:
    known = set(known)
    return [i for i in found if i.imported in known and place(i.importer, order) < place(i.imported, order)]


def circles(found: Iterable[Import], known: Iterable[str]) -> list[list[str]]:
    """Sets of modules each of which imports, in the end, every other."""
    graph: dict[str, set[str]] = {name: set() for name in known}
    for i in found:
        if i.imported in graph:
            graph[i.importer].add(i.imported)
    reached = {name: _reached(name, graph) for name in graph}
    return [
        group
        for name in graph
        for group in [sorted(other for other in reached[name] if name in reached[other])]
        if group and name == group[0]
    ]


def _reached(name: str, graph: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    ahead = list(graph[name])
    while ahead:
        if (other := ahead.pop()) not in seen:
            seen.add(other)
            ahead += graph[other]
    return seen


@pytest.fixture(scope="module")
def found() -> list[Import]:
    return list(imports(PACKAGE))


def test_every_module_has_its_place_and_every_place_a_module():
    names = modules(PACKAGE)
    taken = {place(name, ORDER) for name in names}
    assert [entry for i, entry in enumerate(ORDER) if i not in taken] == [], "ORDER names what is not there any more"
    assert len(set(ORDER)) == len(ORDER)


def test_nothing_imports_what_stands_to_its_right(found):
    wrong = upward(found, ORDER, modules(PACKAGE))
    assert [str(i) for i in wrong if (i.importer, i.imported) not in EXCEPTIONS] == []
    assert EXCEPTIONS - {(i.importer, i.imported) for i in wrong} == set(), "no longer needed: take them off the list"


def test_no_circle_among_modules(found):
    # What an exception allows may close a circle; without those lines there is none but the pairs of the list.
    kept = [i for i in found if (i.importer, i.imported) not in EXCEPTIONS]
    assert {frozenset(group) for group in circles(kept, modules(PACKAGE))} == CIRCLES


def test_only_widgets_and_what_stands_to_their_right_import_a_widget_library(found):
    left = {
        i.importer: str(i)
        for i in found
        if i.imported in WIDGET_LIBRARIES and place(i.importer, ORDER) < ORDER.index("widgets")
    }
    assert [told for name, told in left.items() if name not in WITH_WIDGETS] == []
    assert WITH_WIDGETS - set(left) == set(), "no longer needed: take them off the list"


def test_every_way_to_import_is_seen(tmp_path):
    package = tmp_path / "house"
    for name, text in {
        "__init__.py": "",
        "left.py": "def late():\n    from house.right import x\n",
        "typed.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house import right\n",
        "named.py": "import importlib\nimportlib.import_module('house.right')\n",
        "near.py": "from . import right\nfrom .room.sofa import y\n",
        "right.py": "import house.left as other\nimport bqplot.marks\n",
        "room/__init__.py": "",
        "room/sofa.py": "from .. import near\nfrom house.room import z\n",
    }.items():
        path = package / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    found = {(i.importer, i.imported, i.line) for i in imports(package)}
    assert found >= {
        ("left", "right", 2),
        ("typed", "right", 3),
        ("named", "right", 2),
        ("near", "right", 1),
        ("near", "room.sofa", 2),
        ("right", "left", 1),
        ("right", "bqplot", 2),
        ("room.sofa", "near", 1),
        ("room.sofa", "room.__init__", 2),
    }
    order = ["left", "typed", "named", "near", "room", "right", "__init__"]
    wrong = upward(imports(package), order, modules(package))
    assert {i.importer for i in wrong} == {"left", "typed", "named", "near"}
    assert circles(imports(package), modules(package)) == [["left", "right"], ["near", "room.sofa"]]
    with pytest.raises(AssertionError, match=r"right stands nowhere\. Add it to ORDER"):
        place("right", ["left"])
