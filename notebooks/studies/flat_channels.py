"""Pairs of neurons lead along nearly flat channels to infinity, where they act as a gated linear unit."""

import numpy as np
import torch
from walks import descent, hessian, minimised, normal, over, real

import lwidgets as lw

SOURCE = "arXiv:2506.14951, figure 6"
CITATION = "Flat channels to infinity in neural loss landscapes, arXiv:2506.14951"
LIMITS = "Two neurons and one input; the loss along a channel is that of the chart, where w, c and a stay as they are."
X = torch.linspace(-8, 8, 201, dtype=torch.float64)  # for sums over a standard normal input; 8,001 give the same digits
DENSITY = torch.exp(-(X**2) / 2) / torch.exp(-(X**2) / 2).sum()
STATIONARY = {0.866296: 0.0423721520, 1.39955415: 0.0471160275, 3.150432: 0.000773332542}  # w -> loss at infinity
W, SECOND, CURVATURE = 1.39955415, 3.1504324225, 1.0147e-3  # best single neuron, second channel, (L - L_inf) / eps²
AXES = real([[0, 0, 1, -1], [1, -1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1]]) / 2**0.5  # two to be seen, two minimised over


def s(z):
    return torch.erf(z / 2**0.5)


TARGET = s(5 * X - 2.5) + s(5 * X + 2.5)


def net(p):
    """Of points (w1, w2, c1, c2), at every X."""
    return p[:, 2:3] * s(p[:, :1] * X) + p[:, 3:] * s(p[:, 1:2] * X)


def loss(p):
    return (net(p) - TARGET) ** 2 @ DENSITY


def best(features):
    """Loss and coefficients of the best combination of features (..., X, k)."""
    gram, right = features.mT @ (DENSITY[:, None] * features), features.mT @ (DENSITY * TARGET)[:, None]
    found = torch.linalg.lstsq(gram, right).solution
    return ((features @ found)[..., 0] - TARGET) ** 2 @ DENSITY, found[..., 0]


def gated(w):
    """What two neurons become at infinity: s(w x), and x times its slope. For w of shape (..., 1)."""
    return torch.stack([s(w * X), X * (2 / np.pi) ** 0.5 * torch.exp(-((w * X) ** 2) / 2)], dim=-1)


def channel(w, eps):
    """Points of the channel at w, (w + eps, w - eps, (c ± a / eps) / 2), and the loss at infinity."""
    infinite, (c, a) = best(gated(real(w)))
    return torch.stack([w + eps, w - eps, (c + a / eps) / 2, (c - a / eps) / 2], dim=1), infinite


def saddle(mu):
    """The best single neuron, shared between two: mu of it, and 1 - mu."""
    c, mu = best(s(W * X)[:, None])[1][0], real(mu)
    return torch.stack([W + 0 * mu, W + 0 * mu, mu * c, (1 - mu) * c], dim=-1)


def study() -> lw.Study:
    """Figure 6 of the paper."""
    study = lw.Study("Flat channels to infinity", source=SOURCE, claim=__doc__, limits=LIMITS, citation=CITATION)
    study.slider("eps", 0.1, low=0.01, high=0.5, step=0.05, log=True, help="Half the distance of the input weights")
    study.slider("w", 3.15, low=0.4, high=4.0, step=0.05, help="Where the channel runs")
    study.slider("mu", 1.5, low=-2.0, high=3.0, step=0.1, label="position on the saddle line")
    study.slider("seed", 0, low=0, high=20, label="perturbation at the saddle")

    @study.node(slow=True)
    def profile(progress):
        least = minimised(loss, saddle(0.5), AXES[:2], AXES[2:], starts=[[0, 0], [-2, 0], [2, 0]], progress=progress)
        return over(least, {"along the line": (-5, 5), "neurons apart": (-2, 2)}, log=True)

    @study.node(keep=32)
    def path(mu, seed):
        return descent(loss, saddle(mu) + 0.01 * normal(4, seed=seed), [0, *np.geomspace(0.1, 1e5, 300)])

    @study.view
    def surface(profile, path, mu):
        """Least loss over the two other directions, and a gradient flow from the saddle line"""
        start = lw.Marker(float((saddle(mu) - saddle(0.5)) @ AXES[0]), 0.0, "start")
        flow = path.path("gradient flow", saddle(0.5), AXES[:2])
        return lw.Surface(profile, log=True, paths=[flow], markers=[start])

    @study.view
    def function(w, eps):
        """What the two neurons compute"""
        at_infinity, student = gated(real([w])) @ best(gated(real(w)))[1], net(channel(w, real([eps]))[0])[0]
        target = lw.Series(X, TARGET, "target", lw.palette.GRAY, width=6)
        lines = [lw.Series(X, student, "student"), lw.Series(X, at_infinity, "at infinity")]
        return lw.Curves([target, *lines], x="x", y="f(x)", x_range=(-4, 4))

    @study.view(beside="function")
    def infinity(w):
        """The loss at infinity has the paper's three stationary points"""
        ws = torch.linspace(0.4, 4, 361, dtype=torch.float64)
        found = best(gated(real([*STATIONARY])[:, None]))[0]
        points = lw.Series([*STATIONARY], found, "stationary", style="points", width=8)
        known = lw.Reference([*STATIONARY], [*STATIONARY.values()], "paper", of="stationary", tol=1e-6, style="points")
        line = lw.Series(ws, best(gated(ws[:, None]))[0], "min over c, a")
        return lw.Curves([line, points, known, lw.Rule(x=w)], x="w", y="loss at infinity", log="y")

    @study.view
    def scaling(w, eps):
        """Along a channel the loss falls like eps²"""
        at = torch.logspace(-2, -0.3, 35, dtype=torch.float64)
        p, infinite = channel(w, at)
        line, level = lw.Series(at, (loss(p) - infinite) / at**2), lw.Rule(y=CURVATURE, label="second channel")
        return lw.Curves([line, level, lw.Rule(x=eps)], x="eps", y="(L - L_inf) / eps²", log="x")

    @study.view(beside="scaling")
    def stability(mu):
        """The saddle line is stable exactly for mu in [0, 1]"""
        at = torch.linspace(-2, 3, 51, dtype=torch.float64)
        least = torch.linalg.eigvalsh(hessian(loss, saddle(at)))[:, 0]
        return lw.Curves([lw.Series(at, least), lw.Rule(x=mu)], x="mu", y="smallest eigenvalue")

    @study.oracle(tol=1e-8)
    def saddle_line():
        """The whole saddle line has the loss of the best single neuron"""
        return loss(saddle([-2, -1, 0, 1, 2, 3])), STATIONARY[W]

    @study.oracle
    def stable(stability):
        """Its smallest eigenvalue is negative outside of mu in [0, 1], and nowhere else"""
        mu, least = stability.items[0].x, stability.items[0].y
        return least < -1e-6, (mu < -1e-9) | (mu > 1 + 1e-9)

    @study.oracle(tol=1e-3)
    def limit():
        """(L - L_inf) / eps² goes to 1.0147e-3 in the second channel, extrapolated from eps = 0.02 and 0.01"""
        eps = real([0.02, 0.01])
        p, infinite = channel(SECOND, eps)
        wide, narrow = (loss(p) - infinite) / eps**2
        return (4 * narrow - wide) / 3, CURVATURE

    return study
