"""Models merged in JupyterLab: a method is chosen, its scale is dragged, and the map and the table follow."""

import pytest
from explorers import SETUP, Explorer
from lab import Server, ask_kernel, console_errors, open_and_run, wait_for_kernel, write_notebook
from playwright.sync_api import Page, expect

CELLS = [
    SETUP + "base, models, tasks = lw.demo.digits_tasks(hidden=(16,), steps=40)",
    "explorer = lw.MergingExplorer(base, models, tasks)\nexplorer",
]


@pytest.fixture
def lab(lab_server: Server, page: Page) -> Page:
    write_notebook(lab_server.root / "merging.ipynb", CELLS)
    open_and_run(page, lab_server, "merging.ipynb")
    Explorer(page, "explorer", panel="plane_picture").settle()
    return page


def test_a_method_is_chosen_and_its_scale_dragged(lab: Page):
    rows = lab.locator(".lw-table tbody tr")
    expect(rows).to_have_count(11)
    expect(rows.filter(has=lab.locator("[scope=row]", has_text="1 average"))).to_have_attribute("aria-current", "true")
    expect(lab.locator(".lwidgets-density")).to_be_hidden()
    lab.locator(".lwidgets-method select").select_option("ties")
    expect(lab.locator(".lwidgets-density")).to_be_visible()
    expect(lab.locator(".lwidgets-seed")).to_be_hidden()
    handle = lab.locator(".lwidgets-scale .noUi-handle")
    handle.focus()
    for _ in range(5):
        lab.keyboard.press("ArrowLeft")
    wait_for_kernel(lab, "abs(explorer.scale - 0.95) < 1e-9 and explorer.study.status.phase == 'done'")
    here = ask_kernel(lab, "{task: scores['loss'] for task, scores in explorer.study['here'].items()}")
    caption = lab.locator(".lwidgets-figure", has_text="loss of ties at scale 0.95")
    for task, value in here.items():
        expect(caption).to_contain_text(f"{task} {value:.4g}")
    x, y = ask_kernel(lab, "list(explorer.study['towards'])")
    mark = ask_kernel(lab, "explorer.panels.places['plane_picture'].view.picture['markers'][-1]")
    assert (mark["x"], mark["y"]) == pytest.approx((0.95 * x, 0.95 * y))
    assert console_errors(lab) == []


def test_the_map_is_that_of_one_task_when_asked(lab: Page):
    before = Explorer(lab, "explorer", panel="plane_picture").shown()
    lab.locator(".lwidgets-task select").select_option("digits 5 to 9")
    wait_for_kernel(lab, "explorer.task == 'digits 5 to 9' and explorer.study.status.phase == 'done'")
    Explorer(lab, "explorer", panel="plane_picture").settle()
    after = Explorer(lab, "explorer", panel="plane_picture").shown()
    ends = ask_kernel(
        lab, "[float(f(explorer.study['surfaces']['digits 5 to 9'].values['loss'])) for f in (np.min, np.max)]"
    )
    assert after != before
    assert [float(after[name]) for name in ("min", "max")] == pytest.approx(ends, rel=1e-2)
    assert console_errors(lab) == []
