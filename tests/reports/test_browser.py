"""A report in a headless Chromium: ``make test-browser``, skipped where there is none."""

import os
import shutil

import factories
import numpy as np
import pytest
from PIL import Image

from softlabel.reports import write_report

SHOTS = os.environ.get("SOFTLABEL_SCREENSHOTS")
"""Folder in which screenshots are kept, for people to look at."""


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="needs Selenium and Chromium: make test-browser"
    )
    driver, chromium = shutil.which("chromedriver"), shutil.which("chromium")
    if driver is None or chromium is None:
        pytest.skip("needs Chromium and its driver: make browser")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1300,1600"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(driver)
    with webdriver.Chrome(options=options, service=service) as opened:
        yield opened


def find(browser, selector):
    return browser.find_elements("css selector", selector)


def click(browser, element):
    """As a script does: what is below the fold is no obstacle."""
    browser.execute_script("arguments[0].click()", element)


def screenshot(browser, path):
    browser.save_screenshot(str(path))
    if SHOTS:
        shutil.copy(path, SHOTS)
    return np.asarray(Image.open(path).convert("RGB"))


def test_a_report_can_be_sorted_and_looked_through(browser, tmp_path):
    cases = [factories.full_case(f"case {i}", i) for i in range(3)]
    browser.get(write_report(factories.full_cache(tmp_path, cases)).as_uri())
    assert len(find(browser, ".tile")) == 3
    heading = next(h for h in find(browser, "table.cases th") if h.text == "softened")
    column = find(browser, "table.cases th").index(heading) + 1
    cells = f"table.cases td:nth-child({column})"

    click(browser, heading)
    ascending = [float(cell.get_attribute("data-key")) for cell in find(browser, cells)]
    click(browser, heading)
    descending = [float(cell.get_attribute("data-key")) for cell in find(browser, cells)]
    assert ascending == sorted(ascending) and descending == ascending[::-1]

    click(browser, find(browser, "tr[data-case]")[0])
    (viewer,) = find(browser, "#viewer")
    assert viewer.is_displayed() and len(find(browser, "#stage img")) == 2
    before = screenshot(browser, tmp_path / "entropy.png")
    click(browser, find(browser, "#layers input[data-layer=labels]")[0])
    assert len(find(browser, "#stage img")) == 3
    assert (screenshot(browser, tmp_path / "labels.png") != before).any()

    name = find(browser, "#slice-name")[0].text
    browser.execute_script(
        "const s = document.getElementById('slider'); s.value = 0;"
        "s.dispatchEvent(new Event('input'));"
    )
    assert find(browser, "#slice-name")[0].text != name
    assert find(browser, "#slice-name")[0].text.startswith("slice 0 ")
    assert all(
        image.get_property("naturalWidth") > 0 for image in find(browser, "#stage img, .tile img")
    )
    assert [m for m in browser.get_log("browser") if m["level"] == "SEVERE"] == []
