"""``make quick``: which files differ, and which tests speak of them; and what tests ask of the machine."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import quick  # noqa: E402

sys.path.pop(0)


@pytest.fixture
def checkout(tmp_path):
    def write(name, text=""):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def git(*arguments):
        who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True)

    for name in ("sofa", "room/__init__", "room/bed", "room/rules/sleep", "alone"):
        write(f"lwidgets/{name}.py", '""">>> 1 + 1\n2\n"""' if name == "sofa" else "")
    for name in ("test_sofa.py", "test_room.py", "room/test_bed.py", "conftest.py", "test_layers.py", "test_docs.py"):
        write(f"tests/{name}")
    write(".gitignore", "*.log\n")
    git("init", "-q", "-b", "main")
    git("add", "-A")
    git("commit", "-q", "-m", "one")
    return tmp_path, write, git


def test_what_differs_is_what_is_changed_or_new_and_still_there(checkout):
    root, write, git = checkout
    write("lwidgets/sofa.py", "x = 1")
    git("add", "-A")
    git("commit", "-q", "-m", "two")
    assert quick.changed("HEAD", root) == ["lwidgets/sofa.py"]  # nothing differs: the last commit
    write("lwidgets/room/bed.py", "y = 1")
    write("tests/test_new.py")
    write("server.log")
    (root / "lwidgets/alone.py").unlink()
    assert quick.changed("HEAD", root) == ["lwidgets/room/bed.py", "tests/test_new.py"]
    assert quick.changed("HEAD~1", root) == ["lwidgets/room/bed.py", "lwidgets/sofa.py", "tests/test_new.py"]
    with pytest.raises(SystemExit, match="--base must be a commit, got 'nowhere'"):
        quick.changed("nowhere", root)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((), []),
        (("lwidgets/room/bed.py",), ["tests/room/test_bed.py"]),
        (("lwidgets/room/__init__.py",), ["tests/test_room.py"]),
        (("lwidgets/room/rules/sleep.py",), ["tests/room"]),
        (("tests/test_room.py", "tests/conftest.py"), ["tests/test_room.py"]),
        (("docs/a.md", "README.md"), ["tests/test_docs.py"]),
        (
            ("lwidgets/sofa.py", "tests/room/test_bed.py"),
            ["tests/test_sofa.py", "tests/room/test_bed.py", "lwidgets/sofa.py"],
        ),
        (("js/src/a.ts", "lwidgets/alone.py"), []),
    ],
)
def test_tests_come_before_doctests_and_layers_always(checkout, names, expected):
    assert quick.speaking_of(names, checkout[0]) == ["tests/test_layers.py", *expected]


def test_each_command_is_shown_and_one_that_fails_counts(capsys, tmp_path):
    fine, bad = [sys.executable, "-c", "print('well')"], [sys.executable, "-c", "print('ill'); raise SystemExit(3)"]
    assert quick.run([("a", fine, tmp_path), ("b", bad, tmp_path)]) == 1
    told = capsys.readouterr().out
    assert "== a: passed\nwell" in told
    assert "== b: failed\nill" in told
    assert "quick: 1 of 2 failed" in told


def test_no_test_begins_after_its_time(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--within=0",
            str(ROOT / "tests/test_metrics.py"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "not begun within 0 s" in done.stdout
    assert " passed" not in done.stdout


def test_what_has_the_machine_for_itself_is_there(request):
    (conftest,) = (p for p in request.config.pluginmanager.get_plugins() if hasattr(p, "ALONE"))
    assert conftest.ALONE
    assert [name for name in conftest.ALONE if not (ROOT / "tests" / name).exists()] == []


def test_what_hypothesis_draws_does_not_depend_on_what_is_loaded():
    from hypothesis.internal.conjecture.providers import HypothesisProvider

    assert not list(HypothesisProvider(None)._local_constants.set_for_type("integer"))  # the package has many
