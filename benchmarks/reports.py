"""Reports of caches: processor time a case, size of the page, and how fast a browser opens it.

Run with ``python -m benchmarks.reports``. *images* are random fields of 256 × 320 pixels in four
classes, with boundaries everywhere; *brains* are phantoms of 96 × 96 × 32 voxels in three channels
and eleven classes. Commands run in a process of its own with one worker. In a headless Chromium,
where one is installed (``make browser``): until the page is loaded, the table sorted, a case shown.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from benchmarks.many import measured
from benchmarks.measure import show
from softlabel.phantom import write_mri_dataset

SHAPE = (256, 320)
SMOOTH_PX = 18
COUNTS = (100, 500)
BRAINS, BRAIN_SHAPE = 6, (96, 96, 32)

Row = dict[str, Any]

TIMED = """
const started = performance.now();
arguments[0].click();
return performance.now() - started;
"""
LOADED = "return performance.getEntriesByType('navigation')[0].loadEventEnd;"


def write_images(folder: Path, count: int) -> Path:
    """Pairs of a random label map and its noisy image."""
    rng = np.random.default_rng(0)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        field = ndimage.gaussian_filter(rng.normal(size=SHAPE), SMOOTH_PX)
        labels = np.digitize(field / field.std(), [-1, 0, 1]).astype(np.uint8)
        image = (60 + 50 * labels + rng.normal(0, 25, SHAPE)).clip(0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / "images" / f"case{number:03}.png")
        Image.fromarray(labels).save(folder / "labels" / f"case{number:03}.png")
    return folder


def row_of(what: str, source: Path, count: int) -> Row:
    """Generate a cache, write its report, and open that."""
    cache, page = source.with_suffix(".h5"), source.with_suffix(".html")
    one = ("--quiet", "--jobs", "1")
    generate = measured("softlabel", "generate", str(source), "-o", str(cache), *one)
    report = measured("softlabel", "report", str(cache), "-o", str(page), *one)
    return {
        "cases": f"{count} {what}", "generate, ms a case": 1e3 * generate["cpu"] / count,
        "report, ms a case": 1e3 * report["cpu"] / count, "MB": page.stat().st_size / 1e6,
        **in_a_browser(page),
    }  # fmt: skip


def in_a_browser(page: Path) -> dict[str, float | None]:
    """Milliseconds until it is loaded, sorted, and shows a case; None without a browser."""
    driver, chromium = shutil.which("chromedriver"), shutil.which("chromium")
    try:
        from selenium import webdriver
    except ModuleNotFoundError:
        driver = None
    if driver is None or chromium is None:
        return dict.fromkeys(("load, ms", "sort, ms", "show, ms"))
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(argument)
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)) as browser:
        browser.get(page.as_uri())
        heading = browser.find_elements("css selector", "table.cases th")[5]
        row = browser.find_elements("css selector", "tr[data-case]")[-1]
        return {
            "load, ms": browser.execute_script(LOADED),
            "sort, ms": browser.execute_script(TIMED, heading),
            "show, ms": browser.execute_script(TIMED, row),
        }


def main(repeats: int = 1) -> list[Row]:
    """Print the table and return its rows."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [row_of("images", write_images(folder / f"i{n}", n), n) for n in COUNTS]
        write_mri_dataset(folder / "brains", n_subjects=BRAINS, seed=1, shape=BRAIN_SHAPE)
        rows.append(row_of("brains", folder / "brains", BRAINS))
    show("Reports of caches", rows)
    return rows


if __name__ == "__main__":
    main()
