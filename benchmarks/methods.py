"""Speed and memory of every softening method against its formula in NumPy and SciPy, one core.

Run with ``python -m benchmarks.methods``. On a phantom, a real scan where one is at hand, fields of
which boundaries are everywhere, and a phantom volume. Both sides agree within 1e-5 before they are
timed, in turns; a method of this project has no peer. *MB* is what the memory of a process grows by
at the most, in a process of its own that has run the same before; *maps* is what the result holds.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import alternate_with_cpu, one_thread, show

one_thread()

import numpy as np  # noqa: E402

import softlabel  # noqa: E402
from benchmarks import data, peer  # noqa: E402
from benchmarks.dense import PEERS, Peer, surface_cdf  # noqa: E402
from softlabel.softening import METHODS  # noqa: E402
from softlabel.types import Array  # noqa: E402

SLOW = ("geols",)
"""Methods that take seconds: timed twice, and not on volumes."""

FLUID = 9
TOLERANCE = 1e-5

M_MMAP_THRESHOLD = -3
"""Of ``malloc.h``: from how many bytes on memory is the system's again once it is freed."""

Row = dict[str, Any]


def main(repeats: int = 5) -> list[Row]:
    """Print the table and return its rows."""
    rows: list[Row] = []
    for scan, image, labels, ids, n_classes in scans():
        for method in METHODS:
            dense = surface_cdf(FLUID) if method == "surface-cdf" else PEERS.get(method)
            layered = scan == "B-scan phantom"
            if method == "given" or (method == "surface-cdf" and not layered):
                continue
            if method in SLOW and labels.ndim == 3:
                continue
            times = min(repeats, 2) if method in SLOW else repeats
            rows.append(measure(scan, method, dense, (labels, ids, image, n_classes), times))
    rows = [with_superpixel_ratio(row, rows) for row in rows]
    show("Speed and memory of every softening method, one core", rows)
    return rows


def with_superpixel_ratio(row: Row, rows: list[Row]) -> Row:
    """The row, and its time as a multiple of the superpixel method's on the same scan."""
    [other] = [r for r in rows if (r["scan"], r["method"]) == (row["scan"], "superpixel")]
    return row | {"of superpixel": row["ms"] / other["ms"]}


def scans() -> list[tuple[str, Array, Array, Array, int]]:
    """Name, image, class indices, superpixels and number of classes of each scan."""
    found = []
    bscan, brain = data.bscan(), data.isotropic_brain()
    found.append(("B-scan phantom", peer.scaled(bscan.image)[0], bscan.labels, 10))
    real = data.real_bscan()
    if real is not None:
        found.append(("real B-scan", peer.scaled(real[0][None])[0], real[1], 9))
    field, labels = data.random_field((496, 768), 10, 3)
    found.append(("boundaries everywhere", field, labels, 10))
    found.append(("brain phantom 120×120×75", peer.scaled(brain.image)[0], brain.labels, 11))
    return [
        (name, image, labels.astype(np.uint8), softlabel.slic(image), n_classes)
        for name, image, labels, n_classes in found
    ]


def measure(
    scan: str, method: str, dense: Peer | None, given: tuple[Array, Array, Array, int], repeats: int
) -> Row:
    """Both sides of one method on one scan.

    Raises
    ------
    AssertionError
        When they differ.
    """
    labels, ids, image, n_classes = given
    options: dict[str, Any] = {"over": FLUID} if method == "surface-cdf" else {}

    def ours() -> Any:
        return softlabel.soften(
            labels, ids, image=image, method=method, classes=range(n_classes),
            boundary="symmetric", **options,
        )  # fmt: skip

    maps = ours()
    sides = {"ours": ours}
    if dense is not None:
        sides["peer"] = lambda: dense(labels, ids, image, n_classes)
        difference = float(np.abs(maps.dense() - sides["peer"]()).max())
        if not difference < TOLERANCE:
            raise AssertionError(
                f"{scan}, {method}: softlabel differs from the peer by {difference}."
            )
    seconds = alternate_with_cpu(sides, repeats, warm=False)
    nan = (float("nan"), float("nan"))
    wall, processor = (
        p / o for p, o in zip(seconds.get("peer", nan), seconds["ours"], strict=True)
    )
    return {
        "scan": scan,
        "method": method,
        "ms": 1e3 * seconds["ours"][0],
        "times as fast": wall,
        "by processor": processor,
        "MB": growth(ours) / 1e6,
        "peer MB": growth(sides["peer"]) / 1e6 if dense is not None else float("nan"),
        "maps MB": maps.nbytes / 1e6,
        "dense MB": 4 * n_classes * labels.size / 1e6,
    }


def growth(function: Callable[[], Any]) -> float:
    """Bytes that the memory of this process grows by at the most while a function runs.

    In a copy of the process, whose mark of the most memory is set back first. What was freed before
    goes back to the system there, so that it cannot be taken again unseen (Linux and glibc only;
    NaN elsewhere).
    """
    marks = Path("/proc/self/clear_refs")
    libc = ctypes.CDLL(None)
    if not marks.exists() or not hasattr(libc, "malloc_trim"):
        return float("nan")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 16)
        libc.malloc_trim(0)
        marks.write_text("5")
        before = _status("VmRSS")
        function()
        os.write(write, str(_status("VmHWM") - before).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return float(text) if text else float("nan")


def _status(name: str) -> int:
    """A number of bytes of this process, as the kernel counts it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise AssertionError(f"/proc/self/status has no {name}.")


if __name__ == "__main__":
    main()
