"""Seconds, FLOPs and bytes. Run as a module, this is the child process in which one tool's memory is seen alone."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from harness.models import Case, Problem, cases
from harness.tools import EXACT, NEXT, OTHERS, TOLERANT, Tool, plain_loop

SIDES = (5, 9, 17, 33, 65)  # each grid is part of the next, and all of them of 65


@contextmanager
def threads_of(tool: Tool) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(tool.threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    """How long a call takes, and what it returns. Every tool fetches its values, so a device has finished."""
    began = time.perf_counter()
    result = run()
    return time.perf_counter() - began, result


def affordable_side(tool: Tool, problem: Problem, resolution: int, allowed: float) -> int:
    """The finest grid of which a tool's run should take no more than ``allowed`` seconds; also warms it up."""
    with threads_of(tool):
        tool.run(problem, SIDES[0])
        a_point = seconds(lambda: tool.run(problem, SIDES[0]))[0] / SIDES[0] ** 2
    return max(side for side in SIDES if side <= resolution and (side == SIDES[0] or side**2 * a_point <= allowed))


def flops(problem: Problem) -> int:
    """Multiplications and additions of one evaluation, as torch counts them: matrix products and convolutions."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        plain_loop(problem, 2)
    return counter.get_total_flops() // 4


def gemm_peak(device: str) -> float:
    """FLOP/s of the fastest float32 matrix product seen, on torch's threads."""
    best = 0.0
    for size in (1024, 1536, 2048) if device == "cpu" else (4096, 8192):
        a, b = torch.randn(2, size, size, device=device)
        out = torch.empty_like(a)
        for _ in range(8):
            taken, _ = seconds(lambda a=a, b=b, out=out: torch.mm(a, b, out=out)[0, 0].item())
            best = max(best, 2 * size**3 / taken)
    return best


def peak_memory(tool: Tool, case: Case, model: nn.Module, resolution: int) -> int | None:
    """Bytes a tool adds to a process that holds the model and the data; None where the system does not tell."""
    device = next(model.parameters()).device
    if device.type == "cuda":
        problem = Problem.of(case, model, (0, 1))
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        _draw_some(tool, problem, resolution)
        return torch.cuda.max_memory_allocated() - before
    if not Path("/proc/self/clear_refs").exists():
        return None
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "model.pt"
        torch.save(model.state_dict(), state)
        command = [sys.executable, "-m", "harness.measure", case.key, tool.name, str(state), str(resolution)]
        here = Path(__file__).parents[1]
        told = subprocess.run(command, cwd=here, check=True, capture_output=True, text=True).stdout
    return int(told)


def _draw_some(tool: Tool, problem: Problem, resolution: int) -> None:
    """Enough to see the peak: memory does not grow with the number of points."""
    with threads_of(tool):
        tool.run(problem, resolution if tool in (TOLERANT, NEXT) else SIDES[0])


def _child(key: str, name: str, state: str, resolution: str) -> None:
    case = cases()[key]
    tool = next(tool for tool in (TOLERANT, NEXT, EXACT, *OTHERS) if tool.name == name)
    model = case.make()
    model.load_state_dict(torch.load(state, weights_only=True))
    problem = Problem.of(case, model.eval().requires_grad_(False), (0, 1))
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far, of imports, is forgotten
    before = _status("VmRSS")
    _draw_some(tool, problem, int(resolution))
    print(_status("VmHWM") - before)


def _status(field: str) -> int:
    """Bytes, from the kernel's account of this process."""
    return 1024 * int(re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)[1])


class Watch:
    """How much of the processors others took since it was made: their noise is in every figure."""

    def __init__(self) -> None:
        self._began, self._busy, self._ours = time.perf_counter(), _busy(), _ours()

    @property
    def others(self) -> float:
        """Share of all cores; nan where the system does not tell."""
        elapsed = time.perf_counter() - self._began
        return max(0.0, _busy() - self._busy - (_ours() - self._ours)) / (elapsed * (os.cpu_count() or 1))


def _busy() -> float:
    """Seconds that the cores together were not idle, whoever they worked for."""
    source = Path("/proc/stat")
    if not source.exists():
        return math.nan
    user, nice, system, _idle, _waiting, *interrupts_and_stolen = map(int, source.read_text().split()[1:9])
    return (user + nice + system + sum(interrupts_and_stolen)) / os.sysconf("SC_CLK_TCK")


def _ours() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def machine(device: str) -> str:
    """The machine and the versions, for the line above the table."""
    if device == "cuda":
        what = torch.cuda.get_device_name()
    else:
        info = Path("/proc/cpuinfo")
        named = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
        what = f"{named[1] if named else 'CPU'}, {os.cpu_count()} cores"
    python = ".".join(map(str, sys.version_info[:2]))
    return f"{what}, torch {torch.__version__} on {torch.get_num_threads()} threads, Python {python}"


if __name__ == "__main__":
    _child(*sys.argv[1:])
