"""One thread and one seed for every test, so that a number seen here is the number seen again."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

settings.register_profile(
    "lwidgets", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("lwidgets")

# Hypothesis tries numbers that it finds in the code of all modules that happen to be loaded, so what a test is given
# would depend on which tests ran before it in the same process. There is no setting for it.
if not callable(getattr(providers, "_get_local_constants", None)):
    raise RuntimeError(
        "conftest: hypothesis must have providers._get_local_constants, got none. See what took its place."
    )
providers._get_local_constants = providers.Constants

# Files whose tests wait or count in milliseconds, or start processes or threads of their own that fill the machine.
# `make unit` runs them after the others, one by one.
ALONE = {
    "studies/test_checks.py",
    "sampling/test_executors.py",
    "sampling/test_threads.py",
    "test_pauses.py",
    "study/test_latest.py",
    "study/test_waiting_views.py",
    "study/test_races.py",
    "study/test_slow.py",
    "study/test_study.py",
    "study/test_threads.py",
    "widgets/test_output.py",
}
TESTS = Path(__file__).parent
BEGAN = time.monotonic()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--within", type=float, metavar="SECONDS", help="begin no further test after so many seconds")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        path = item.path
        if path.is_relative_to(TESTS) and path.relative_to(TESTS).as_posix() in ALONE:
            item.add_marker("alone")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    within = item.config.getoption("--within")
    if within is not None and time.monotonic() - BEGAN > within:
        pytest.skip(f"not begun within {within:g} s")


@pytest.fixture(autouse=True)
def one_thread_and_a_fixed_seed() -> Iterator[None]:
    threads, python = torch.get_num_threads(), random.getstate()
    numpy_ = np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.set_num_threads(1)
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002 - the code under test must leave the global generator alone
        yield
    torch.set_num_threads(threads)
    random.setstate(python)
    np.random.set_state(numpy_)  # noqa: NPY002


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> Iterator[None]:
    """Values measured by another test are measured again."""
    from lwidgets.sampling import cache

    cache._shared.clear()
    yield
    cache._shared.clear()
