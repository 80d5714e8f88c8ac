"""Oracles and verify: figures, where it is worst, what does not apply, and every position."""

import numpy as np
import pytest
import torch

from lwidgets.check import Check, Report
from lwidgets.study import Study
from lwidgets.study.checks import agreement


@pytest.mark.parametrize(
    ("found", "known", "tol", "atol", "state", "detail"),
    [
        (28.8472, 28.8472, 1e-6, 0, "pass", "found 28.8472, expected 28.8472 (relative 0, tolerance 1e-06)"),
        (1 + 1e-9, 1, 1e-6, 0, "pass", "found 1, expected 1 (relative 1e-09, tolerance 1e-06)"),
        (1 + 1e-9, 1, 1e-12, 0, "fail", "found 1.000000001, expected 1 (relative 1e-09, tolerance 1e-12)"),
        (2.0, 1.0, 1e-6, 0, "fail", "found 2, expected 1 (relative 1, tolerance 1e-06)"),
        (1e-9, 0.0, 1e-6, 1e-8, "pass", "found 1e-09, expected 0 (off by 1e-09, tolerance 1e-06 and absolute 1e-08)"),
        (1e-9, 0.0, 1e-6, 0, "fail", "found 1e-09, expected 0 (off by 1e-09, tolerance 1e-06)"),
        (3, 3, 0, 0, "pass", "found 3, expected 3 (relative 0, to be equal)"),
        (5.5, 5, 0, 1, "pass", "found 5.5, expected 5 (off by 0.5, absolute 1)"),
        ([1, 2.5, 3], [1, 2, 3], 0.1, 0, "fail", "found 2.5, expected 2 at [1] (relative 0.25, tolerance 0.1)"),
        (np.ones((2, 2)), 1, 0.1, 0, "pass", "found 1, expected 1 at [0, 0] (relative 0, tolerance 0.1)"),
        (torch.ones(2, requires_grad=True), torch.ones(2), 0.1, 0, "pass", "found 1, expected 1 at [0]"),
        (torch.ones(2, dtype=torch.bfloat16), [1, 1], 0.1, 0, "pass", "found 1, expected 1 at [0]"),
        (True, True, 0, 0, "pass", "found 1, expected 1"),
        (1j, 1j, 0.1, 0, "pass", "found 0+1j, expected 0+1j"),
        (float("nan"), 1.0, 9.0, 9.0, "fail", "found nan, expected 1"),
        (1.0, float("nan"), 9.0, 9.0, "fail", "found 1, expected nan"),
        (float("inf"), float("inf"), 0.1, 0, "pass", "found inf, expected inf"),
        (1.0, float("inf"), 0.1, 0, "fail", "found 1, expected inf"),
        ([float("nan"), 7.0], [1.0, 1.0], 0.1, 0, "fail", "found nan, expected 1 at [0]"),
    ],
)
def test_the_figures_of_an_oracle(found, known, tol, atol, state, detail):
    check = agreement((found, known), tol, atol)
    assert check.state == state
    assert check.detail.startswith(detail)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (3.0, r"must return \(found, known\) or None, got float"),
        ((1, 2, 3), "must return"),
        (([1, 2], [1, 2, 3]), r"arrays of one shape, got \(2,\) found and \(3,\) known"),
        (([], []), "something to compare, got empty arrays"),
        (("a", "b"), "must return numbers, got <U1"),
        ((None, 1.0), "must return numbers, got object"),
    ],
)
def test_what_an_oracle_may_not_return(told, message):
    with pytest.raises((TypeError, ValueError), match=message):
        agreement(told, 0.1)


@pytest.fixture
def study():
    study = Study("Known", source="arXiv", claim="It holds.", limits="Not below 0.", citation="Somebody")
    study.slider("mu", 0.5, low=-1.0, high=2.0, step=0.1)
    study.slider("seed", 0, low=0, high=9)

    @study.node
    def found(mu, seed):
        yield 0.0
        yield mu**2 + (1e-3 if seed == 2 else 0.0)

    @study.oracle(tol=1e-6)
    def square(found, mu):
        """The square is right."""
        return (found, mu * mu) if mu >= 0 else None

    @study.oracle
    def broken(mu):
        """It returns a pair"""
        return mu if mu == 2 else (1, 1)

    yield study
    study.close()


def test_an_oracle_is_a_check_with_figures_and_none_where_it_does_not_apply(study):
    report = study.verify(10)
    assert report
    assert str(report).splitlines() == [
        "pass The square is right: found 0.25, expected 0.25 (relative 0, tolerance 1e-06)",
        "pass It returns a pair: found 1, expected 1 (relative 0, tolerance 1e-06)",
    ]
    study.set(mu=-1.0)
    assert list(study.verify(10).checks) == ["It returns a pair"]
    study.set(mu=2.0)
    assert study.verify(10).checks["It returns a pair"].detail.startswith("could not be run: TypeError: an oracle must")
    assert (study.paper, study.claim, study.limits, study.citation) == (
        "arXiv",
        "It holds.",
        "Not below 0.",
        "Somebody",
    )


def test_verify_at_every_position_names_it_and_puts_the_sliders_back(study):
    study.set(seed=1)
    report = study.verify(20, at={"mu": [-1.0, 0.5], "seed": [0, 2]})
    assert [(one.at, one.name, one.check.state) for one in report.verified if one.name.startswith("The")] == [
        ("mu = 0.5, seed = 0", "The square is right", "pass"),
        ("mu = 0.5, seed = 2", "The square is right", "fail"),
    ]
    assert len(report.verified) == len(report.checks) == 6
    assert not report
    assert report.checks["The square is right (mu = 0.5, seed = 2)"].state == "fail"
    assert study.values == {"mu": 0.5, "seed": 1}
    assert study.wait(10)
    assert study["found"] == 0.25
    assert len(study.verify(20, at={"mu": 4}).verified) == 7  # the square is not told at -1
    with pytest.raises(KeyError, match=r"Study\.verify: sliders must be among mu, seed, got 'nu'"):
        study.verify(at={"nu": [1]})
    with pytest.raises(ValueError, match=r"mu must lie in \[-1, 2\], got 7"):
        study.verify(at={"mu": [7]})


def test_verify_at_positions_ends_in_time_with_the_sliders_back(study, steps):
    @study.node
    def endless(mu, progress):
        while mu == 1:
            progress(0, 1)

    with pytest.raises(TimeoutError, match=r"checks must end within 0.2 s, got no end"):
        study.verify(0.2, at={"mu": [1.0]})
    assert study.values["mu"] == 0.5
    assert study.wait(10)


def test_every_failure_is_reported(study, pictures, note):
    @study.node
    def fails(mu):
        raise ValueError("no")

    @study.view
    def picture(mu):
        raise KeyError("none")

    report = study.verify(10)
    assert report.checks["computing fails"] == Check("fail", "ValueError: no")
    assert report.checks["view picture"] == Check("fail", "KeyError: 'none'")
    assert isinstance(report, Report)


def test_an_oracle_that_no_number_can_satisfy_is_refused(study):
    with pytest.raises(ValueError, match="tolerances must be 0 or more, got tol=-1"):
        study.oracle(tol=-1)
