"""A report in a headless Chromium: ``make test-browser``, skipped where there is none."""

import re

import factories
from pages import click, find, screenshot

from softlabel.colours import class_hex
from softlabel.reports import write_report


def hex_of(css):
    """A colour as a browser tells it."""
    return "#" + "".join(f"{int(n):02x}" for n in re.findall(r"\d+", css)[:3])


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
    swatches = find(browser, "#viewer-text .swatch")
    named = {s.find_element("xpath", "..").text.rsplit(" ", 1)[0]: s for s in swatches}
    assert set(named) == {"background", "shell", "größter Kern"}
    for index, name in enumerate(("background", "shell", "größter Kern")):
        assert hex_of(named[name].value_of_css_property("background-color")) == class_hex(index)
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
