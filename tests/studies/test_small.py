"""Studies are written in small functions."""

import ast
from pathlib import Path

import pytest

import lwidgets

LINES = 60
FILES = sorted((Path(lwidgets.__file__).parent / "studies").rglob("*.py"))


def lengths(source):
    """Name -> lines of every function, from its first decorator on."""
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    return {f.name: f.end_lineno - min(n.lineno for n in (f, *f.decorator_list)) + 1 for f in functions}


def test_lines_are_counted_with_what_is_inside_and_above():
    assert lengths("@here\ndef f():\n    def g():\n        pass\n    return g\n") == {"f": 5, "g": 2}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_no_function_is_long(file):
    assert {name: n for name, n in lengths(file.read_text(encoding="utf-8")).items() if n > LINES} == {}


def test_the_files_are_there():
    assert {"surface", "curve", "layers", "connectivity", "merging", "mixture", "paths"} <= {f.stem for f in FILES}
