"""What runs beside an explorer is not disturbed: compiled training, first optimizer steps, the random stream.

    python benchmarks/undisturbed.py [--seconds 12] [--rounds 1]

Each try is a process of its own. For compiled training: backend x width x explorer, with a slider dragged, and how many
steps it made; for a first optimizer step: the delay after an explorer was made. A line for each failure, and a count.
"""

import argparse
import itertools
import subprocess
import sys

TRAINING = """
import sys, time, warnings, torch
from torch import nn
from torch.nn import functional as F
import lwidgets as lw
warnings.simplefilter("ignore")
torch.set_num_threads(1)
torch.manual_seed(0)
kind, backend, width, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
x, y = torch.randn(1500, 64), torch.arange(1500) % 10
def net():
    return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))
a, b = net(), net()
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
fast, optimizer = torch.compile(model, backend=backend), torch.optim.Adam(model.parameters())
few, classes = torch.randn(300, 64), torch.arange(300) % 10
def step():
    optimizer.zero_grad()
    F.cross_entropy(fast(few), classes).backward()
    optimizer.step()
objective = lw.Objective(a, (x, y), loss=F.cross_entropy, metrics={"error": lw.metrics.error})
explorer = {
    "surface": lambda: lw.SurfaceExplorer(objective),
    "curve": lambda: lw.CurveExplorer(objective, a, b),
    "layers": lambda: lw.LayerwiseExplorer(objective, a, b),
    "connectivity": lambda: lw.ConnectivityExplorer(objective, a, b),
    "merging": lambda: lw.MergingExplorer(net(), [a, b], [objective, objective.with_model(b)]),
}[kind]()
moves = {"surface": "seed_x", "curve": "alpha", "layers": "metric", "connectivity": "alpha", "merging": "scale"}
name, options = moves[kind], explorer.study.sliders[moves[kind]].options
began, steps, drawn = time.time(), 0, 0
while time.time() - began < seconds:
    step()
    steps += 1
    if steps % 20 == 0:
        torch.manual_seed(42)
        first = torch.rand(3)
        torch.manual_seed(42)
        assert torch.equal(first, torch.rand(3)), "the random stream"
        drawn += 1
    if steps % 50 == 0 and explorer.wait(0):
        place = options[steps // 50 % len(options)] if options else steps if name == "seed_x" else steps % 100 / 100
        explorer.study.set(**{name: place})
assert torch.get_num_threads() == 1, "threads"
explorer.close()
print(steps)
"""

FIRST_STEP = """
import sys, time, torch
from torch import nn
from torch.nn import functional as F
import lwidgets as lw
from lwidgets.sampling import evaluate
torch.set_num_threads(1)
x, y = torch.randn(1500, 64), torch.arange(1500) % 10
model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
explorer = lw.SurfaceExplorer(lw.Objective(model, (x, y), loss=F.cross_entropy))
time.sleep(float(sys.argv[1]))
def step():
    optimizer = torch.optim.Adam(model.parameters())
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    optimizer.step()
step()
step()
explorer.wait(60)
step()
explorer.close()
evaluate._WORTH = 0.0
objective = lw.Objective(model, (x[:50], y[:50]), loss=F.cross_entropy)
facts = lw.sample(objective, lw.Plane.random(model), resolution=9, tolerance=0, cache=False).provenance["sampling"]
assert any(name.startswith("traced") for name in facts["strategies"]), facts
print("ok")
"""


def run(script: str, *arguments: object) -> str:
    """What a process says last, or how it failed."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout if done.returncode == 0 else f"FAILED {done.stderr}").strip().splitlines()[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    failed, tries = 0, 0
    kinds = ("surface", "curve", "layers", "connectivity", "merging")
    for _, kind, backend, width in itertools.product(range(asked.rounds), kinds, ("eager", "inductor"), (64, 512)):
        told = run(TRAINING, kind, backend, width, asked.seconds)
        tries, failed = tries + 1, failed + (not told.isdigit())
        print(f"training beside {kind:12} {backend:8} width {width:3}: {told}", flush=True)
    for _, delay in itertools.product(range(3 * asked.rounds), range(11)):
        told = run(FIRST_STEP, delay / 20)
        tries, failed = tries + 1, failed + (told != "ok")
        print(f"first step {delay / 20:.2f} s after an explorer: {told}", flush=True)
    print(f"{failed} of {tries} failed")


if __name__ == "__main__":
    main()
