"""``softlabel.soften`` against an earlier revision of itself: the same values, how much sooner?

Run with ``python -m benchmarks.versions [REVISION]``. Both run in turns, each in a process of its
own on one core; on a machine that others use as well, the processor's seconds are the steadier.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
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


class Work(NamedTuple):
    """One image to soften."""

    name: str
    labels: Array
    ids: Array
    options: dict[str, Any]


def works() -> Iterator[Work]:
    """Phantoms, label maps with boundaries everywhere, and the real scans that are at hand."""
    import softlabel

    for name, case in (
        ("B-scan phantom, 10 classes", data.bscan()),
        ("brain phantom 240×240×48, 11 classes", data.brain()),
    ):
        spacing = tuple(s / min(case.spacing_mm) for s in case.spacing_mm)
        ids = softlabel.slic(peer.scaled(case.image), spacing=spacing, channel_axis=0)
        yield Work(name, case.labels, ids, {})
    for name, shape, n_classes in (
        ("random field 496×768, 10 classes", (496, 768), 10),
        ("random field 240×240×48, 11 classes", (240, 240, 48), 11),
    ):
        image, labels = data.random_field(shape, n_classes)
        yield Work(name, labels, softlabel.slic(image), {})
    yield from real_works()


def real_works() -> Iterator[Work]:
    """A real B-scan, and a brain that FreeSurfer labelled, under superpixels of several sizes."""
    import softlabel

    scan = data.real_bscan()
    if scan is not None:
        image, labels = scan
        yield Work("real B-scan", labels, softlabel.slic(image), {})
    scan = data.real_brain()
    if scan is None:
        return
    image, labels = scan
    for size in (216, 1000):
        ids = softlabel.slic(image, labels.size // size)
        yield Work(f"FreeSurfer brain, size {size}", labels, ids, {})
    ids = softlabel.slic(image, 2000)
    yield Work("FreeSurfer brain, n = 2000", labels, ids, {})
    for name, options in BRAIN_OPTIONS.items():
        yield Work(f"FreeSurfer brain, n = 2000, {name}", labels, ids, options)


def measure(work: Work, softeners: dict[str, before.Softening], repeats: int) -> dict[str, Any]:
    """Medians of both revisions in turns; both must give the same values."""
    with tempfile.TemporaryDirectory() as folder:
        labels, ids = Path(folder, "labels.npy"), Path(folder, "ids.npy")
        np.save(labels, work.labels)
        np.save(ids, work.ids)
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in softeners}
        for turn in range(repeats + 1):
            for name, soften in softeners.items():
                answer = soften(labels, ids, work.options)
                if turn:  # the first compiles, or loads what was compiled
                    found[name].append(answer)
    digests = {one["digest"] for answers in found.values() for one in answers}
    if len(digests) != 1:
        raise AssertionError(f"{work.name}: the two revisions differ in their values.")
    cpu = {name: float(np.median([a["cpu"] for a in found[name]])) for name in found}
    wall = {name: float(np.median([a["wall"] for a in found[name]])) for name in found}
    return {
        "work": work.name,
        "CPU ms before": 1e3 * cpu["before"],
        "CPU ms": 1e3 * cpu["now"],
        "times as fast": cpu["before"] / cpu["now"],
        "by the clock": wall["before"] / wall["now"],
    }


def main(repeats: int = 5, revision: str = before.FIRST) -> list[dict[str, Any]]:
    """Print the table and return its rows."""
    with before.source_of(revision) as source:
        softeners = {"before": before.Softening(source), "now": before.Softening(before.ROOT)}
        try:
            rows = [measure(work, softeners, repeats) for work in works()]
        finally:
            for softener in softeners.values():
                softener.close()
    show(f"Softening against revision {revision}, one core", rows)
    return rows


if __name__ == "__main__":
    main(revision=sys.argv[1] if len(sys.argv) > 1 else before.FIRST)
