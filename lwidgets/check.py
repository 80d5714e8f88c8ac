"""The outcome of self-checks: of a study, and of a picture that claims something of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """The outcome of one self-check.

    Attributes:
        state: "pass", "fail", "warn" (worth knowing before publishing) or "info".
        detail: What was found, with figures.
    """

    state: Literal["pass", "fail", "warn", "info"]
    detail: str

    @classmethod
    def that(cls, condition: bool, detail: str, otherwise: Literal["fail", "warn"] = "fail") -> Check:
        """Pass if the condition holds."""
        return cls("pass" if condition else otherwise, detail)


@dataclass(frozen=True)
class Verified:
    """The outcome of one self-check at a position of the sliders.

    Attributes:
        at: The position in words, "mu = 0.5, seed = 3".
        name: Of the check.
        check: Its outcome.
    """

    at: str
    name: str
    check: Check


@dataclass(frozen=True)
class Report:
    """All checks of a study at its present sliders, or at some positions of them. True when none failed.

    Attributes:
        checks: Name -> outcome, in the order they were declared; where there are positions, they are part of the name.
        verified: The outcomes at every position, if positions were asked for.
    """

    checks: dict[str, Check]
    verified: tuple[Verified, ...] = ()

    @classmethod
    def over(cls, verified: tuple[Verified, ...]) -> Report:
        """Of several positions."""
        return cls({f"{one.name} ({one.at})": one.check for one in verified}, verified)

    def __bool__(self) -> bool:
        return all(check.state != "fail" for check in self.checks.values())

    def __str__(self) -> str:
        return "\n".join(f"{check.state:5}{name}: {check.detail}" for name, check in self.checks.items())
