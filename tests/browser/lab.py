"""A real Jupyter server and a real Chromium, for tests that use widgets as a person does.

    with jupyter_server(tmp_path) as server, chromium_page() as page:
        write_notebook(server.root / "one.ipynb", ["import ipywidgets as w; s = w.IntSlider()", "s"])
        open_and_run(page, server, "one.ipynb")
        drag_slider(page.locator(".widget-slider"), to=0.5)
        wait_for_kernel(page, "s.value", lambda value: value == 50)
        assert not console_errors(page)

JupyterLab and Notebook 7 are the same application to this file: ``window.jupyterapp``, whose current widget
is the notebook panel. Waiting is done on its models, never by sleeping.
"""

import ast
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, sync_playwright

# ------------------------------------------------------------------------------------------------ server


CHECKOUT = Path(__file__).parents[2]
NEWS = "@jupyterlab/apputils-extension:notification"  # its question would cover a corner of the page
APPLICATIONS = {"lab": ("jupyterlab", "LabApp"), "notebook": ("notebook", "JupyterNotebookApp")}


@dataclass(frozen=True)
class Server:
    """A running Jupyter server: where it answers, what it serves, and which front end it opens."""

    url: str
    root: Path
    app: str
    log: Path

    def page_url(self, notebook: str) -> str:
        if self.app == "lab":
            return f"{self.url}/lab/tree/{notebook}?reset"  # reset: forget the tabs of the test before
        return f"{self.url}/notebooks/{notebook}"

    def request(self, method: str, path: str) -> Any:
        request = urllib.request.Request(f"{self.url}/{path}", method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    def shut_down_kernels(self) -> None:
        """Stop every kernel, so that the next test has the processors to itself."""
        for session in self.request("GET", "api/sessions"):
            self.request("DELETE", f"api/sessions/{session['id']}")


@contextmanager
def jupyter_server(
    root: Path, app: str = "lab", settings: dict[str, dict] | None = None, checkout: Path = CHECKOUT
) -> Iterator[Server]:
    """Serve ``root`` by JupyterLab (``"lab"``) or Notebook 7 (``"notebook"``) on a free port, with no token.

    Configuration, data, settings and workspaces live in ``root/.jupyter``: nothing of the user's is read or
    written. Kernels import the package of ``checkout``, and the front end loads the extension that was built in it:
    those that pip has installed may be older. ``settings`` overrides plug-in settings, e.g.
    ``{"@jupyterlab/apputils-extension:kernels-settings": {"commsOverSubshells": "disabled"}}``.
    """
    home = root / ".jupyter"
    folders = {
        "JUPYTER_CONFIG_DIR": home / "config",
        "JUPYTER_DATA_DIR": home / "data",
        "JUPYTER_RUNTIME_DIR": home / "runtime",
        "JUPYTERLAB_SETTINGS_DIR": home / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": home / "workspaces",
        "IPYTHONDIR": home / "ipython",
    }
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    extensions = home / "path" / "labextensions"
    extensions.mkdir(parents=True, exist_ok=True)
    (extensions / "lwidgets").symlink_to(checkout / "lwidgets" / "labextension")
    paths = {
        "JUPYTER_PATH": os.pathsep.join(filter(None, [str(home / "path"), os.environ.get("JUPYTER_PATH")])),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(checkout), os.environ.get("PYTHONPATH")])),
    }
    for plugin, values in ({NEWS: {"fetchNews": "false"}} | (settings or {})).items():
        extension, name = plugin.split(":")
        file = folders["JUPYTERLAB_SETTINGS_DIR"] / extension / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))

    module, application = APPLICATIONS[app]
    port = free_port()
    command = [
        *(sys.executable, "-m", module, "--no-browser", "--allow-root"),
        *(f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={root}"),
        *("--IdentityProvider.token=", "--ServerApp.password=", "--ServerApp.disable_check_xsrf=True"),
        *(f"--{application}.expose_app_in_browser=True", "--LabApp.news_url=None"),
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    log = home / "server.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=os.environ | {name: str(folder) for name, folder in folders.items()} | paths,
            start_new_session=True,  # so that its kernels stop with it
        )
    server = Server(f"http://127.0.0.1:{port}", root, app, log)
    try:
        wait_until_answering(server, process)
        yield server
    finally:
        stop(process)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_answering(server: Server, process: subprocess.Popen, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            server.request("GET", "api/status")
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(
        f"jupyter_server: {server.app} must answer within {seconds:g} s, got exit status {process.poll()}. "
        f"Its log ends:\n{server.log.read_text()[-3000:]}"
    )


def stop(process: subprocess.Popen) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
            process.wait(15)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


# ----------------------------------------------------------------------------------------------- browser

CHROMIUM_FLAGS = [
    "--enable-unsafe-swiftshader",  # WebGL2 without a GPU
    "--disable-gpu",
    # Nothing but this machine resolves, so a page that needs the network fails here as it would on a train.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

# Errors that the front ends log by themselves (pattern: reason), each as narrow as the file it comes from.
KNOWN_ERRORS = {
    r"TypeError.*reading 'schema'\)\s+at \S+/static/notebook/notebook_core": (
        "a listener of Notebook 7.6 asks its setting registry for a plug-in that is not loaded yet"
    ),
}


def find_chromium() -> str | None:
    """Return $CHROMIUM or an installed Chromium or Chrome; None leaves it to playwright's own download."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def chromium_page(
    size: tuple[int, int] = (1400, 1000),
    dark: bool = False,
    *,
    browser: Browser | None = None,
    reduced_motion: bool = False,
    scale: float = 1,
) -> Iterator[Page]:
    """Open a page without history, in ``browser`` or in one of its own; its messages go to console_errors.

    ``scale`` is how many pixels of the screen make one of the page.
    """
    if browser is None:
        with (
            chromium() as own,
            chromium_page(size, dark, browser=own, reduced_motion=reduced_motion, scale=scale) as page,
        ):
            yield page
        return
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce" if reduced_motion else "no-preference",
        device_scale_factor=scale,
        accept_downloads=True,
    )
    page = context.new_page()
    page.messages = []

    def note_message(message: Any) -> None:
        page.messages.append((message.type, f"{message.text} ({message.location.get('url', '')})"))

    page.on("console", note_message)
    page.on("pageerror", lambda error: page.messages.append(("error", f"uncaught: {error.stack or error}")))
    try:
        yield page
    finally:
        context.close()


def console_errors(page: Page) -> list[str]:
    """List what the page logged as errors, and exceptions nobody caught, but for KNOWN_ERRORS."""
    errors = [text for kind, text in page.messages if kind == "error"]
    return [text for text in errors if not any(re.search(known, text) for known in KNOWN_ERRORS)]


# --------------------------------------------------------------------------------------------- notebooks


def write_notebook(path: Path, cells: Iterable[str]) -> Path:
    """Write a notebook of code cells for the kernel that runs the tests."""
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in cells]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


def open_notebook(page: Page, server: Server, notebook: str, *, kernel: bool = True) -> None:
    """Open a notebook and wait until its document, and its kernel unless told otherwise, are ready."""
    page.goto(server.page_url(notebook), timeout=90_000)
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=90_000)
    # The panel shows before its kernel exists; cells run before that are lost.
    page.evaluate(
        """async (kernel) => {
            const panel = window.jupyterapp.shell.currentWidget;
            await panel.context.ready;
            if (!kernel) return;
            await panel.sessionContext.ready;
            await panel.sessionContext.session.kernel.info;
        }""",
        kernel,
    )


def open_and_run(page: Page, server: Server, notebook: str, timeout: float = 120) -> None:
    """Open a notebook, run all of its cells and wait for the last.

    Raises:
        RuntimeError: A cell failed or did not finish; the message has the outputs of every cell.
    """
    open_notebook(page, server, notebook)
    run_all(page, timeout)


def run_all(page: Page, timeout: float = 120) -> None:
    """Run all cells of the open notebook and wait for the last; fails as open_and_run does."""
    # Not awaited in evaluate: the command's result cannot be serialised, and a kernel may hang.
    page.evaluate(
        """() => {
            window.__ran = null;
            const run = window.jupyterapp.commands.execute('notebook:run-all-cells');
            run.then(() => { window.__ran = 'done'; }, (error) => { window.__ran = String(error); });
        }"""
    )
    end = time.monotonic() + timeout
    while (state := page.evaluate("() => window.__ran")) is None and time.monotonic() < end:
        page.wait_for_timeout(50)
    cells = cell_outputs(page)
    failed = [n for n, outputs in enumerate(cells) if any(o["output_type"] == "error" for o in outputs)]
    if state == "done" and not failed:
        return
    trouble = f"an error in cell {failed[0]}" if failed else f"{state or 'cells still running'}"
    raise RuntimeError(
        f"run_all: every cell must finish within {timeout:g} s without an error, got {trouble}.\n"
        + "\n".join(f"[{n}] {output_text(output)}" for n, outputs in enumerate(cells) for output in outputs)
    )


def cell_outputs(page: Page) -> list[list[dict[str, Any]]]:
    """Return the outputs of each code cell, as nbformat has them."""
    return page.evaluate(
        """() => {
            const cells = window.jupyterapp.shell.currentWidget.content.model.toJSON().cells;
            return cells.map((cell) => cell.outputs ?? []);
        }"""
    )


def output_text(output: dict[str, Any]) -> str:
    if output["output_type"] == "error":
        return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(output["traceback"]))
    text = output.get("text") or output.get("data", {}).get("text/plain", "")
    return "".join(text)


# ------------------------------------------------------------------------------------------------ kernel


def ask_kernel(page: Page, expression: str) -> Any:
    """Evaluate a Python expression in the notebook's kernel and return its value, by way of JSON.

    It goes through the shell channel, slider moves go through a subshell: after a move use wait_for_kernel.
    """
    answer = page.evaluate(
        """async (expression) => {
            const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
            const question = { code: '', silent: true, user_expressions: { it: expression } };
            const reply = await kernel.requestExecute(question).done;
            return reply.content.user_expressions.it;
        }""",
        f"__import__('json').dumps({expression})",
    )
    if answer["status"] != "ok":
        raise RuntimeError(
            f"ask_kernel: {expression!r} must be an expression with a JSON value, "
            f"got {answer['ename']}: {answer['evalue']}."
        )
    return json.loads(ast.literal_eval(answer["data"]["text/plain"]))


def wait_for_kernel(page: Page, expression: str, wanted: Callable[[Any], bool] = bool, timeout: float = 20) -> Any:
    """Ask the kernel until ``wanted(value)``, and return the value.

    Raises:
        AssertionError: It did not come to that in time; the message has the last value.
    """
    end = time.monotonic() + timeout
    while not wanted(value := ask_kernel(page, expression)):
        if time.monotonic() > end:
            raise AssertionError(f"wait_for_kernel: {expression} is {value!r} after {timeout:g} s.")
        page.wait_for_timeout(50)
    return value


# --------------------------------------------------------------------------------- hands on the controls


def drag_slider(slider: Locator, to: float, steps: int = 10) -> None:
    """Drag the (first) handle of a horizontal ipywidgets slider by mouse.

    Args:
        slider: The slider widget, ``.widget-slider``, or anything around one.
        to: Where on the track to let go, 0 at its left end, 1 at its right.
        steps: How many moves the way is made of; each is a message to the kernel.
    """
    slider.scroll_into_view_if_needed()
    handle, track = (slider.locator(part).first.bounding_box() for part in (".noUi-handle", ".noUi-base"))
    mouse, y = slider.page.mouse, handle["y"] + handle["height"] / 2
    mouse.move(handle["x"] + handle["width"] / 2, y)
    mouse.down()
    mouse.move(track["x"] + to * track["width"], y, steps=steps)
    mouse.up()


def press_slider(slider: Locator, key: str, times: int = 1) -> None:
    """Focus the handle of an ipywidgets slider and press a key on it.

    Notebook 7 eats the arrow keys of plain ipywidgets sliders; PageUp, PageDown, Home, End arrive.
    """
    handle = slider.locator(".noUi-handle").first
    handle.focus()
    for _ in range(times):
        handle.press(key)


def canvas_pixels(locator: Locator) -> np.ndarray:
    """Return what a person sees of an element: uint8, shape (height, width, 3)."""
    return np.array(Image.open(io.BytesIO(locator.screenshot())).convert("RGB"))
