"""One thread and one seed for every test, so that a number seen here is the number seen again."""

import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile(
    "lwidgets", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("lwidgets")


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
