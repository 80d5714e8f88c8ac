"""Peak memory of a plane over a 50-million-parameter module, in times the module's own size.

    python benchmarks/memory.py

The bar is 6: three basis vectors, one private copy of the module, and room for one tensor at a time.
"""

from __future__ import annotations

import resource
import sys
import threading
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

import lwidgets as lw


def resident() -> int:
    """Bytes of this process in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    wide = 2880
    layers = [nn.Linear(64, wide), *(nn.Linear(wide, wide) for _ in range(6)), nn.Linear(wide, 10)]
    model = nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU())))
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    data = torch.randn(8, 64), torch.randint(0, 10, (8,))
    with torch.no_grad():
        model(data[0])
    baseline = resident()
    peak = [baseline]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            peak[0] = max(peak[0], resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    objective = lw.Objective(model, data, loss=F.cross_entropy)
    landscape = lw.sample(objective, lw.Plane.random(model), resolution=17, tolerance=0)
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    ratio = (peak[0] - baseline) / size
    print(
        f"{size / 4e6:.1f} million parameters, {landscape.evaluations} points, {seconds:.1f} s: "
        f"peak {ratio:.2f} times the module above the baseline (bar: 6)"
    )
    sys.exit(ratio >= 6)


if __name__ == "__main__":
    main()
