"""Runs that write one output at the same time: of equal settings, of others, or anew."""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from typing import Any

from faults import runs
from softlabel.cache import open_cache
from softlabel.cache.verify import verify

KINDS: dict[str, tuple[int, tuple[str, ...]]] = {
    "the same settings": (150, ()),
    "other settings": (90, ()),
    "--overwrite": (150, ("--overwrite",)),
    "other settings, --overwrite": (90, ("--overwrite",)),
}
"""Superpixels and options of the second run; the first one asks for 150 superpixels."""


def rows(pairs: int = 50, n_cases: int = 12) -> list[dict[str, Any]]:
    """Let so many pairs of runs meet; the second one starts somewhere in the first."""
    rng = random.Random(0)
    found = {
        name: {"second run": name, "pairs": 0, "both ended well": 0, "one was refused": 0,
               "cases lost": 0}
        for name in KINDS
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        data = runs.data_set(Path(folder), n_cases)
        started = time.perf_counter()
        runs.ended(runs.start(data, Path(folder, "c.h5")))
        took = time.perf_counter() - started
        for pair in range(pairs):
            name = list(KINDS)[pair % len(KINDS)]
            out = Path(folder, str(pair), "c.h5")
            out.parent.mkdir()
            statuses = _met(data, out, name, rng.uniform(0, 0.8) * took)
            row = found[name]
            row["pairs"] += 1
            row["both ended well"] += statuses == (0, 0)
            row["one was refused"] += sorted(statuses) == [0, 2]
            row["cases lost"] += n_cases - len(open_cache(out))
            assert 0 in statuses and not verify(out) and not runs.stray_files(out), statuses
    for row in found.values():
        assert row["cases lost"] == 0, row
        assert row["both ended well"] + row["one was refused"] == row["pairs"], row
    return list(found.values())


def _met(data: Path, out: Path, name: str, after_s: float) -> tuple[int, int]:
    """Exit status of two runs, of which the second starts so many seconds after the first."""
    n_segments, options = KINDS[name]
    first = runs.start(data, out)
    time.sleep(after_s)
    second = runs.start(data, out, 1, n_segments, *options)
    found = [runs.ended(process) for process in (first, second)]
    for status, said in found:
        assert status in (0, 2), said
        assert status == 0 or "another run" in said or "was made with" in said, said
    return found[0][0], found[1][0]
