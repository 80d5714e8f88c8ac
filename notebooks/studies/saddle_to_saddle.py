"""From a small start a deep linear network learns its modes one by one, with the noise of SGD as without."""

import numpy as np
import torch
from scipy.stats import norm
from walks import diffusion, flow, over, real

import lwidgets as lw

SOURCE = "arXiv:2604.06366"
CITATION = "SGD in the saddle-to-saddle regime of deep linear networks, arXiv:2604.06366"
LIMITS = "The equations of the modes are derived here, not taken from the paper: aligned modes, white input."
MODES = real([3.0, 2.0, 1.0, 0.5])


def drift(s, m, depth):
    """Of a mode's strength s towards m, per unit of time."""
    return depth * s.clamp(min=0) ** (2 - 2 / depth) * (m - s)


def noise(s, m, depth, sigma):
    """Square root of the diffusion, without sqrt(eta / B)."""
    return depth * s.clamp(min=0) ** (2 - 2 / depth) * (2 * (s - m) ** 2 + sigma**2).sqrt()


def walk(m, depth, heat, sigma, start, time=8.0, **how):
    """SGD as a diffusion of the modes; heat is eta / B."""
    field = (lambda s: drift(s, m, depth), lambda s: heat**0.5 * noise(s, m, depth, sigma))
    return diffusion(*field, start, time, dt=2e-3, least=0.0, **how)


def product(w):
    """Loss of two numbers whose product is to be 1."""
    return (w.prod(dim=1) - 1) ** 2 / 2


def study() -> lw.Study:
    """Modes of depth 2 to 4 from a small start, and a network of two numbers."""
    study = lw.Study("Saddle to saddle, with noise", source=SOURCE, claim=__doc__, limits=LIMITS, citation=CITATION)
    study.slider("depth", 2, low=2, high=4)
    study.slider("start", 1e-3, low=1e-5, high=0.1, step=0.25, log=True, label="strength at the start")
    study.slider("heat", 0.01, low=1e-4, high=0.1, step=0.25, log=True, label="step size / batch size")
    study.slider("sigma", 0.5, low=0.0, high=1.0, step=0.1, label="noise of the labels")
    study.slider("seed", 0, low=0, high=20)

    @study.node(keep=32, slow=True)
    def noisy(depth, start, heat, sigma, seed, progress):
        return walk(MODES, depth, heat, sigma, torch.full((500, 4), start), seed=seed, progress=progress)

    @study.view
    def gradient_flow(depth, start):
        """The flow of depth 2 has its closed form"""
        still = flow(lambda s: drift(s, MODES, depth), torch.full((4,), start), np.linspace(0, 8, 201))
        lines = [lw.Series(still.t, still.points[:, 0].T, "gradient flow")]
        if depth == 2:
            m, grown = MODES[:, None], torch.exp(2 * MODES[:, None] * real(still.t))
            known = m * grown / (grown - 1 + m / start)
            lines.append(lw.Reference(still.t, known, "closed form", of="gradient flow", tol=1e-6))
        return lw.Curves(lines, x="time", y="strength of a mode")

    @study.view(beside="gradient_flow")
    def modes(noisy):
        """Median and 90 % of 500 walks of SGD"""
        walks = [lw.Series(noisy.t, noisy.points[:, :, k].T, f"m = {m:g}", spread=0.9) for k, m in enumerate(MODES)]
        return lw.Curves(walks, x="time", y="strength of a mode")

    @study.view
    def drift_and_noise(depth, sigma):
        """Without noise of the labels, that of SGD is largest at p / (1 + p) of a mode, p = 2 - 2 / depth"""
        s, p = torch.linspace(0, 1.2, 241, dtype=torch.float64), 2 - 2 / depth
        lines = [lw.Series(s, drift(s, 1.0, depth), "drift"), lw.Series(s, noise(s, 1.0, depth, sigma), "noise")]
        return lw.Curves([*lines, lw.Rule(x=p / (1 + p), label="p / (1 + p)")], x="s / m", y="per unit of time")

    @study.view(beside="drift_and_noise")
    def stationary(noisy, depth, heat, sigma):
        """The first mode at the end, and the Gaussian of the linearised equation"""
        m, ends = float(MODES[0]), noisy.points[-50:, :, 0]
        density, edges = np.histogram(ends / m - 1, bins=40, density=True)
        z, width = np.linspace(edges[0], edges[-1], 201), (heat * depth * m ** (-2 / depth) * sigma**2 / 2) ** 0.5
        bars, known = lw.Series(edges, density, "walks", style="bars"), norm.pdf(z, scale=width or np.nan)
        return lw.Curves([bars, lw.Reference(z, known, "linearised")], x="s / m - 1", y="density")

    @study.view
    def two_numbers(start, heat, sigma, seed):
        """Depth 2, one number a layer: SGD leaves the hyperbola of gradient flow by its noise alone"""

        def push(w):
            return (heat * (4 * product(w) + sigma**2)).sqrt()[:, None, None] * w.flip(1)[:, :, None]

        sgd = diffusion(lambda w: (1 - w.prod(1))[:, None] * w.flip(1), push, [start, 0.8], 60.0, dt=0.02, seed=seed)
        w2 = np.linspace(0.8, 1.5, 101)
        kept = lw.Path((w2**2 - 0.8**2 + start**2) ** 0.5, w2, "as gradient flow", dashed=True)
        plane = over(product, {"w1": (-0.5, 2), "w2": (-0.5, 2)})
        return lw.Surface(plane, panes="map", paths=[kept, sgd.path("SGD")])

    @study.oracle(atol=1e-4)
    def peak(depth):
        """Without noise of the labels, the noise is largest at p / (1 + p) of the mode"""
        s, p = torch.linspace(0, 1, 100_001, dtype=torch.float64), 2 - 2 / depth
        return s[noise(s, 1.0, depth, 0.0).argmax()], p / (1 + p)

    @study.oracle
    def order(noisy):
        """Noise does not change the order in which modes are learned"""
        return (noisy.points.median(dim=1).values < MODES / 2).sum(dim=0).diff() >= 0, True

    @study.oracle(tol=0.1)
    def variance(depth):
        """At the end a mode m has variance (eta / B) L m^p sigma² / 2: m = 1.5, eta / B = 0.001, sigma = 0.5"""
        end = walk(1.5, depth, 1e-3, 0.5, torch.full((2000, 1), 1.5), time=4.0).points[-1]
        return end.var(), 1e-3 * depth * 1.5 ** (2 - 2 / depth) * 0.5**2 / 2

    return study
