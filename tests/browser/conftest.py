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
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A fresh page; when the test fails, what it showed and logged is kept in tests/browser/.failures."""
    with chromium_page(browser=browser) as page:
        yield page
        if getattr(request.node, "failed", False):
            FAILURES.mkdir(exist_ok=True)
            stem = FAILURES / re.sub(r"[^\w-]+", "_", request.node.name)
            page.screenshot(path=stem.with_suffix(".png"))
            stem.with_suffix(".log").write_text("\n".join(f"[{kind}] {text}" for kind, text in page.messages))


@pytest.fixture(autouse=True)
def no_kernel_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Stop the kernels that a test started."""
    yield
    for name in ("lab_server", "notebook_server"):
        if name in request.fixturenames:
            request.getfixturevalue(name).shut_down_kernels()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.when == "call" and report.failed:
        item.failed = True
    return report
