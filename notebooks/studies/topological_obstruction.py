"""A neuron with |w|² < v² keeps the sign of v; with the wrong signs, training ends at a loss above zero."""

import numpy as np
import torch
from scipy.optimize import nnls
from scipy.stats import f as fisher
from walks import normal, real, run

import lwidgets as lw

SOURCE = "arXiv:2410.14837"
CITATION = "Topological obstruction to the training of shallow ReLU neural networks, arXiv:2410.14837"
LIMITS = "Right signs are not enough: of six starts with + and -, one stops at 0.182067. The teacher is our own."
TEACHER, OUT = torch.eye(2, dtype=torch.float64), real([1, -1])  # relu(x1) - relu(x2): an output weight of each sign


def kernel(u, v):
    """E relu(u x) relu(v x) for x ~ N(0, I), the arc-cosine kernel; u (..., k, 2), v (..., l, 2)."""
    lengths = u.norm(dim=-1)[..., :, None] * v.norm(dim=-1)[..., None, :]
    cosine = ((u @ v.mT) / lengths).clamp(-1 + 1e-12, 1 - 1e-12)
    return lengths / (2 * np.pi) * ((1 - cosine**2).sqrt() + (np.pi - cosine.acos()) * cosine)


def loss(p):
    """Over all inputs, exactly, at points (w1, w2, v): two neurons."""
    w, v = p[:, :4].unflatten(1, (2, 2)), p[:, 4:]
    own, cross = (kernel(w, w) @ v[:, :, None])[:, :, 0], kernel(w, TEACHER) @ OUT
    return ((v * own).sum(1) - 2 * (v * cross).sum(1) + OUT @ kernel(TEACHER, TEACHER) @ OUT) / 2


def floor(directions=720):
    """Least loss of any network, however wide, whose output weights are all positive: it is convex in them."""
    angle = torch.arange(directions, dtype=torch.float64) * 2 * np.pi / directions
    units = torch.stack([angle.cos(), angle.sin()], dim=1)
    gram = kernel(units, units) + 1e-10 * torch.eye(directions)
    right, root = kernel(units, TEACHER) @ OUT, torch.linalg.cholesky(gram).mT
    best = real(nnls(root.numpy(), torch.linalg.solve(root.mT, right).numpy())[0])
    return float(best @ gram @ best - 2 * best @ right + OUT @ kernel(TEACHER, TEACHER) @ OUT) / 2


def length(p):
    """|w| of every neuron, as (walks and neurons, T) of points (T, walks, 6)."""
    return p[..., :4].unflatten(-1, (2, 2)).norm(dim=-1).flatten(1).T


def output(p):
    """v of every neuron, likewise."""
    return p[..., 4:].flatten(1).T


def study() -> lw.Study:
    """Two neurons learn a teacher with one output weight of each sign."""
    study = lw.Study("Topological obstruction", source=SOURCE, claim=__doc__, limits=LIMITS, citation=CITATION)
    study.slider("w_scale", 0.4, low=0.1, high=2.0, step=0.1, label="|w| at the start")
    study.slider("v_scale", 1.2, low=0.1, high=2.0, step=0.1, label="|v| at the start")
    study.slider("signs", "+ +", options=("+ +", "+ -", "- -"), help="Of the output weights; the teacher has + -")
    study.slider("eta", 0.05, low=0.005, high=0.2, step=0.1, log=True, label="step size")

    @study.node(keep=32, slow=True)
    def walks(w_scale, v_scale, signs, eta, progress):
        w, v = normal(6, 2, 2, seed=1), v_scale * real([1.0 if sign == "+" else -1.0 for sign in signs.split()])
        starts = torch.cat([(w_scale * w / w.norm(dim=-1, keepdim=True)).flatten(1), v.expand(6, 2)], dim=1)
        return run(loss, starts, rate=eta, steps=800, every=4, progress=progress)

    @study.node
    def least():
        return floor()

    @study.view
    def portrait(walks, w_scale, v_scale):
        """Each neuron stays on its hyperbola; with |w|² < v² it has two sheets, and v cannot change its sign"""
        c, v = w_scale**2 - v_scale**2, np.linspace(-2.5, 2.5, 401)
        sheets = lw.Reference(v, np.sqrt(np.where(c + v**2 >= 0, c + v**2, np.nan)), "|w|² - v² = const")
        w, out = length(walks.points), output(walks.points)
        ends = lw.Series(out[:, -1], w[:, -1], "at the end", style="points", width=5)
        return lw.Curves([lw.Series(out, w, "neurons"), sheets, ends], x="v", y="|w|", equal=True)

    @study.view(beside="portrait")
    def losses(walks, least):
        """Loss, and the least that positive output weights allow in a network of any width"""
        runs = walks.series(lambda p: loss(p).clamp(min=1e-9), "six starts")
        return lw.Curves([runs, lw.Rule(y=least, label="least with positive v")], x="step", y="loss", log="y")

    @study.view
    def conserved(walks, eta, w_scale, v_scale):
        """|w|² - v² is conserved, up to the step size"""
        c = length(walks.points) ** 2 - output(walks.points) ** 2
        known = lw.Reference(walks.t, 0 * walks.t + w_scale**2 - v_scale**2, "at the start", of="neurons", atol=2 * eta)
        return lw.Curves([lw.Series(walks.t, c, "neurons"), known], x="step", y="|w|² - v²")

    @study.view(beside="conserved")
    def chances():
        """P(|w|² < v²) at Kaiming's initialisation: |w|² / (d s_w²) over v² / s_v² has Fisher's F(d, 1)"""
        d, words = np.arange(1, 17), {"labels": ("inputs d", "width l"), "metric": "P(|w|² < v²)"}
        return lw.Surface.matrix(fisher.cdf(1 / d, d[:, None], 1), (d, d), **words)

    @study.oracle(atol=1e-5)
    def obstructed(walks, least, w_scale, v_scale, signs):
        """With |w|² < v² and one sign of v, training ends at the least that such weights allow"""
        return (loss(walks.points[-1]), least) if w_scale < v_scale and signs != "+ -" else None

    @study.oracle(atol=4e-3)
    def probability():
        """P(|w|² < v²) at d = 2, l = 10 is 0.0871 (Kaiming) and 0.3084 (Xavier), sampled 200,000 times"""
        w, v = normal(200_000, 2, 2, seed=0), normal(200_000, 2, seed=1)
        smaller = (w**2).sum(1) * real([1, 1 / 6]) < v**2 * real([1 / 5, 2 / 11])
        return smaller.double().mean(dim=0), fisher.cdf([1 / 5 / 2, 2 / 11 / 2 * 6], 2, 1)

    return study
