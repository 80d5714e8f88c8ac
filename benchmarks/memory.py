"""Peak memory of planes over a 100-million-parameter transformer, in times the model's own size.

    python benchmarks/memory.py

All of it moving, all of it moving with bfloat16 directions, and adapters only, each in a process of its own. The bar is
4: an origin, two directions, and one tensor at a time.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import lwidgets as lw

BAR = 4.0
KINDS: dict[str, tuple[dict[str, str], torch.dtype | None]] = {
    "everything moves": ({}, None),
    "everything moves, bfloat16 directions": ({}, torch.bfloat16),
    "adapters move": ({"params": "*lora*"}, None),
}


class Adapted(nn.Module):
    """A linear layer with a low-rank update, as LoRA has it."""

    def __init__(self, layer: nn.Linear, rank: int = 8) -> None:
        super().__init__()
        self.layer = layer
        self.lora_a = nn.Parameter(0.02 * torch.randn(rank, layer.in_features))
        self.lora_b = nn.Parameter(0.02 * torch.randn(layer.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + x @ self.lora_a.T @ self.lora_b.T


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.qkv = Adapted(nn.Linear(width, 3 * width))
        self.out = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norms[0](x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norms[1](x))))


class Transformer(nn.Module):
    def __init__(self, tokens: int = 16384, width: int = 768, depth: int = 12) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, width)
        self.blocks = nn.Sequential(*(Block(width, 12) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.norm(self.blocks(self.embedding(tokens))) @ self.embedding.weight.T


def next_token(model: nn.Module, tokens: Tensor) -> Tensor:
    return F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())


def resident() -> int:
    """Bytes of this process in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def measure(kind: str) -> float:
    """Peak of a 3x3 plane above model, data and one forward pass, in model sizes."""
    torch.manual_seed(0)
    model = Transformer()
    tokens = torch.randint(0, 16384, (2, 33))
    with torch.no_grad():
        next_token(model, tokens)
    size = sum(p.nbytes for p in model.parameters())
    baseline = resident()
    peak = [baseline]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            peak[0] = max(peak[0], resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    moved, dtype = KINDS[kind]
    objective = lw.Objective(model, tokens, loss=next_token, **moved)
    landscape = lw.sample(objective, lw.Plane.random(model).stored(dtype=dtype), resolution=(5, 5), tolerance=0)
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    ratio = (peak[0] - baseline) / size
    told = f"{size / 4e6:.0f} million | {landscape.evaluations} | {seconds:.1f} s | {ratio:.2f}"
    print(f"| {kind} | {told} | {landscape.error['loss']:.1g} |", flush=True)
    return ratio


def main() -> None:
    print("| plane | parameters | points | time | peak, in models | error of the loss |", flush=True)
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    failed = [subprocess.run([sys.executable, __file__, kind], check=False).returncode for kind in KINDS]
    sys.exit(any(failed))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(measure(sys.argv[1]) > BAR)
    main()
