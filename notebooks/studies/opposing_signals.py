"""Outliers set the sharpness at which the flow ends; where it exceeds 2 / eta, gradient descent jumps along them."""

from functools import partial

import numpy as np
import torch
from walks import RULES, descent, over, real, run, sharpness, within

import lwidgets as lw

SOURCE = "arXiv:2311.04163"
CITATION = "Outliers with opposing signals have an outsized effect on neural network optimization, arXiv:2311.04163"
LIMITS = "The loss is reconstructed. The flow ends at sharpness alpha beta only from c² = b² + b_o²."
RARE, WANTED = 20.0, 0.5  # an outlier is one example in 20, and adds or takes so much of the target
SEEN = real([[0, 0, 1], [0, 1, 0]])  # c and b_o


def losses(alpha, beta, p):
    """Of points (b, b_o, c): signal b, outliers' feature b_o, both times c."""
    b, o, c = p.T
    rest, size = (c * b - beta) ** 2 / 2, alpha * RARE
    plus, minus = (rest + size * (c * o - sign * WANTED) ** 2 / 2 for sign in (1, -1))
    return {"loss": rest + alpha * (c * o) ** 2 / 2, "group +": plus, "group -": minus, "rest": rest}


def slope(alpha, beta, p):
    """The gradient of the loss, by hand."""
    b, o, c = p.T
    miss, pull = c * b - beta, alpha * c * o
    return torch.stack([miss * c, pull * c, miss * b + pull * o], dim=1)


def start(scale):
    return real([scale, 0.01 * scale, scale])


def study() -> lw.Study:
    """Three weights, one signal and one pair of opposing groups."""
    study = lw.Study("Outliers with opposing signals", source=SOURCE, claim=__doc__, limits=LIMITS, citation=CITATION)
    study.slider("alpha", 12.0, low=1.0, high=20.0, step=1.0, help="Mean square of the outliers' feature")
    study.slider("beta", 2.0, low=0.5, high=4.0, step=0.5, help="Strength of the signal")
    study.slider("eta", 0.1, low=0.01, high=0.2, step=0.01, label="step size")
    study.slider("scale", 0.1, low=0.01, high=0.5, step=0.1, log=True, label="size at the start")
    study.slider("optimizer", "GD", options=tuple(RULES))

    @study.node(keep=32)
    def path(alpha, beta, eta, scale, optimizer, progress):
        return run(None, start(scale), optimizer, rate=eta, slope=partial(slope, alpha, beta), progress=progress)

    @study.node(slow=True)
    def phases(scale, progress):
        def final(at):
            rate, alpha = at[:, 0], at[:, 1] / 2
            ends = run(None, start(scale).expand(len(at), 3), rate=rate, slope=partial(slope, alpha, 2.0))
            return {"final sharpness eta / 2": sharpness(partial(losses, alpha, 2.0), ends.points[-1]) * rate / 2}

        return over(final, {"eta": (0.02, 0.2), "alpha beta": (2, 40)}, resolution=25, tolerance=0)

    @study.view
    def plane(path, alpha, beta):
        """Loss over c and b_o, at b = sqrt(beta)"""
        best = real([beta**0.5, 0, 0])
        loss = within(lambda p: losses(alpha, beta, p)["loss"].clamp(min=1e-3), best, SEEN)
        seen = over(loss, {"c": (0.0, beta**0.5 + 1), "b_o": (-1.0, 1.0)}, log=True)
        return lw.Surface(seen, log=True, panes="map", paths=[path.path("training", best, SEEN)])

    @study.view(beside="plane")
    def phase_map(phases, eta, alpha, beta):
        """Final sharpness times eta / 2, at beta = 2; hatched: it diverges"""
        edge = np.linspace(0.05, 0.2, 61)
        line = lw.Path(edge, 2 / edge, "alpha beta = 2 / eta")
        return lw.Surface(phases, panes="map", paths=[line], markers=[lw.Marker(eta, alpha * beta, "here")])

    @study.view
    def sharp(path, alpha, beta, eta):
        """Sharpness along training"""
        largest = path.series(partial(sharpness, partial(losses, alpha, beta)), "largest eigenvalue", width=4)
        known = path.series(lambda p: alpha * p[:, 2] ** 2, "alpha c²")
        flow = lw.Rule(y=alpha * beta, label="alpha beta", color=lw.palette.GREEN)
        return lw.Curves([largest, known, lw.Rule(y=2 / eta, label="2 / eta"), flow], x="step", y="sharpness")

    @study.view(beside="sharp")
    def groups(path, alpha, beta):
        """Losses of the two groups, and of all others"""
        names = ("group +", "group -", "rest")
        lines = [path.series(lambda p, name=name: losses(alpha, beta, p)[name].clamp(min=1e-3), name) for name in names]
        return lw.Curves(lines, x="step", y="loss of a group", log="y")

    @study.oracle(tol=0.05)
    def settles(sharp, alpha, beta, eta, optimizer):
        """Gradient descent ends at sharpness alpha beta where that is below 2 / eta"""
        return (sharp.items[0].y[-1], alpha * beta) if optimizer == "GD" and alpha * beta < 2 / eta else None

    @study.oracle(tol=1e-3)
    def conserved(alpha, beta):
        """The flow keeps k = c² - b² - b_o², and ends at sharpness alpha (k + sqrt(k² + 4 beta²)) / 2"""
        starts, k = real([[0.5, 0.1, 1.0], [0.6, 0.8, 1.0]]), real([0.74, 0.0])
        ends = descent(partial(losses, alpha, beta), starts, [0, 1e3]).points[-1]
        return sharpness(partial(losses, alpha, beta), ends), alpha * (k + (k**2 + 4 * beta**2) ** 0.5) / 2

    return study
