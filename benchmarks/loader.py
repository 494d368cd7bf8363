"""Training batches a second, ready on the device, from softlabel's cache and from its peers.

Run with ``python -m benchmarks.loader``. All loaders deliver the same batches: normalised images,
class indices and dense float32 soft labels of whole B-scans or 256×256 crops, on the CPU as the
device. The peers are what one writes first: dense maps in one HDF5 file with gzip-4, and a dense
float16 memory map.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from softlabel_train.data import KEEP_MB, CacheDataset, Intensity, StepSampler, make_loader
from torch.utils.data import DataLoader, Dataset

from benchmarks.measure import alternate_with_cpu, show

if TYPE_CHECKING:
    from softlabel.cache import Cache

BATCH = 8
CROP = (256, 256)


class DenseDataset(Dataset):  # type: ignore[type-arg]
    """Dense maps, cut at random places, from HDF5 (opened on first use) or a memory map."""

    def __init__(self, path: Path, kind: str, n: int, shape: tuple[int, ...], crop: Any) -> None:
        self.path, self.kind, self.n, self.shape, self.crop = path, kind, n, shape, crop
        self.file: Any = None

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        if self.file is None:
            if self.kind == "gzip":
                self.file = h5py.File(self.path / "dense.h5", locking=False)
            else:
                spatial = self.shape[1:]
                self.file = {
                    "image": np.memmap(self.path / "image", np.uint8, "r", 0, (self.n, *spatial)),
                    "labels": np.memmap(self.path / "labels", np.uint8, "r", 0, (self.n, *spatial)),
                    "soft": np.memmap(
                        self.path / "soft", np.float16, "r", 0, (self.n, *self.shape)
                    ),
                }
        rng = np.random.default_rng(i)
        size = self.crop or self.shape[1:]
        where = tuple(
            slice(s, s + m)
            for s, m in (
                (int(rng.integers(0, n - m + 1)), m)
                for n, m in zip(self.shape[1:], size, strict=True)
            )
        )
        image = self.file["image"][(i, *where)].astype(np.float32)
        labels = self.file["labels"][(i, *where)].astype(np.int64)
        soft = self.file["soft"][(i, slice(None), *where)].astype(np.float32)
        return (
            torch.from_numpy(image)[None].sub_(60).div_(40), torch.from_numpy(labels),
            torch.from_numpy(soft),
        )  # fmt: skip


def make_data(folder: Path, n_subjects: int, n_annotated: int) -> Path:
    """A cache of full-size phantom B-scans, and the same as dense files."""
    from softlabel.cache import open_cache
    from softlabel.generation.run import generate
    from softlabel.phantom import write_oct_dataset

    shape = (496, 768, n_annotated)
    write_oct_dataset(folder / "oct", n_subjects=n_subjects, shape=shape, n_annotated=n_annotated)
    generate(folder / "oct", folder / "oct.h5")
    cache = open_cache(folder / "oct.h5")
    cases = list(cache.values())
    n, full = len(cases), cases[0].soft.shape
    with h5py.File(folder / "dense.h5", "w") as file:
        for name, dtype, size in (
            ("image", np.uint8, full[1:]),
            ("labels", np.uint8, full[1:]),
            ("soft", np.float32, full),
        ):  # fmt: skip
            chunk = (1, *size[:-2], 124, 128)
            data = file.create_dataset(name, (n, *size), dtype, chunks=chunk, compression=4)
            kind = np.float16 if name == "soft" else dtype
            flat = np.memmap(folder / name, kind, "w+", 0, (n, *size))
            for i, case in enumerate(cases):
                values = case.image[0] if name == "image" else getattr(case, name)[...]
                data[i] = values
                flat[i] = values
            flat.flush()
    return folder / "oct.h5"


def batches_per_second(make: Callable[[], Iterable[Any]], warm_up: int, timed: int) -> float:
    """Batches a second after the first ones."""
    iterator = iter(make())
    for _ in range(warm_up):
        next(iterator)
    start = time.perf_counter()
    for _ in range(timed):
        next(iterator)
    return timed / (time.perf_counter() - start)


def dense(
    folder: Path, kind: str, n: int, shape: tuple[int, ...], crop: Any, workers: int
) -> Callable[[], Iterable[Any]]:
    def make() -> Iterable[Any]:
        dataset = DenseDataset(folder, kind, n, shape, crop)
        order = [(i * 7919) % n for i in range(10_000)]
        return DataLoader(dataset, BATCH, sampler=order, num_workers=workers)

    return make


def ours(
    cache: Path, ids: Sequence[str], crop: Any, workers: int, keep_mb: int
) -> Callable[[], Iterable[Any]]:
    def make() -> Iterable[Any]:
        dataset = CacheDataset(cache, ids, crop=crop, intensity=Intensity((60.0,), (40.0,)),
                               keep_mb=keep_mb)  # fmt: skip
        if keep_mb:  # all decoded before the workers start, so that nothing is read while timing
            for i in range(len(ids)):
                dataset[i]
        memory = None
        for batch in make_loader(dataset, StepSampler(len(ids), BATCH, 10_000), workers=workers):
            image, labels, memory = batch.expand(memory)
            yield image, labels, memory

    return make


def verification(folder: Path, repeats: int) -> list[dict[str, Any]]:
    """What comparing with digests costs (``open_cache(verify=…)``): image, labels, soft labels.

    The first read of a case in a process hashes all that is stored of it, later ones nothing.
    """
    from softlabel import Settings, generate, open_cache
    from softlabel.phantom import write_mri_dataset, write_oct_dataset

    write_oct_dataset(folder / "scans", n_subjects=1, shape=(496, 768, 8), n_annotated=8)
    write_mri_dataset(folder / "brains", n_subjects=1, shape=(240, 240, 48))
    for name in ("scans", "brains"):
        generate(folder / name, folder / f"{name}.h5", Settings(n_segments=2000))
    rows: list[dict[str, Any]] = []
    for what, name, shape in (
        ("256² crop of 496×768", "scans", CROP),
        ("96×96×32 of 240×240×48", "brains", (96, 96, 32)),
    ):
        path = folder / f"{name}.h5"
        opened = {verify: open_cache(path, verify=verify) for verify in (False, True)}
        for when, functions in (
            ("first, opening included", {v: partial(_read_first, path, shape, v) for v in opened}),
            ("later", {v: partial(_read, cache, shape) for v, cache in opened.items()}),
        ):
            times = alternate_with_cpu({str(v): f for v, f in functions.items()}, repeats)
            for verify, (wall, cpu) in times.items():
                rows.append({
                    "patch": what, "read": when, "verify": verify, "ms": 1e3 * wall,
                    "CPU ms": 1e3 * cpu, "times as long, CPU": cpu / times["False"][1],
                })  # fmt: skip
    return rows


def _read_first(path: Path, shape: tuple[int, ...], verify: bool) -> None:
    from softlabel import open_cache

    with open_cache(path, verify=verify) as cache:
        _read(cache, shape)


def _read(cache: Cache, shape: tuple[int, ...]) -> None:
    """A patch of the first case."""
    case = next(iter(cache.values()))
    where = tuple(slice(8, 8 + n) for n in shape)
    _ = case.image[(..., *where)], case.labels[where], case.soft[(..., *where)]


def main(repeats: int = 12, n_subjects: int = 2, n_annotated: int = 8) -> list[dict[str, Any]]:
    """Print the table and return its rows; times at least 12 batches of B-scans, 48 of crops."""
    timed = max(12, repeats)
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        cache = make_data(folder, n_subjects, n_annotated)
        from softlabel.cache import open_cache

        with open_cache(cache) as opened:
            ids = list(opened)
            shape = opened[ids[0]].soft.shape
        n = len(ids)
        for what, crop, count in (("B-scans", None, timed), ("256² crops", CROP, 4 * timed)):
            for workers in (0, 2):
                found = {
                    "gzip-4 HDF5, dense": dense(folder, "gzip", n, shape, crop, workers),
                    "float16 memory map, dense": dense(folder, "map", n, shape, crop, workers),
                    "cache, read every time": ours(cache, ids, crop, workers, 0),
                    "cache, decoded once (default)": ours(cache, ids, crop, workers, KEEP_MB),
                }
                speeds = {
                    name: batches_per_second(make, 2 + 2 * workers, count)
                    for name, make in found.items()
                }
                first, no_read = speeds["gzip-4 HDF5, dense"], list(speeds.values())[-1]
                for name, speed in speeds.items():
                    rows.append({
                        "what": what, "workers": workers, "loader": name,
                        "batches_per_second": speed, "images_per_second": speed * BATCH,
                        "times_gzip": speed / first, "share_of_no_read": speed / no_read,
                    })  # fmt: skip
    table = Table(title=f"Batches of {BATCH}, ready on the CPU")
    for column in ("samples", "workers", "loader", "images/s", "× gzip-4", "of no read"):
        table.add_column(column, justify="left" if column in ("samples", "loader") else "right")
    for row in rows:
        if row["loader"].startswith("gzip"):
            table.add_section()
        table.add_row(
            row["what"], str(row["workers"]), row["loader"], f"{row['images_per_second']:.0f}",
            f"{row['times_gzip']:.1f}", f"{100 * row['share_of_no_read']:.0f} %",
        )  # fmt: skip
    Console(width=100).print(table)
    with tempfile.TemporaryDirectory() as temporary:
        verified = verification(Path(temporary), timed)
    show("What comparing with digests costs", verified)
    return rows + verified


if __name__ == "__main__":
    main()
