"""A random slice meets the solutions as soon as its dimension is their codimension, of however many parameters."""

import numpy as np
import torch
from torch import nn
from walks import normal, over, train, within

import lwidgets as lw

SOURCE = "arXiv:1804.08838, section 2"
CITATION = "Measuring the intrinsic dimension of objective landscapes, arXiv:1804.08838"
LIMITS = "One slice is one draw: below the threshold its loss scatters widely about the mean (10 - d) / 10."
WANTED, DIMS, SLICES = torch.arange(1, 11, dtype=torch.float64), np.arange(1, 21), (2, 5, 10, 20, 50, 100, 200, 400)
SQUARES = 385.0  # 1² + ... + 10²


def toy(block):
    """The paper's example: ten blocks of numbers must sum to 1, ..., 10, so that solutions have codimension 10."""
    return lambda p: ((p.unflatten(1, (10, block)).sum(dim=2) - WANTED) ** 2).sum(dim=1)


def directions(size, d, seed):
    """d random rows of length 1."""
    rows = normal(d, size, seed=seed)
    return rows / rows.norm(dim=1, keepdim=True)


def best(block, d, seed):
    """The least loss in a random slice through zero, and where: exactly, for the toy is quadratic."""
    sums = directions(10 * block, d, seed).unflatten(1, (10, block)).sum(dim=2).T
    u = torch.linalg.lstsq(sums, WANTED[:, None]).solution[:, 0]
    return float((sums @ u - WANTED).square().sum()), u


def study() -> lw.Study:
    """The paper's toy, and a small network on digits."""
    study = lw.Study("Intrinsic dimension", source=SOURCE, claim=__doc__, limits=LIMITS, citation=CITATION)
    study.slider("d", 10, low=2, high=20, label="dimension of the slice", play=True)
    study.slider("block", 100, low=10, high=200, step=10, label="size of a block", help="D is ten times as much")
    study.slider("seed", 0, low=0, high=20)
    study.slider("width", 32, options=(8, 32, 128), label="width of the network")
    study.slider("share", 0.9, low=0.5, high=0.99, step=0.01, label="of the full accuracy")

    @study.view
    def least(block, seed, d):
        """Least loss in a slice of the toy"""
        found = np.maximum([best(block, int(k), seed)[0] for k in DIMS], 1e-26)
        mean = lw.Reference(DIMS[:9], (10 - DIMS[:9]) / 10 * SQUARES, "mean over slices")
        rules = [lw.Rule(x=10, label="codimension"), lw.Rule(x=d, color=lw.palette.GREEN)]
        items = [lw.Series(DIMS, found, "least loss"), mean, *rules]
        return lw.Curves(items, x="dimension d", y="loss", log="y", y_range=(1e-3, 2e3))

    @study.view
    def plane(d, block, seed):
        """The toy around the best point of the slice, along two of its directions"""
        rows, u = directions(10 * block, d, seed), best(block, d, seed)[1]
        size = max(1.0, 0.2 * float(u.norm()))
        ends = (-size, size)
        return lw.Surface(over(within(toy(block), u @ rows, rows[:2]), {"first": ends, "second": ends}))

    @study.node(keep=16, slow=True)
    def accuracies(width, seed, progress):
        images, labels = lw.demo.digits_data()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))
        size, found = sum(p.numel() for p in network.parameters()), []
        for d in (None, *SLICES):
            progress(len(found), 1 + len(SLICES))
            where = {} if d is None else {"directions": directions(size, d, seed), "rate": 0.1}
            trained = train(network, (images[:1400], labels[:1400]), nn.functional.cross_entropy, **where)
            found.append(float((trained(images[1400:]).argmax(dim=1) == labels[1400:]).double().mean()))
            yield tuple(found)

    @study.view
    def digits(accuracies, share):
        """A network on 1,400 digits, trained in random slices"""
        full, *found = accuracies
        line = lw.Series(SLICES[: len(found)], found, "in the slice")
        goal = lw.Rule(y=share * full, label=f"{share:.0%} of that of all parameters")
        return lw.Curves([line, goal], x="dimension d", y="test accuracy", log="x")

    @study.oracle
    def threshold(least):
        """The slice meets the solutions exactly from d = 10 on"""
        return least.items[0].y < 1e-18, DIMS >= 10

    @study.oracle(atol=0.04)
    def mean_residual(block):
        """On average over 400 slices, what is left is (10 - d) / 10 of 385"""
        ds = np.array([2, 5, 8])
        found = [np.mean([best(block, d, seed)[0] for seed in range(400)]) / SQUARES for d in ds]
        return found, (10 - ds) / 10

    return study
