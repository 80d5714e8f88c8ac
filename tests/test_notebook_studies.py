"""Papers as studies, in notebooks/studies: short, right by their own oracles, and alive without a kernel."""

import ast
import importlib
import json
import re
import tokenize
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import lwidgets as lw

FOLDER = Path(__file__).parents[1] / "notebooks/studies"
NAMES = (
    "flat_channels",
    "intrinsic_dimension",
    "logistic_perceptron",
    "opposing_signals",
    "saddle_to_saddle",
    "topological_obstruction",
)
MOST_LINES, MOST_TOGETHER = 90, 440
_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}

ALIVE = {
    "flat_channels": {"mu": [0.5, 1.5], "eps": 3},
    "intrinsic_dimension": {"d": [2, 10, 12]},
    "logistic_perceptron": {"rate": [1.0, 10.0, 100.0]},
    "opposing_signals": {"eta": [0.05, 0.1, 0.2], "optimizer": ["GD", "Adam"]},
    "saddle_to_saddle": {"depth": [2, 4], "sigma": [0.0, 0.5]},
    "topological_obstruction": {"signs": None, "v_scale": [0.2, 1.2]},
}


@pytest.fixture
def module(monkeypatch):
    """A file of the folder by its name, as a notebook beside it imports it."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


@pytest.fixture
def study(module, request):
    made = module(request.param).study()
    yield made
    made.close()


def code_lines(source: str) -> int:
    """Lines with code on them: blank lines, comments and docstrings do not count."""
    lines = iter(source.splitlines(keepends=True))
    used = {
        line
        for token in tokenize.generate_tokens(lambda: next(lines, ""))
        if token.type not in _NO_CODE
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            used -= set(range(node.lineno, node.end_lineno + 1))
    return len(used)


def test_only_code_is_counted():
    source = '"""One.\n\nTwo.\n"""\n\n# three\nx = [\n    1,  # four\n\n]\n\n\ndef f():\n    """Five."""\n'
    assert code_lines(source) == 4


def test_every_study_of_the_folder_is_tested():
    assert {path.stem for path in FOLDER.glob("*.py")} == {*NAMES, "walks"}


def test_studies_are_short():
    lines = {name: code_lines((FOLDER / f"{name}.py").read_text()) for name in NAMES}
    assert max(lines.values()) <= MOST_LINES, lines
    assert sum(lines.values()) <= MOST_TOGETHER, lines


@pytest.mark.parametrize("study", NAMES, indirect=True)
def test_a_study_is_right(study):
    report = study.verify()
    print(report)
    assert report, report
    assert sum(check.state == "pass" for check in report.checks.values()) >= 1
    assert all(picture is not None for picture in study.pictures.values())
    for words in (study.title, study.paper, study.claim, study.limits, study.citation):
        assert words


@pytest.mark.parametrize("study", NAMES, indirect=True)
def test_a_study_lives_without_a_kernel(study, tmp_path, request):
    """Its checks are on the page, and it is right at every position of it."""
    alive = ALIVE[request.node.callspec.params["study"]]
    page = study.to_html(tmp_path / "page.html", alive).read_text()
    told = json.loads(re.search(r'id="lwidgets-companion">(.*?)</script>', page)[1])["studies"][0]
    assert (told["claim"], told["limits"], told["citation"]) == (study.claim, study.limits, study.citation)
    assert {check["state"] for check in told["checks"]} <= {"pass", "info"}
    assert len(told["checks"]) == len(study.verify().checks)
    assert len(told["panels"]) == len(study.panels)
    report = study.verify(at=alive)
    assert report, report


# --- what the papers, and we on other ways, have found ---


@pytest.mark.parametrize("study", ["topological_obstruction"], indirect=True)
def test_the_least_loss_that_one_sign_allows(study, module):
    assert module("topological_obstruction").floor() == pytest.approx(0.1888654, abs=1e-6)


@pytest.mark.parametrize("study", ["topological_obstruction"], indirect=True)
def test_right_signs_are_not_enough(study, module):
    study.set(signs="+ -")
    study.start()
    assert study.wait(60)
    ends = module("topological_obstruction").loss(study["walks"].points[-1])
    assert (ends < 1e-3).sum() == 5
    assert float(ends.max()) == pytest.approx(0.182067, abs=1e-3)


def test_the_chances_of_both_initialisations(module):
    fisher = module("topological_obstruction").fisher
    np.testing.assert_allclose(fisher.cdf([1 / 5 / 2, 2 / 11 / 2 * 6], 2, 1), [0.08713, 0.30844], atol=5e-6)


def test_the_loss_along_a_channel(module):
    """On the chart, where w, c and a stay as they are; re-optimised at each eps, it is 1.0214e-3 to 1.0148e-3."""
    flat = module("flat_channels")
    eps = torch.tensor([0.2, 0.1, 0.05, 0.025], dtype=torch.float64)
    points, infinite = flat.channel(flat.SECOND, eps)
    np.testing.assert_allclose(
        (flat.loss(points) - infinite) / eps**2, [1.35742e-3, 1.10019e-3, 1.03607e-3, 1.02005e-3], rtol=2e-5
    )


def test_the_saddle_line_loses_its_minimum_beside_it(module):
    flat, walks = module("flat_channels"), module("walks")
    least = torch.linalg.eigvalsh(walks.hessian(flat.loss, flat.saddle([0.5, -1.0, -2.0, 3.0])))[:, 0]
    assert abs(float(least[0])) < 1e-9
    assert (least[1:] < -0.01).all()


def test_where_gradient_descent_ends_above_the_edge(module):
    """alpha beta below 2 / eta: there; above: below 2 / eta."""
    opposing, walks = module("opposing_signals"), module("walks")
    alpha = torch.tensor([5.0, 9.0, 11.0, 12.0], dtype=torch.float64)
    rates = [0.1, 0.1, 0.09, 0.1]
    starts = opposing.start(0.1).expand(4, 3)
    ends = walks.run(None, starts, rate=rates, slope=partial(opposing.slope, alpha, 2.0)).points[-1]
    found = walks.sharpness(partial(opposing.losses, alpha, 2.0), ends)
    np.testing.assert_allclose(found[:3], [10.0, 18.0, 22.0], rtol=1e-3)
    assert float(found[3]) < 20.0


def test_a_ninth_dimension_leaves_a_tenth_on_average(module):
    best = module("intrinsic_dimension").best
    left = [np.mean([best(100, d, seed)[0] for seed in range(400)]) / 385 for d in (3, 6, 9)]
    np.testing.assert_allclose(left, [0.7, 0.4, 0.1], atol=0.03)
    assert best(100, 10, 0)[0] < 1e-24


# --- the walks themselves ---


def bowl(p):
    return {"loss": (p[:, 0] ** 2 + 3 * p[:, 1] ** 2 + p[:, 0] * p[:, 1] ** 3) / 2}


def test_derivatives_are_those_of_torch(module):
    walks = module("walks")
    points = walks.normal(5, 2, seed=0)
    for point, slope, bend, largest in zip(
        points, walks.gradient(bowl, points), walks.hessian(bowl, points), walks.sharpness(bowl, points), strict=True
    ):
        known = torch.autograd.functional.hessian(lambda p: bowl(p[None])["loss"][0], point)
        torch.testing.assert_close(slope, torch.autograd.functional.jacobian(lambda p: bowl(p[None])["loss"][0], point))
        torch.testing.assert_close(bend, known)
        torch.testing.assert_close(largest, torch.linalg.eigvalsh(known)[-1])
    assert walks.sharpness(bowl, walks.real([[torch.inf, 0], [0, torch.nan], [0, 1e9]])).isnan().all()


@pytest.mark.parametrize("slow", ["opposing_signals", "logistic_perceptron"])
def test_gradients_by_hand_are_those_of_autograd(module, slow):
    walks, model = module("walks"), module(slow)
    if slow == "opposing_signals":
        points = walks.normal(7, 3, seed=1)
        torch.testing.assert_close(
            model.slope(3.0, 2.0, points), walks.gradient(partial(model.losses, 3.0, 2.0), points)
        )
    else:
        z = walks.normal(20, 2, seed=2)
        by_hand, auto = (
            model.descend(z, [0.5, 2.0], 20).points,
            walks.run(model.logistic(z), torch.zeros(2, 2), rate=[0.5, 2.0], steps=20).points,
        )
        torch.testing.assert_close(by_hand, auto)


@pytest.mark.parametrize(
    ("rule", "make"),
    [
        ("GD", lambda p: torch.optim.SGD([p], lr=0.05)),
        ("momentum", lambda p: torch.optim.SGD([p], lr=0.05, momentum=0.9)),
        ("Adam", lambda p: torch.optim.Adam([p], lr=0.05)),
    ],
)
def test_rules_are_those_of_torch(module, rule, make):
    walks = module("walks")
    p = walks.real([0.5, -0.6]).requires_grad_()
    optimizer, seen = make(p), []
    for _ in range(31):
        seen.append(p.detach().clone())
        optimizer.zero_grad()
        bowl(p[None])["loss"].sum().backward()
        optimizer.step()
    found = walks.run(bowl, [0.5, -0.6], rule, rate=0.05, steps=30, every=10)
    torch.testing.assert_close(found.points[:, 0], torch.stack(seen)[::10])
    assert found.t.tolist() == [0, 10, 20, 30]


def test_flows_are_exact_where_that_is_known(module):
    walks = module("walks")
    starts, times = walks.real([[1.0, 2.0], [-3.0, 0.5]]), np.linspace(0, 2, 5)
    known = starts * torch.exp(-walks.real(times)[:, None, None] * walks.real([2.0, 8.0]))
    stiff = walks.descent(lambda p: p[:, 0] ** 2 + 4 * p[:, 1] ** 2, starts, times)
    field = walks.flow(lambda p: -p * walks.real([2.0, 8.0]), starts, times)
    torch.testing.assert_close(stiff.points, known, rtol=0, atol=1e-6)
    torch.testing.assert_close(field.points, known, rtol=0, atol=1e-8)


def test_noise_of_one_source_moves_coordinates_together(module):
    walks = module("walks")
    still = torch.zeros_like
    apart = walks.diffusion(still, torch.ones_like, torch.zeros(2000, 2), 1.0, dt=0.05).points[-1]
    same = walks.diffusion(still, lambda p: torch.ones_like(p)[:, :, None], torch.zeros(2000, 2), 1.0, dt=0.05)
    assert apart.var().item() == pytest.approx(1.05, rel=0.1)  # 21 steps: the last point is that before the end
    torch.testing.assert_close(same.points[..., 0], same.points[..., 1])
    assert abs(float(torch.corrcoef(apart.T)[0, 1])) < 0.1


def test_a_profile_is_the_least_over_the_rest(module):
    walks = module("walks")

    def wells(p):  # two wells along the second axis, the lower one far from zero
        return p[:, 0] ** 2 + (p[:, 1] ** 2 - 1) ** 2 - 0.2 * p[:, 1]

    axes = torch.eye(2, dtype=torch.float64)
    u = walks.real([[0.0], [0.5]])
    least = walks.minimised(wells, walks.real([0.0, -0.8]), axes[:1], axes[1:], starts=walks.real([[0.0], [2.0]]))(u)
    grid = torch.linspace(-2, 2, 400_001, dtype=torch.float64)
    known = wells(torch.stack([0 * grid, grid], dim=1)).min() + u[:, 0] ** 2
    torch.testing.assert_close(least, known, rtol=0, atol=1e-9)


def test_a_path_ends_where_its_walk_diverges_and_knows_how_far_off_it_is(module):
    walks = module("walks")
    points = walks.real([[[1.0, 2.0, 3.0]], [[2.0, 2.0, -4.0]], [[1e9, 0.0, 0.0]]])
    path = walks.Trajectory(np.arange(3), points).path("GD", torch.zeros(3).double(), torch.eye(3).double()[:2])
    assert isinstance(path, lw.Path)
    np.testing.assert_allclose([path.x, path.y, path.residual, path.time], [[1, 2], [2, 2], [3, 4], [0, 1]])


def test_progress_ends_a_run(module):
    class End(Exception):
        pass

    def progress(done, total):
        if done >= 50:
            raise End

    with pytest.raises(End):
        module("walks").run(bowl, [1.0, 1.0], steps=10_000_000, progress=progress)
