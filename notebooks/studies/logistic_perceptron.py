"""With ever larger steps, gradient descent on separable data becomes the batch perceptron, and separates sooner."""

from functools import partial

import numpy as np
import torch
from walks import normal, over, real, run

import lwidgets as lw

SOURCE = "arXiv:2412.08424"
CITATION = "From logistic regression to the perceptron algorithm, arXiv:2412.08424"
LIMITS = "Two features and no bias. How many steps it takes is the data's; only the limit is exact."
STEPS, RATES = 3000, 10 ** np.linspace(-1, 3, 17)


def logistic(z):
    """Mean logistic loss at points w, of examples z = y x."""
    return lambda w: torch.nn.functional.softplus(-(w @ z.T)).mean(dim=1)


def wrong(z):
    """How many examples are classified wrongly."""
    return lambda w: (w @ z.T <= 0).sum(dim=1)


def descend(z, rates, steps=STEPS, **how):
    """Gradient descent from zero, a run for each rate, with the gradient by hand."""
    how = {"slope": lambda w: -(torch.sigmoid(-(w @ z.T)) @ z) / len(z), **how}
    return run(None, torch.zeros(len(rates), 2), rate=rates, steps=steps, **how)


def perceptron(z, w):
    """Down the mean of the examples that are wrong, and half of those on the boundary: the batch perceptron."""
    return -torch.heaviside(-(w @ z.T), real(0.5)) @ z / len(z)


def study() -> lw.Study:
    """100 examples of two features, separable with a margin."""
    study = lw.Study(
        "From logistic regression to the perceptron", source=SOURCE, claim=__doc__, limits=LIMITS, citation=CITATION
    )
    study.slider("rate", 10.0, low=0.1, high=1e4, step=0.25, log=True, label="step size")
    study.slider("margin", 0.1, low=0.02, high=0.5, step=0.02)
    study.slider("aspect", 3.0, low=0.5, high=6.0, step=0.5, help="How much longer than wide the cloud is")
    study.slider("seed", 0, low=0, high=20)

    @study.node
    def z(margin, aspect, seed):
        across, along = normal(2, 100, seed=seed)
        return torch.stack([aspect * (along + 0.5), margin + across.abs()], dim=1)

    @study.node(keep=32)
    def path(z, rate, progress):
        return descend(z, [rate], progress=progress)

    @study.node
    def walks(z, progress):
        return descend(z, RATES, progress=progress)

    @study.node
    def limit(z):
        return run(None, [0, 0], rate=1, steps=STEPS, slope=partial(perceptron, z))

    @study.view
    def plane(z, path):
        """Logistic loss over w"""
        low, high = path.points[:, 0].min(dim=0).values, path.points[:, 0].max(dim=0).values
        w1, w2 = torch.stack([1.1 * low - 0.1 * high, 1.1 * high - 0.1 * low], dim=1).tolist()
        land = over(logistic(z), {"w1": w1, "w2": w2}, log=True)
        return lw.Surface(land, log=True, panes="map", paths=[path.path("GD")], markers=[lw.Marker(0, 0, "start")])

    @study.view(beside="plane")
    def examples(z, path):
        """Examples, and the boundary at the end"""
        w, reach = path.points[-1, 0] / path.points[-1, 0].norm(), real([-1, 1]) * z.abs().max()
        points = [lw.Series(*part.T, name, style="points", width=4) for name, part in (("+", z[::2]), ("-", -z[1::2]))]
        boundary = lw.Series(-w[1] * reach, w[0] * reach, "boundary")
        return lw.Curves([*points, boundary], x="x1", y="x2", equal=True)

    @study.view
    def loss(z, path):
        """Logistic loss along training"""
        return lw.Curves([path.series(logistic(z), "gradient descent")], x="step", y="logistic loss", log="xy")

    @study.view(beside="loss")
    def errors(z, path, limit):
        """Examples classified wrongly"""
        lines = [path.series(wrong(z), "gradient descent"), limit.series(wrong(z), "perceptron")]
        return lw.Curves(lines, x="step", y="examples classified wrongly", log="x")

    @study.view
    def speed(z, walks, rate):
        """Steps until all are right for good, and the largest loss on the way"""
        right = walks.observe(wrong(z)) == 0
        steps = np.where(right[:, -1], STEPS + 1 - np.argmin(right[:, ::-1], axis=1), np.nan)
        worst = walks.observe(logistic(z)).max(axis=1)
        lines = [lw.Series(RATES, steps, "steps to separate"), lw.Series(RATES, worst, "largest loss")]
        return lw.Curves([*lines, lw.Rule(x=rate)], x="step size", y="steps, loss", log="xy")

    @study.oracle(atol=1e-5)
    def becomes_the_perceptron(z, limit):
        """At step size 1e6 every step, divided by it, is the batch perceptron's"""
        return descend(z, [1e6], 300).points / 1e6, limit.points[:301]

    return study
