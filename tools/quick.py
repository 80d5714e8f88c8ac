"""Lint, types, and the tests of what changed, within a minute: ``make quick``.

A changed ``lwidgets/x/y.py`` asks for ``tests/x/test_y.py``, or, where there is none, for the tests of its folder; a
changed test asks for itself, and a changed doctest is run. Where nothing differs from the base, the last commit counts.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
WITHIN = 30  # seconds for tests; lint and types take the rest of the minute, beside them
ALWAYS = ("tests/test_layers.py",)


def changed(base: str, root: Path = ROOT) -> list[str]:
    """Files below the root that differ from a commit, committed or not, and are still there.

    Args:
        base: A commit; where nothing differs from it, what the last commit changed.
        root: Of the checkout.
    """

    def git(*arguments: str) -> list[str]:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"quick: --base must be a commit, got {base!r}: {done.stderr.strip()}")
        return done.stdout.splitlines()

    new = git("ls-files", "--others", "--exclude-standard")
    names = git("diff", "--name-only", "--relative", base, "--") + new
    if not names:
        names = git("diff", "--name-only", "--relative", "HEAD~1", "--")
    return sorted({name for name in names if (root / name).is_file()})


def speaking_of(names: Iterable[str], root: Path = ROOT) -> list[str]:
    """The tests, and the files with doctests, that speak of these files; tests first.

    Args:
        names: Files, as paths from the root.
        root: Of the checkout.
    """
    tests: dict[str, None] = dict.fromkeys(name for name in ALWAYS if (root / name).exists())
    doctests: dict[str, None] = {}
    for path in map(Path, names):
        if path.parts[0] == "tests" and path.name.startswith("test_"):
            tests[path.as_posix()] = None
        elif path.parts[0] == "lwidgets" and path.suffix == ".py":
            tests |= dict.fromkeys(_of_module(path, root))
            if ">>> " in (root / path).read_text("utf-8"):
                doctests[path.as_posix()] = None
        elif path.suffix == ".md" and (root / "tests/test_docs.py").exists():
            tests["tests/test_docs.py"] = None
    return [*tests, *doctests]


def _of_module(path: Path, root: Path) -> list[str]:
    folders = path.parts[1:-1]
    stem = folders[-1] if path.stem == "__init__" and folders else path.stem
    folders = folders[:-1] if path.stem == "__init__" else folders
    own = Path("tests", *folders, f"test_{stem}.py")
    if (root / own).exists():
        return [own.as_posix()]
    folder = Path("tests", *path.parts[1:-1])
    while len(folder.parts) > 1 and not (root / folder).is_dir():
        folder = folder.parent
    if len(folder.parts) == 1:
        print(f"quick: {path} has no {own}, and no folder of tests")
        return []
    return [folder.as_posix()]


def run(commands: Sequence[tuple[str, Sequence[str], Path]]) -> int:
    """Run commands side by side, show what each printed, and return how many failed.

    Args:
        commands: (name, arguments, folder) of each.
    """
    began = time.monotonic()
    running = [
        (name, subprocess.Popen(command, cwd=where, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        for name, command, where in commands
    ]
    failed = 0
    for name, process in running:
        printed, _ = process.communicate()
        failed += process.returncode != 0
        print(f"== {name}: {'failed' if process.returncode else 'passed'}\n{printed.rstrip()}", flush=True)
    print(f"quick: {failed or 'none'} of {len(running)} failed, {time.monotonic() - began:.0f} s")
    return failed


def main() -> int:
    """The exit status: 0 when all passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="HEAD", help="a commit; what differs from it is tested")
    chosen, rest = parser.parse_known_args()
    names = changed(chosen.base)
    print(f"quick: {len(names)} files differ: {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}", flush=True)
    tests = speaking_of(names)
    python = sys.executable
    pytest = [python, "-m", "pytest", "-q", f"--within={WITHIN}", "-m", "not browser and not packaging", *tests, *rest]
    commands: list[tuple[str, Sequence[str], Path]] = [
        ("ruff check", [python, "-m", "ruff", "check", "."], ROOT),
        ("ruff format", [python, "-m", "ruff", "format", "--check", "."], ROOT),
        ("mypy", [python, "-m", "mypy"], ROOT),
        ("pytest", pytest, ROOT),
    ]
    if any(name.startswith("js/") for name in names):
        commands.append(("npm", ["sh", "-c", "npm run check && npm run test:unit"], ROOT / "js"))
    return min(run(commands), 1)


if __name__ == "__main__":
    sys.exit(main())
