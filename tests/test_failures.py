"""Exceptions that are not ours: their words, what they carry, and what must not be passed on."""

import getpass
import socket
from dataclasses import dataclass

import pytest

from lwidgets.failures import hand_over, without_places, words_of


class Slotted(Exception):
    __slots__ = ()


@dataclass(frozen=True)
class Frozen(Exception):
    reason: str = "frozen"


class Closed(Exception):
    def __setattr__(self, name, value):
        raise AttributeError(name)


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no str")


class OwnEnd(BaseException):
    pass


KINDS = [Slotted, Frozen, Closed, Mute, OwnEnd, SystemExit, MemoryError]


@pytest.mark.parametrize("kind", KINDS)
def test_every_exception_can_carry_something(kind):
    error = kind()
    hand_over(error, "where", landscape=3)
    hand_over(error, "where", landscape=4)
    assert error.landscape == 4
    assert error.__notes__ == ["where"]


def test_notes_of_others_stay():
    error = ValueError()
    error.add_note("theirs")
    hand_over(error, "ours")
    assert error.__notes__ == ["theirs", "ours"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_exception_has_words(kind):
    assert words_of(kind()).startswith(kind.__name__)


@pytest.mark.parametrize(
    "place",
    [
        "/home/ada/private/kernels/cache.bin",
        "'/home/ada/my private/kernels/cache.bin'",
        r"C:\Users\ada\net.py",
        r"\\server\share\net.py",
        "~/models/a.pt",
        "models/a.pt",
        "file:///home/ada/a.pt",
        '"/tmp/x y/z"',
        "(/usr/lib/python3/site-packages/torch/__init__.py)",
    ],
)
def test_no_part_of_a_path_is_passed_on(place):
    told = without_places(f"cannot open {place}: not there")
    for part in ("ada", "private", "cache", "net.py", "a.pt", "tmp", "server", "models", "site-packages", "y"):
        assert part not in told.replace("...", "")
    assert told.startswith("cannot open ")
    assert told.endswith("not there")


def test_no_name_of_user_or_machine_is_passed_on(monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "lovelace")
    monkeypatch.setattr(socket, "gethostname", lambda: "engine7")
    assert without_places("lovelace@engine7 has no lovelaces") == "...@... has no lovelaces"


def test_words_without_places_stay():
    text = "differs from the loop: 1.5 instead of 1.25"
    assert without_places(text) == text
