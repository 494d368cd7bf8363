"""Many small cases end to end: what a case costs among 2,000 and among 20,000.

Run with ``python -m benchmarks.many`` (about 20 minutes), or with ``--counts 200,2000``. Cases are
pairs of PNG files of 48 × 48 pixels. Each command runs in a process of its own, its workers
included; *ms a case* is processor time, *MB* the largest memory of a process of the command, which
is the parent's where parents grow with the number of cases. A run that has nothing to do finds
every case finished; opening is from Python, up to the soft labels of the last case.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.commands import MEASURE
from benchmarks.measure import THREADS, show

EDGE = 48

OPEN = """
import sys, softlabel
with softlabel.open_cache(sys.argv[1]) as cache:
    name = list(cache)[-1]
    assert cache[name].soft[...].shape[1:] == (48, 48)
"""

Row = dict[str, Any]


def write_pairs(folder: Path, count: int) -> Path:
    """So many pairs of a disc and its noisy image."""
    rng = np.random.default_rng(0)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    y, x = np.indices((EDGE, EDGE))
    for number in range(count):
        label = (np.hypot(y - EDGE // 2, x - EDGE // 2) < 8 + number % 12).astype(np.uint8)
        image = (90 * label + rng.normal(80, 15, label.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / "images" / f"case{number:05}.png")
        Image.fromarray(label).save(folder / "labels" / f"case{number:05}.png")
    return folder


def measured(*arguments: str) -> dict[str, float]:
    """Seconds by the clock and of the processor, and kB at the most, of a Python command.

    Raises
    ------
    AssertionError
        With what the command wrote, when it fails.
    """
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *arguments], stdout=subprocess.PIPE, text=True, check=True,
        env=os.environ | dict.fromkeys(THREADS, "1"),
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    assert not found["failed"], found["said"]
    return found


def commands(source: Path, cache: Path, opener: Path) -> dict[str, list[str]]:
    """The commands in the order in which they run; a module and its arguments."""
    generate = ["softlabel", "generate", str(source), "-o", str(cache), "--quiet",
                "--superpixel-size", "32"]  # fmt: skip
    return {
        "generate, 1 worker": [*generate, "--jobs", "1"],
        "generate, nothing to do": [*generate, "--jobs", "1"],
        "info": ["softlabel", "info", str(cache)],
        "open, and the last case": [opener.stem, str(cache)],
        "verify, 1 worker": ["softlabel", "verify", str(cache), "--jobs", "1"],
        "verify, 2 workers": ["softlabel", "verify", str(cache), "--jobs", "2"],
        "index anew": ["softlabel", "index", str(cache)],
    }


def rows_of(count: int) -> list[Row]:
    """One row for each command on so many cases."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = write_pairs(folder / "pairs", count)
        opener = folder / "open_last.py"
        opener.write_text(OPEN)
        os.environ["PYTHONPATH"] = os.pathsep.join(
            [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        )
        for what, arguments in commands(source, folder / "cache.h5", opener).items():
            found = measured(*arguments)
            rows.append({
                "command": what, "cases": count, "seconds": found["wall"],
                "ms a case": 1e3 * found["cpu"] / count, "MB": found["kB"] / 1e3,
            })  # fmt: skip
    return rows


def main(repeats: int = 1, counts: Sequence[int] = (2_000, 20_000)) -> list[Row]:
    """Print the table and return its rows."""
    rows = sorted(
        (row for count in counts for row in rows_of(count)), key=lambda row: row["command"]
    )
    show(f"Many cases of {EDGE}×{EDGE} pixels", rows)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", default="2000,20000")
    options = parser.parse_args()
    main(counts=[int(count) for count in options.counts.split(",")])
