"""Servers for the session, a browser for each file, a page and no left-over kernel for each test."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import Server, chromium, chromium_page, jupyter_server
from playwright.sync_api import Browser, Page

FAILURES = Path(__file__).parent / ".failures"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker("browser")


@pytest.fixture(scope="session")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """JupyterLab."""
    with jupyter_server(tmp_path_factory.mktemp("lab"), "lab") as server:
        yield server


@pytest.fixture(scope="session")
def notebook_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Notebook 7."""
    with jupyter_server(tmp_path_factory.mktemp("notebook"), "notebook") as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for a file of tests: playwright's event loop must not outlive it into other tests."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page."""
    with chromium_page(browser=browser) as page:
        yield page


@pytest.fixture(autouse=True)
def no_kernel_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Stop the kernels that a test with a page of its own started; pages of a whole file keep theirs."""
    yield
    if "page" not in request.fixturenames:
        return
    for name in ("lab_server", "notebook_server"):
        if name in request.fixturenames:
            request.getfixturevalue(name).shut_down_kernels()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """When a test fails, keep what its page showed and logged."""
    report = yield
    values = [getattr(value, "page", value) for value in getattr(item, "funcargs", {}).values()]
    pages = [value for value in values if isinstance(value, Page)]
    if report.when == "call" and report.failed and pages:
        FAILURES.mkdir(exist_ok=True)
        stem = FAILURES / re.sub(r"[^\w-]+", "_", item.name)
        pages[0].screenshot(path=stem.with_suffix(".png"))
        stem.with_suffix(".log").write_text("\n".join(f"[{kind}] {text}" for kind, text in pages[0].messages))
    return report
