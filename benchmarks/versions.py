"""``slic`` and ``soften`` against an earlier revision: the same values, how much sooner?

Run with ``python -m benchmarks.versions [REVISION]``. Both run in turns, each in a process of its
own on one core; on a machine that others use as well, the processor's seconds are the steadier.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import before, data, peer
from benchmarks.measure import one_thread, show
from softlabel.types import Array

one_thread()

BRAIN_OPTIONS: dict[str, dict[str, Any]] = {
    "outer": {"boundary": "outer"},
    "edge": {"boundary": "edge"},
    "symmetric": {"boundary": "symmetric"},
    "1 × 1 × 3 mm": {"spacing": (1.0, 1.0, 3.0)},
    "0.9 × 0.9 × 1.2 mm": {"spacing": (0.9, 0.9, 1.2)},
    "background ignored": {"ignore": 0},
    "in-plane": {"in_plane": True, "slice_axis": 0},
}


ENOUGH_S = 20
"""Seconds after which a work has no further turn."""


class Work(NamedTuple):
    """One call of a public function of softlabel."""

    title: str
    name: str
    arrays: list[Array]
    options: dict[str, Any]


def soften(title: str, labels: Array, ids: Array, **options: Any) -> Work:
    """The work of softening a label map."""
    return Work(f"soften {title}", "soften", [labels, ids], options)


def works() -> Iterator[Work]:
    """Phantoms, label maps with boundaries everywhere, and the real scans that are at hand."""
    import softlabel

    for name, case in (
        ("B-scan phantom, 10 classes", data.bscan()),
        ("brain phantom 240×240×48, 11 classes", data.brain()),
    ):
        spacing = tuple(s / min(case.spacing_mm) for s in case.spacing_mm)
        options: dict[str, Any] = {"spacing": spacing, "channel_axis": 0}
        image = peer.scaled(case.image)
        yield Work(f"slic {name}", "slic", [image], options)
        yield soften(name, case.labels, softlabel.slic(image, **options))
    for shape, n_classes in (((496, 768), 10), ((240, 240, 48), 11)):
        for sigma in (14, 2):
            image, labels = data.random_field(shape, n_classes, sigma)
            title = f"{n_classes} random fields of sigma {sigma}, {'×'.join(map(str, shape))}"
            yield soften(title, labels, softlabel.slic(image))
    yield from real_works()


def real_works() -> Iterator[Work]:
    """A real B-scan, and a brain that FreeSurfer labelled, under superpixels of several sizes."""
    import softlabel

    scan = data.real_bscan()
    if scan is not None:
        image, labels = scan
        yield soften("real B-scan", labels, softlabel.slic(image))
    scan = data.real_brain()
    if scan is None:
        return
    image, labels = scan
    for size in (216, 1000):
        ids = softlabel.slic(image, labels.size // size)
        yield soften(f"FreeSurfer brain, size {size}", labels, ids)
    ids = softlabel.slic(image, 2000)
    yield soften("FreeSurfer brain, n = 2000", labels, ids)
    for name, options in BRAIN_OPTIONS.items():
        yield soften(f"FreeSurfer brain, n = 2000, {name}", labels, ids, **options)


def measure(work: Work, builds: dict[str, before.Build], repeats: int) -> dict[str, Any]:
    """Medians of both revisions in turns; both must give the same arrays."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{n}.npy") for n in range(len(work.arrays))]
        for path, array in zip(paths, work.arrays, strict=True):
            np.save(path, array)
        runs = {
            name: partial(build, work.name, paths, work.options) for name, build in builds.items()
        }
        found = before.in_turns(runs, repeats, ENOUGH_S)
    earlier, now = found["before"], found["now"]
    if len({answer["digest"] for answer in (*earlier, *now)}) != 1:
        raise AssertionError(f"{work.title}: the two revisions differ in their values.")
    cpu, wall = ([before.median(a, key) for a in (earlier, now)] for key in ("cpu", "wall"))
    return {
        "work": work.title,
        "CPU ms before": 1e3 * cpu[0],
        "CPU ms": 1e3 * cpu[1],
        "times as fast": cpu[0] / cpu[1],
        "by the clock": wall[0] / wall[1],
    }


def main(repeats: int = 5, revision: str = before.FIRST) -> list[dict[str, Any]]:
    """Print the table and return its rows."""
    with before.source_of(revision) as source:
        builds = {"before": before.Build(source), "now": before.Build(before.ROOT)}
        try:
            rows = [measure(work, builds, repeats) for work in works()]
        finally:
            for build in builds.values():
                build.close()
    show(f"Superpixels and softening against revision {revision}, one core", rows)
    return rows


if __name__ == "__main__":
    main(revision=sys.argv[1] if len(sys.argv) > 1 else before.FIRST)
