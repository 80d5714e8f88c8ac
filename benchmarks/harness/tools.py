"""The tools that the table compares. Each is one function: a problem and a number of points an axis -> a surface."""

from __future__ import annotations

import contextlib
import copy
import importlib
import importlib.util
import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from time import perf_counter
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

import lwidgets as lw
from harness.models import Problem

TOLERANCE = 1e-2
_INTERRUPTIONS, _LOOPS = 40, 4  # of the exact run, and points of the plain loop in each


@dataclass(frozen=True)
class Tool:
    """A row of the table.

    Attributes:
        name: As in the table; lwidgets is called in two ways.
        run: Draws the problem's plane on side x side points.
        module: What it needs from PyPI, or nothing.
        recalibrates: Whether it can give BatchNorm the statistics of the point.
        threads: Of torch; None leaves the machine's default.
        same_points: Whether its points are the plane's own grid, so that values can be compared pixel by pixel.
    """

    name: str
    run: Callable[[Problem, int], Any]
    module: str | None = None
    recalibrates: bool = False
    threads: int | None = None
    same_points: bool = False

    @property
    def title(self) -> str:
        return f"{self.name} {metadata.version(self.module)}" if self.module else self.name

    def why_not(self, batchnorm: str) -> str:
        """What keeps it from drawing a model in this BatchNorm mode; empty when nothing does."""
        if self.module and importlib.util.find_spec(self.module.replace("-", "_")) is None:
            return "not installed"
        return "" if self.recalibrates or batchnorm == "frozen" else "cannot recalibrate"


def lwidgets_exact(problem: Problem, side: int) -> lw.Landscape:
    return _sample(problem, side, 0.0)


def lwidgets_tolerant(problem: Problem, side: int) -> lw.Landscape:
    return _sample(problem, side, TOLERANCE)


def lwidgets_next(problem: Problem, side: int) -> lw.Landscape:
    """Another seed of a model that was looked at before; of no point is a value remembered."""
    if problem.model not in _LOOKED_AT:
        _LOOKED_AT[problem.model] = _objective(problem)
    return _draw(_LOOKED_AT[problem.model], problem, side, TOLERANCE)


_LOOKED_AT: dict[nn.Module, lw.Objective] = {}


def _sample(problem: Problem, side: int, tolerance: float) -> lw.Landscape:
    """From the model and its data to the picture, nothing prepared and nothing remembered."""
    return _draw(_objective(problem), problem, side, tolerance)


def _objective(problem: Problem) -> lw.Objective:
    return lw.Objective(problem.model, problem.data, loss=F.cross_entropy, batchnorm=problem.batchnorm)


def _draw(objective: lw.Objective, problem: Problem, side: int, tolerance: float) -> lw.Landscape:
    plane = lw.Plane.random(problem.model, problem.seeds)
    return lw.sample(objective, plane, resolution=side, tolerance=tolerance, cache=False)


def plain_loop(problem: Problem, side: int) -> np.ndarray:
    """What a competent user writes: parameters set in place, one forward pass of all data for each point."""
    with torch.inference_mode():
        return np.reshape(list(plain_points(problem, side)), (side, side))


def plain_points(problem: Problem, side: int) -> Iterator[float]:
    """The values of the plain loop, one after another; to be asked for in inference mode."""
    model = copy.deepcopy(problem.model)
    inputs, labels = problem.data
    x, y = (list(direction.values()) for direction in problem.directions)
    moving = list(model.parameters())
    origin = [p.clone() for p in moving]
    for _, _, a, b in grid(problem, side):
        torch._foreach_copy_(moving, origin)
        torch._foreach_add_(moving, x, alpha=a)
        torch._foreach_add_(moving, y, alpha=b)
        if problem.batchnorm == "recalibrate":
            recalibrate(model, inputs)
        yield F.cross_entropy(model(inputs), labels).item()


def lwidgets_and_loop(problem: Problem, side: int) -> tuple[lw.Landscape, float, float]:
    """Every pixel by lwidgets, with points of the plain loop in between, so that a drift of the machine meets both.

    Returns:
        The landscape, and seconds a point of each.
    """
    loop = plain_points(problem, side)
    every = max(1, side**2 // _INTERRUPTIONS)
    ours = loops = 0.0
    began = perf_counter()

    def interrupt(done: int, total: int) -> None:
        nonlocal ours, loops, began
        if done % every == 0:
            ours += perf_counter() - began
            with torch.inference_mode():
                next(loop)  # finds its weights and data out of the caches
                began = perf_counter()
                for _ in range(_LOOPS):
                    next(loop)
                loops += perf_counter() - began
            began = perf_counter()

    objective = _objective(problem)
    plane = lw.Plane.random(problem.model, problem.seeds)
    landscape = lw.sample(objective, plane, resolution=side, tolerance=0.0, cache=False, progress=interrupt)
    ours += perf_counter() - began
    return landscape, ours / side**2, loops / _LOOPS / (side**2 // every)


def recalibrate(model: nn.Module, inputs: Tensor) -> None:
    """Reset BatchNorm, and average its statistics over one pass."""
    layers = [part for part in model.modules() if isinstance(part, _BatchNorm)]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
        layer.train()
    model(inputs)
    for layer in layers:
        layer.eval()


def loss_landscapes(problem: Problem, side: int) -> np.ndarray:
    """Its plane through three models: a corner of ours and the two corners beside it."""
    peer = importlib.import_module("loss_landscapes")
    loss = importlib.import_module("loss_landscapes.metrics").Loss(F.cross_entropy, *problem.data)
    corner, right, above = (moved(problem, a, b) for a, b in ((-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0)))
    return peer.planar_interpolation(corner, right, above, loss, steps=side, deepcopy_model=True)


def loss_landscape_3d(problem: Problem, side: int) -> np.ndarray:
    """Its calculator, with a copied centre (it writes into the one it is given) and the data as one batch."""
    peer = importlib.import_module("loss_landscape_3d")
    calculator = peer.LossLandscapeCalculator(copy.deepcopy(problem.model), [problem.data], F.cross_entropy)
    centre = copy.deepcopy(problem.model.state_dict())
    columns, rows = (axis.grid(side) for axis in problem.plane.axes)
    return calculator.calculate(columns, rows, *problem.directions, center_state=centre)


def landscaper(problem: Problem, side: int) -> np.ndarray:
    """Its sampler alone: importing the package itself needs topopy, which needs numpy below 2."""
    directions = [[tensor.clone() for tensor in direction.values()] for direction in problem.directions]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        values, _ = _landscaper().compute_loss_landscape(
            copy.deepcopy(problem.model),
            problem.data,
            directions,
            lambda model, data: F.cross_entropy(model(data[0]), data[1]).item(),
            steps=side,
            distance=1.0,
            dim=2,
            device=problem.data[0].device.type,
        )
    return values


def _landscaper() -> ModuleType:
    """``landscaper.compute`` without the package's ``__init__``."""
    if "landscaper" not in sys.modules:
        spec = importlib.util.find_spec("landscaper")
        sys.modules["landscaper"] = importlib.util.module_from_spec(spec)
    return importlib.import_module("landscaper.compute")


def moved(problem: Problem, a: float, b: float) -> nn.Module:
    """A copy of the model at a point of the plane."""
    model = copy.deepcopy(problem.model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(problem.directions[0][name], alpha=a).add_(problem.directions[1][name], alpha=b)
    return model


def grid(problem: Problem, side: int) -> Iterator[tuple[int, int, float, float]]:
    """Row, column and coordinates of every point."""
    columns, rows = (axis.grid(side).tolist() for axis in problem.plane.axes)
    return ((i, j, a, b) for i, a in enumerate(columns) for j, b in enumerate(rows))


TOLERANT = Tool("lwidgets, 1 %", lwidgets_tolerant, recalibrates=True)
NEXT = Tool("lwidgets, next seed", lwidgets_next, recalibrates=True)
EXACT = Tool("lwidgets, every pixel", lwidgets_exact, recalibrates=True, same_points=True)
LOOP = Tool("plain loop", plain_loop, recalibrates=True, same_points=True)
OTHERS = (
    LOOP,
    Tool("plain loop, 1 thread", plain_loop, recalibrates=True, threads=1, same_points=True),
    Tool("loss-landscapes", loss_landscapes, "loss-landscapes"),
    Tool("Landscaper", landscaper, "landscaper"),
    Tool("loss-landscape-3d", loss_landscape_3d, "loss-landscape-3d", same_points=True),
)
