"""``softlabel.soften`` against SciPy's distance transforms, one core.

Run with ``python -m benchmarks.soften``.
"""

from __future__ import annotations

from typing import Any

from benchmarks.measure import alternate, one_thread, show

one_thread()

import numpy as np  # noqa: E402

import softlabel  # noqa: E402
from benchmarks import data, peer  # noqa: E402
from softlabel.types import Array  # noqa: E402


def edt_package(labels: Array, n_classes: int) -> Any:
    """The distance transforms alone, by seung-lab's edt, or None when it is not installed."""
    try:
        import edt
    except ImportError:
        return None

    def run() -> None:
        for c in range(n_classes):
            inside = np.ascontiguousarray(labels == c)
            edt.edt(inside, parallel=1)
            edt.edt(~inside, parallel=1)

    return run


def measure(
    what: str, labels: Array, ids: Array, n_classes: int, repeats: int
) -> list[dict[str, Any]]:
    """Rows of one image: the peer, the peer's distances by other packages, softlabel."""
    classes = range(n_classes)

    def ours(boundary: str) -> Any:
        return lambda: softlabel.soften(labels, ids, classes=classes, boundary=boundary)

    functions: dict[str, Any] = {"SciPy, dense": lambda: peer.soften(labels, ids, n_classes)}
    other = edt_package(labels, n_classes)
    if other is not None:
        functions["edt (seung-lab), distances alone"] = other
    functions["softlabel, symmetric"] = ours("symmetric")
    functions["softlabel, inner"] = ours("inner")
    same = np.abs(peer.soften(labels, ids, n_classes) - ours("symmetric")().dense()).max()
    if not same < 1e-6:
        raise AssertionError(f"{what}: softlabel differs from the peer by {same}.")
    seconds = alternate(functions, repeats)
    return [
        {"work": what, "by": name, "ms": 1e3 * s, "times as fast": seconds["SciPy, dense"] / s}
        for name, s in seconds.items()
    ]


def main(repeats: int = 5) -> list[dict[str, Any]]:
    """Print the table and return its rows."""
    rows = []
    for what, case, n_classes in (
        ("soften 496×768, 10 classes", data.bscan(), 10),
        ("soften 240×240×48, 11 classes", data.brain(), 11),
    ):
        spacing = tuple(s / min(case.spacing_mm) for s in case.spacing_mm)
        ids = softlabel.slic(peer.scaled(case.image), spacing=spacing, channel_axis=0)
        rows += measure(what, case.labels, ids, n_classes, repeats)
    image, labels = data.random_field((240, 240, 48), 11, 14)
    rows += measure("soften 11 random fields", labels, softlabel.slic(image), 11, repeats)
    show("Distances and softening, one core", rows)
    return rows


if __name__ == "__main__":
    main()
