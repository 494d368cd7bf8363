"""Softening on a GPU against CuPy's distance transform, with transfers, and against its bound.

Run with ``python -m benchmarks.gpu`` from the root of the repository. It needs a CUDA card, torch
2.11 or newer and softlabel's own dependencies, and for the peer CuPy. Without a card it reports
that and ends; ``--device cpu`` runs everything tiny on torch's CPU device, to see that it runs: its
times mean nothing.

* *The bound* is written down first: the bytes that must cross the bus at the speed of a page-locked
  copy, and input, one map a class and output once at the speed of the card's memory.
* *The peer* gets the label maps to the card and runs ``cupyx.scipy.ndimage.
  distance_transform_edt`` class by class, inside and outside. It makes no soft labels and sends
  nothing back, which softlabel does.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from softlabel.device import memory_budget
from softlabel.softening.superpixel import SuperpixelOptions
from softlabel.softening.tensor.batch import soften_batch
from softlabel.softening.tensor.images import soften_images
from softlabel.types import Array, ClassTable


def main(repeats: int = 7, device: str = "cuda") -> list[dict[str, Any]]:
    """Run everything and print the tables; the rows of all."""
    small = device == "cpu"
    target = torch.device(device)
    print(_machine(target), "\n")
    rows = []
    works = (
        (bscans(4 if small else 110, (64, 96) if small else (496, 768)), 10),
        (volumes((24, 24, 8) if small else (240, 240, 48)), 11),
    )
    for (labels, ids), n_classes in works:
        size = "×".join(str(n) for n in labels[0].shape)
        what = f"{len(labels)} × {size}, {n_classes} classes"
        rows += against_peer(what, labels, ids, n_classes, target, repeats)
    rows += operations(bscans(2 if small else 16, (64, 96) if small else (496, 768)), target)
    rows += on_the_fly(
        bscans(2 if small else 16, (64, 96) if small else (496, 768)), target, repeats
    )
    rows += superpixel_quality(target, (60, 72) if small else (496, 768))
    return rows


def _machine(device: torch.device) -> str:
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "torch's CPU device"
    return f"{card}; torch {torch.__version__}, NumPy {np.__version__}, CuPy {_cupy_version()}"


def _cupy_version() -> str:
    cupy = _cupy()
    return cupy.__version__ if cupy is not None else "not installed"


def _cupy() -> Any:
    try:
        import cupy
    except ImportError:
        return None
    return cupy


# --- data -----------------------------------------------------------------------------------------


def _waves(rng: np.random.Generator, length: int, amplitude: float) -> Array:
    """A smooth random curve."""
    x = np.linspace(0, 2 * np.pi, length)
    curve = sum(rng.normal() / k * np.sin(k * x + rng.uniform(0, 6)) for k in range(1, 9))
    return np.asarray(amplitude * curve)


def bscans(count: int, shape: tuple[int, int]) -> tuple[list[Array], list[Array]]:
    """Eight wavy layers between two grounds with blobs of fluid; about 2000 superpixels each."""
    rows, columns = np.indices(shape)
    labels, ids = [], []
    for number in range(count):
        rng = np.random.default_rng(number)
        height = shape[0]
        base = 0.3 * height + _waves(rng, shape[1], 0.04 * height)
        index = np.zeros(shape, np.uint8)
        for _ in range(8):
            base = base + 0.045 * height + np.abs(_waves(rng, shape[1], 0.006 * height))
            index += rows > base[None]
        for _ in range(3):
            centre = rng.uniform((0.35, 0.1), (0.6, 0.9)) * shape
            size = rng.uniform(0.01, 0.05, 2) * shape
            blob = ((rows - centre[0]) / size[0]) ** 2 + ((columns - centre[1]) / size[1]) ** 2
            index[blob < 1] = 9
        labels.append(index)
        ids.append(_warped_grid(rng, shape, 2000 if height > 100 else 40))
    return labels, ids


def volumes(shape: tuple[int, int, int]) -> tuple[list[Array], list[Array]]:
    """Ten nested and scattered ellipsoids in a ground; about 2000 supervoxels."""
    rng = np.random.default_rng(0)
    where = np.indices(shape) / np.reshape(shape, (3, 1, 1, 1))
    index = np.zeros(shape, np.uint8)
    for k in range(1, 11):
        centre = rng.uniform(0.35, 0.65, 3).reshape(3, 1, 1, 1)
        size = (rng.uniform(0.8, 1.2, 3) * (0.42 - 0.03 * k)).reshape(3, 1, 1, 1)
        index[(((where - centre) / size) ** 2).sum(0) < 1] = k
    return [index], [_warped_grid(rng, shape, 2000 if shape[0] > 100 else 40)]


def _warped_grid(rng: np.random.Generator, shape: tuple[int, ...], count: int) -> Array:
    """Superpixels of uneven shape and size: cells of a regular grid that was bent by waves."""
    edge = (np.prod(shape) / count) ** (1 / len(shape))
    where = [w.astype(float) for w in np.indices(shape)]
    bent = [
        at + 0.4 * edge * np.sin(where[(axis + 1) % len(shape)] / edge * 1.7 + rng.uniform(0, 6))
        for axis, at in enumerate(where)
    ]
    cells = [np.maximum(at, 0).astype(np.int64) // max(1, round(edge)) for at in bent]
    flat = np.ravel_multi_index(tuple(cells), [int(c.max()) + 1 for c in cells])
    return np.unique(flat, return_inverse=True)[1].reshape(shape).astype(np.int32)


# --- measuring ------------------------------------------------------------------------------------


def median_seconds(work: Callable[[], Any], device: torch.device, repeats: int) -> float:
    """Median time of a piece of work with all that it started on a device, after two runs."""
    times = []
    for number in range(repeats + 2):
        _wait(device)
        started = time.perf_counter()
        work()
        _wait(device)
        if number >= 2:
            times.append(time.perf_counter() - started)
    return statistics.median(times)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def speeds(device: torch.device, repeats: int, size: int) -> tuple[float, float, float]:
    """Bytes a second to the device, back, and within it (read and written bytes both counted)."""
    pinned = device.type == "cuda"
    host = torch.zeros(size, dtype=torch.uint8, pin_memory=pinned)
    there = torch.zeros(size, dtype=torch.uint8, device=device)
    copy = torch.empty_like(there)
    up = median_seconds(lambda: there.copy_(host, non_blocking=True), device, repeats)
    down = median_seconds(lambda: host.copy_(there, non_blocking=True), device, repeats)
    within = median_seconds(lambda: copy.copy_(there), device, repeats)
    return size / up, size / down, 2 * size / within


def against_peer(
    what: str, labels: list[Array], ids: list[Array], n_classes: int, device: torch.device,
    repeats: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """Bound, peer, and softlabel with and without its Triton kernels."""
    table = ClassTable.from_values(range(n_classes))
    spacing = (1.0,) * labels[0].ndim

    def ours(kernels: bool | None) -> Any:
        return soften_images(
            labels, table, ids, spacing, 1.0, SuperpixelOptions(), device, kernels=kernels
        )

    maps = ours(None)
    pixels = sum(one.size for one in labels)
    up = 3 * pixels  # a byte of label, two of superpixel
    down = sum(m.values.nbytes + m.regions.pixels.nbytes for m in maps)
    band = sum(m.regions.pixels.size for m in maps)
    to, back, within = speeds(device, repeats, 1 << 28 if device.type == "cuda" else 1 << 20)
    bound = up / to + down / back + (up + pixels * n_classes + down) / within
    print(
        f"{what}: {band / pixels:.0%} of the pixels in the band. Bound {1e3 * bound:.2f} ms: "
        f"{up / 1e6:.0f} MB to the device at {to / 1e9:.1f} GB/s, {down / 1e6:.0f} MB back at "
        f"{back / 1e9:.1f} GB/s, {(up + pixels * n_classes + down) / 1e6:.0f} MB within at "
        f"{within / 1e9:.0f} GB/s."
    )
    seconds = {"softlabel, tensor code": median_seconds(lambda: ours(False), device, repeats)}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        budget = memory_budget(device)
        seconds["softlabel, Triton kernels"] = median_seconds(lambda: ours(True), device, repeats)
        peak = torch.cuda.max_memory_allocated(device)
        print(f"Peak memory {peak / 2**30:.2f} GiB of {budget / 2**30:.1f} GiB allowed.")
        same = all(
            a.values.tobytes() == b.values.tobytes()
            for a, b in zip(ours(True), ours(False), strict=True)
        )
        print(f"Triton kernels and tensor code give the same bytes: {'yes' if same else 'NO'}.")
    peer = cupy_edt(labels, n_classes, repeats) if device.type == "cuda" else None
    if peer is not None:
        seconds["CuPy, distances alone"] = peer
    _check_cpu(labels, ids, table, maps)
    rows = [
        {
            "work": what, "by": name, "ms": 1e3 * s, "times the bound": s / bound,
            "times as fast as CuPy": peer / s if peer is not None else float("nan"),
        }
        for name, s in seconds.items()
    ]  # fmt: skip
    _show(rows)
    return rows


def _check_cpu(labels: list[Array], ids: list[Array], table: ClassTable, maps: Any) -> None:
    import softlabel

    for index, superpixels, found in list(zip(labels, ids, maps, strict=True))[:4]:
        expected = softlabel.soften(index, superpixels, classes=table)
        if found.values.tobytes() != expected.values.tobytes():
            raise AssertionError("The device's soft maps are not the CPU's.")
    print("The soft maps are the CPU's, byte for byte.")


def cupy_edt(labels: list[Array], n_classes: int, repeats: int) -> float | None:
    """Seconds of the peer; None without CuPy."""
    cupy = _cupy()
    if cupy is None:
        return None
    try:
        from cupyx.scipy.ndimage import distance_transform_edt
    except ImportError:
        return None

    def run() -> None:
        for one in labels:
            there = cupy.asarray(one)
            for k in range(n_classes):
                inside = there == k
                distance_transform_edt(inside)
                distance_transform_edt(~inside)
        cupy.cuda.Device().synchronize()

    times = []
    for number in range(max(3, repeats // 2) + 1):
        started = time.perf_counter()
        run()
        if number:
            times.append(time.perf_counter() - started)
    return statistics.median(times)


def on_the_fly(
    data: tuple[list[Array], list[Array]], device: torch.device, repeats: int
) -> list[dict[str, Any]]:
    """Soft labels of a batch that is on the device already, as in a training loop."""
    labels = torch.from_numpy(np.stack(data[0])).to(device)
    ids = torch.from_numpy(np.stack(data[1])).to(device)
    table = ClassTable.from_values(range(10))
    what = f"{len(labels)} B-scans on the fly"
    works: dict[str, Callable[[], Any]] = {
        "soften_batch": lambda: soften_batch(labels, ids, table),
        "soften_batch and dense(float32)": lambda: soften_batch(labels, ids, table).dense(),
    }
    rows = [
        {"work": what, "by": name, "ms": 1e3 * median_seconds(work, device, 3 * repeats)}
        for name, work in works.items()
    ]
    _show(rows)
    return rows


class _Operations(TorchDispatchMode):
    """Counts the operations of torch that move data, and the bytes that they read and write."""

    VIEWS = ("view", "reshape", "slice", "select", "expand", "permute", "unsqueeze", "squeeze",
             "unbind", "narrow", "alias", "detach", "split")  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.count = self.bytes = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if function.overloadpacket.__name__ not in self.VIEWS:
            self.count += 1
            tensors = tree_leaves((args, result))
            self.bytes += sum(t.nbytes for t in tensors if isinstance(t, torch.Tensor))
        return result


def operations(data: tuple[list[Array], list[Array]], device: torch.device) -> list[dict[str, Any]]:
    """What a device is asked to do for a batch; without a card it says nothing about time.

    What the kernels by Triton do themselves is left out of the sums.
    """
    table = ClassTable.from_values(range(10))
    rows = []
    for name, kernels in {"tensor code": False, "Triton kernels": True}.items():
        if kernels and device.type != "cuda":
            break
        with _Operations() as counted:
            soften_images(
                *(data[0], table, data[1], (1.0, 1.0), 1.0, SuperpixelOptions(), device),
                memory=1 << 33, kernels=kernels,
            )  # fmt: skip
        rows.append(
            {"work": f"{len(data[0])} B-scans", "by": name, "torch operations": counted.count,
             "GB": counted.bytes / 1e9}
        )  # fmt: skip
    _show(rows)
    return rows


def superpixel_quality(device: torch.device, shape: tuple[int, int]) -> list[dict[str, Any]]:
    """SLIC on the device beside the CPU's: time, agreement, and how well it fits the labels."""
    import softlabel
    from softlabel.superpixels.quality import (
        achievable_accuracy,
        boundary_recall,
        undersegmentation_error,
    )
    from softlabel.superpixels.slic_tensor import slic_on_device

    labels = bscans(1, shape)[0][0]
    rng = np.random.default_rng(0)
    image = np.array([30, 60, 20, 70, 40, 80, 30, 90, 50, 5])[labels] + rng.normal(0, 8, shape)
    image = (image / 100).astype(np.float32)
    count = 2000 if shape[0] > 100 else 40
    found = {}
    works: dict[str, Callable[[], Array]] = {
        "softlabel.slic, CPU": lambda: softlabel.slic(image, count),
        "on the device": lambda: slic_on_device(
            image[None], count, 0.1, 1.0, (1.0, 1.0), 10, device
        ),
    }
    rows = []
    for name, work in works.items():
        found[name] = work()
        accuracy = achievable_accuracy(labels, found[name])
        rows.append({
            "superpixels": name, "ms": 1e3 * median_seconds(work, device, 3),
            "count": int(found[name].max()) + 1,
            "boundary recall over chance": boundary_recall(labels, found[name]).over_chance,
            "under-segmentation error": undersegmentation_error(labels, found[name]),
            "achievable accuracy": accuracy.overall,
            "its worst class": min(accuracy.recall.values()),
        })  # fmt: skip
    _show(rows)
    same = np.array_equal(works["on the device"](), found["on the device"])
    print(f"Two runs give the same labels: {'yes' if same else 'NO'}.")
    return rows


def _show(rows: Sequence[dict[str, Any]]) -> None:
    """Print rows as a Markdown table; needs no package."""
    print()
    print("| " + " | ".join(rows[0]) + " |")
    print("|" + "|".join("---" if isinstance(v, str) else "---:" for v in rows[0].values()) + "|")
    for row in rows:
        print("| " + " | ".join(_text(value) for value in row.values()) + " |")
    print()


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "–" if value != value else f"{value:.3g}"
    return str(value)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--repeats", type=int, default=7)
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit(
            "There is no CUDA card here: nothing was measured (try --device cpu for a tiny run)."
        )
    main(given.repeats, given.device)
