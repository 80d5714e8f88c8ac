"""Two networks in JupyterLab: an alignment is chosen, a layer is moved, and what is saved is what was seen."""

import numpy as np
import pytest
from explorers import SETUP
from lab import Server, ask_kernel, console_errors, open_and_run, wait_for_kernel, write_notebook
from playwright.sync_api import Page, expect

CELLS = [
    SETUP + "objective, a, b = lw.demo.digits(hidden=(16,), steps=60)",
    "explorer = lw.ConnectivityExplorer(objective, a, b)\nexplorer",
]


@pytest.fixture
def lab(lab_server: Server, page: Page) -> Page:
    write_notebook(lab_server.root / "connected.ipynb", CELLS)
    open_and_run(page, lab_server, "connected.ipynb")
    expect(page.locator(".lwidgets-explorer")).to_have_count(1)
    page.locator(".lw-table[aria-label*='arrier']").wait_for()
    return page


def test_an_alignment_is_chosen_and_its_barrier_told(lab: Page):
    rows = lab.locator(".lw-table[aria-label*='arrier'] tbody tr")
    expect(rows).to_have_count(1)
    lab.locator(".lwidgets-alignment select").select_option("weights")
    expect(rows).to_have_count(2)
    wait_for_kernel(lab, "explorer.study.status.phase == 'done'")
    told = ask_kernel(lab, "{name: barrier.value for name, barrier in explorer.barriers.items()}")
    for row, (name, value) in zip(rows.all(), told.items(), strict=True):
        cells = row.locator("th, td").all_inner_texts()
        assert cells[0] == name
        assert float(cells[1].split("±")[0]) == pytest.approx(value, rel=1e-3)
    plane = lab.locator(".lwidgets-explorer .lw-height-field")
    expect(plane).to_be_visible()
    expect(lab.locator("summary", has_text="Symmetries")).to_contain_text("certified")
    assert console_errors(lab) == []


def test_a_transformer_is_aligned_in_circuits(lab_server: Server, page: Page):
    made = (
        "objective, a, b = lw.demo.digits_vit(steps=40)\n"
        "explorer = lw.ConnectivityExplorer(objective, a, b, resolution=17)\nexplorer"
    )
    write_notebook(lab_server.root / "circuits.ipynb", [SETUP, made])
    open_and_run(page, lab_server, "circuits.ipynb")
    rows = page.locator(".lw-table[aria-label*='arrier'] tbody tr")
    expect(rows).to_have_count(1, timeout=60_000)
    expect(rows.locator("th")).to_have_text("straight")
    page.locator(".lwidgets-alignment select").select_option("weights")
    page.locator(".lwidgets-coordinates select").select_option("circuits")
    expect(rows.locator("th")).to_have_text(["straight, as they are", "aligned, in circuits"], timeout=60_000)
    expect(page.locator(".lw-table-home .lw-caption").first).to_contain_text("leave the architecture")
    expect(page.locator(".lwidgets-caption").first).to_contain_text("aligned, in circuits")
    wait_for_kernel(page, "explorer.study.status.phase == 'done'")
    told = ask_kernel(page, "explorer.barriers['aligned'].value")
    assert float(rows.nth(1).locator("td").first.inner_text().split("±")[0]) == pytest.approx(told, rel=1e-3)
    names = ask_kernel(page, "[name for name, _ in explorer.model_at(0.5, 'aligned').named_parameters()]")
    assert "blocks.0.attention.qk" in names
    assert console_errors(page) == []


def test_what_has_no_circuits_says_so(lab: Page):
    lab.locator(".lwidgets-coordinates select").select_option("circuits")
    expect(lab.get_by_role("alert")).to_contain_text("Not in circuits; only the straight path is there.")
    expect(lab.locator(".lw-table[aria-label*='arrier'] tbody tr")).to_have_count(1)
    lab.locator(".lwidgets-coordinates select").select_option("folded")
    expect(lab.get_by_role("alert")).to_have_count(0)
    expect(lab.locator(".lw-table-home .lw-caption").first).to_contain_text("as they are")
    assert console_errors(lab) == []


def test_layers_have_sliders_while_they_are_asked_for(lab: Page):
    bank = lab.locator(".lwidgets-mix .noUi-handle")
    expect(bank.first).to_be_hidden()
    lab.locator(".lwidgets-by-layer input").check()
    expect(bank).to_have_count(3)
    expect(bank.first).to_be_visible()
    expect(bank.nth(1)).to_have_attribute("aria-label", "0")
    bank.nth(1).focus()
    for _ in range(5):
        lab.keyboard.press("ArrowRight")
    wait_for_kernel(lab, "list(explorer.mix) == [0.05, 0.0]")
    wait_for_kernel(lab, "explorer.study.status.phase == 'done'")
    seen = ask_kernel(lab, "explorer.study['mixed']['loss']")
    expect(lab.locator(".lw-words", has_text="this mixture")).to_contain_text(f"{seen:.4g}")
    assert np.isfinite(seen)
    assert console_errors(lab) == []
