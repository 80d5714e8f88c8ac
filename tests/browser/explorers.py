"""What an explorer shows in the browser, read back as numbers, and what the kernel says about the same.

explorer = Explorer(page, "surface", nth=1)      # variable in the kernel, place on the page
explorer.control("seed x").locator("...")
explorer.settle()                                # the kernel is done and the browser has drawn it
explorer.shown()["max"], explorer.ask("landscape.error")
"""

import base64
import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from lab import Server, ask_kernel, chromium_page, open_and_run, wait_for_kernel, write_notebook
from PIL import Image
from playwright.sync_api import Browser, Locator, Page

# Cells that most notebooks of these tests begin with. Nothing in `plain` but torch: the slow way to the same number.
SETUP = """
import numpy as np, torch
from torch.nn import functional as F
import lwidgets as lw
torch.set_num_threads(1)  # a second thread waits for the browser more than it helps

def plain(model, of):
    (images, labels), = of.data.batches
    with torch.no_grad():
        output = model(images)
        error = (output.argmax(1) != labels).float().mean()
        return {"loss": F.cross_entropy(output, labels).item(), "error": error.item()}

def reset(explorer):
    for name, slider in reversed(explorer.study.sliders.items()):
        setattr(explorer, name, slider.value)
"""
DIGITS = "objective, a, b = lw.demo.digits()"


@contextmanager
def notebook(
    server: Server, browser: Browser, name: str, cells: Sequence[str], size: tuple[int, int] = (1300, 1700), **page: Any
) -> Iterator[Page]:
    """A page, tall enough to show everything, with a notebook that has been run; its kernel ends with it."""
    write_notebook(server.root / f"{name}.ipynb", cells)
    with chromium_page(size, browser=browser, **page) as opened:
        open_and_run(opened, server, f"{name}.ipynb")
        yield opened
    server.shut_down_kernels()


@dataclass(frozen=True)
class Explorer:
    """An explorer on a page: its name in the kernel, and which of the page's explorers it is."""

    page: Page
    name: str
    nth: int = 0
    panel: str = "surface_picture"

    @property
    def surface(self) -> str:
        """What draws the surface, in the kernel, as an attribute of the explorer."""
        return f"panels.places[{self.panel!r}].view"

    @property
    def root(self) -> Locator:
        return self.page.locator(".lwidgets-explorer").nth(self.nth)

    def control(self, slider: str) -> Locator:
        return self.root.locator(f".lwidgets-{slider.replace('_', '-')}")

    def handle(self, slider: str, end: int = 0) -> Locator:
        return self.control(slider).locator(".noUi-handle").nth(end)

    @property
    def field(self) -> Locator:
        return self.root.locator(".lw-height-field")

    def pane(self, kind: str) -> Locator:
        """The canvas of a pane that takes focus and pointer; kind is "map" or "surface"."""
        return self.root.locator(f".lw-{kind} .lw-overlay")

    @property
    def readout(self) -> Locator:
        return self.root.locator(".lw-text .lw-readout")

    @property
    def status(self) -> Locator:
        return self.root.locator(".lw-status-root")

    def ask(self, attribute: str) -> Any:
        return ask_kernel(self.page, f"{self.name}.{attribute}")

    def wait_for(self, attribute: str, wanted: Callable[[Any], bool] = bool) -> Any:
        return wait_for_kernel(self.page, f"{self.name}.{attribute}", wanted)

    def set(self, **values: Any) -> None:
        """Set traits from Python, and settle."""
        for name, value in values.items():
            ask_kernel(self.page, f"setattr({self.name}, {name!r}, {value!r})")
        self.settle()

    def reset(self) -> None:
        """All sliders as they were, the pointer away."""
        self.page.mouse.move(2, 2)
        ask_kernel(self.page, f"reset({self.name})")
        self.settle()

    def settle(self, seconds: float = 60) -> None:
        """Wait until the kernel has dealt with the newest sliders and the browser has drawn the last frame."""
        assert self.ask(f"wait({seconds})"), f"{self.name} did not finish within {seconds} s"
        if self.field.count():
            tag = self.ask(f'{self.surface}.picture["tag"]')
            self.root.locator(f'.lw-height-field[data-tag="{tag}"][data-final="true"]').wait_for(timeout=10_000)
        steady(self.root)

    def shown(self) -> dict[str, str]:
        """The data attributes of the height field: what was drawn last."""
        return self.field.evaluate("(root) => ({ ...root.dataset })")

    def picture(self, kind: str = "map") -> np.ndarray:
        """Pixels of a pane without the pointer's cross and rings, float in [0, 1], shape (height, width, 4)."""
        url = self.root.locator(f".lw-{kind} .lw-base").evaluate("(canvas) => canvas.toDataURL()")
        image = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGBA")
        return np.asarray(image) / 255


def drawn(page: Page) -> None:
    """Wait for two animation frames: what had arrived before is on the screen."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))")


def steady(locator: Locator, milliseconds: int = 80) -> None:
    """Wait until an element has not changed for a while: bqplot moves its axes over some frames."""
    locator.evaluate(
        """(root, quiet) => new Promise((done) => {
            let timer;
            const observer = new MutationObserver(() => wait());
            const wait = () => {
                clearTimeout(timer);
                timer = setTimeout(() => { observer.disconnect(); requestAnimationFrame(() => done()); }, quiet);
            };
            observer.observe(root, { subtree: true, childList: true, attributes: true, characterData: true });
            wait();
        })""",
        milliseconds,
    )


def number(text: str) -> float:
    """A number as the front ends write it, with a true minus sign."""
    return float(text.replace("−", "-").replace(",", ""))


def numbers_after(text: str, name: str) -> list[float]:
    """Every number that follows a name in a text."""
    return [number(found) for found in re.findall(rf"\b{re.escape(name)} ([-−]?[\d.,]*\d(?:e[-+−]?\d+)?)", text)]


@dataclass(frozen=True)
class Curves:
    """A bqplot figure read back in the units of its axes."""

    lines: list[np.ndarray]
    dots: list[tuple[float, float]]


def read_figure(figure: Locator, log: bool = False) -> Curves:
    """Read the lines, shape (n, 2) each, and the scattered dots of a figure off its svg.

    Pixels become values by the axes' own tick labels, so labels, ticks and curves must fit each other.
    """

    def laid_out(found: dict[str, list]) -> bool:
        """Whether the ticks have places of their own; right after a page has opened they have not."""
        return all(len({at[i] for at, _ in found[axis]}) > 1 for i, axis in enumerate("xy"))

    read = r"""(figure) => {
            const shift = (node) => node.getAttribute('transform').match(/-?[\d.]+(?:e-?\d+)?/g).map(Number);
            const [x, y] = [...figure.querySelectorAll('.svg-background g.axis')].map((axis) =>
                [...axis.querySelectorAll('g.tick')].map((tick) => [shift(tick), tick.textContent]));
            const marks = figure.querySelector('.svg-figure');
            const lines = [...marks.querySelectorAll('g.curve path.line')].map((path) => path.getAttribute('d'));
            const dots = [...marks.querySelectorAll('g.object_grp')].map(shift);
            return { x, y, lines, dots };
        }"""
    found = figure.evaluate(read)
    for _ in range(50):
        if laid_out(found):
            break
        figure.page.wait_for_timeout(100)
        found = figure.evaluate(read)

    def ruler(ticks: list, axis: int, log: bool) -> Callable[[np.ndarray], np.ndarray]:
        pixels = [at[axis] - 0.5 for at, _ in ticks]  # d3 sets ticks half a pixel off, onto whole ones
        values = np.array([number(text) for _, text in ticks])
        slope, offset = np.polyfit(pixels, np.log(values) if log else values, 1)
        return lambda p: np.exp(slope * p + offset) if log else slope * p + offset

    x, y = ruler(found["x"], 0, False), ruler(found["y"], 1, log)

    def points(pixels: np.ndarray) -> np.ndarray:
        return np.stack([x(pixels[:, 0]), y(pixels[:, 1])], axis=1)

    lines = [
        points(np.array([[float(v) for v in pair.split(",")] for pair in re.findall(r"[-\d.e]+,[-\d.e]+", path or "")]))
        for path in found["lines"]
        if path
    ]
    dots = points(np.array(found["dots"]).reshape(-1, 2))
    return Curves(lines, [tuple(dot) for dot in dots.tolist()])
