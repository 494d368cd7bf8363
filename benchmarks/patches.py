"""Training patches of volumes a second, from softlabel's cache and from a MONAI pipeline.

Run with ``python -m benchmarks.patches``. Three brains of 240 × 240 × 48 voxels, 3 channels and 11
classes; patches of 96 × 96 × 32, two a batch, half of them around a voxel of a class. All loaders
deliver the same on the CPU: normalised images, class numbers and dense float32 soft labels.

The peer is what MONAI's tutorials write: ``CacheDataset`` keeps what was read from NIfTI files
(soft labels as one file of float32 with an axis of classes), ``RandCropByPosNegLabeld`` cuts. The
same with ``FgBgToIndicesd`` finds the voxels of the foreground once instead of for each patch, and
the same without soft labels shows what those cost. Each loader runs in a process of its own with
one thread: seconds until the first batch include reading and decoding all cases, memory and
processor time are those of the process without its workers.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.measure import one_thread, show

one_thread()

import nibabel as nib  # noqa: E402
import numpy as np  # noqa: E402

PATCH = (96, 96, 32)
BATCH = 2
SHAPE = (240, 240, 48)
WARM_UP = 3
"""Batches after the first one that are not timed."""

Row = dict[str, Any]
Batches = Iterable[Any]


def write_data(folder: Path, n_subjects: int, shape: tuple[int, ...]) -> None:
    """A cache of phantoms, and the same arrays as NIfTI files for the peer."""
    from softlabel import Settings, generate, open_cache
    from softlabel.phantom import write_mri_dataset

    write_mri_dataset(folder / "mri", n_subjects=n_subjects, shape=shape, seed=1)
    generate(folder / "mri", folder / "mri.h5", Settings(slic_dims="slice"))
    for number, case in enumerate(open_cache(folder / "mri.h5").values()):
        affine = np.diag([*(case.spacing_mm or (1.0, 1.0, 1.0)), 1.0])
        maps = {
            "image": np.moveaxis(case.image[...].astype(np.float32), 0, -1),
            "label": case.labels[...],
            "soft": np.moveaxis(case.soft[...], 0, -1),
        }
        for name, values in maps.items():
            nib.save(nib.Nifti1Image(values, affine), folder / f"{number}_{name}.nii.gz")


def softlabel_loader(folder: Path, workers: int, keep_mb: int) -> Batches:
    """The trainer's own loader; each batch is expanded to dense maps."""
    from softlabel_train.data import CacheDataset, StepSampler, make_loader

    from softlabel import open_cache

    cache = open_cache(folder / "mri.h5")
    dataset = CacheDataset(cache, list(cache), crop=PATCH, balance=0.5, keep_mb=keep_mb)
    if keep_mb:  # as the peer does: all cases are decoded before the first batch
        for i in range(len(dataset)):
            dataset[i]
    memory = None
    for batch in make_loader(dataset, StepSampler(len(cache), BATCH, 10**6), workers=workers):
        image, labels, memory = batch.expand(memory)
        yield image, labels, memory


def monai_loader(folder: Path, workers: int, soft: bool, indices: bool) -> Batches:
    """MONAI's transforms, cached up to the first random one."""
    from monai.data import CacheDataset, DataLoader
    from monai.transforms import (
        Compose,
        EnsureChannelFirstd,
        FgBgToIndicesd,
        LoadImaged,
        NormalizeIntensityd,
        RandCropByPosNegLabeld,
    )

    maps = ["image", "soft"] if soft else ["image"]
    keys = [*maps, "label"]
    found = {"fg_indices_key": "label_fg_indices", "bg_indices_key": "label_bg_indices"}
    steps: list[Any] = [
        LoadImaged(keys),
        EnsureChannelFirstd(maps, channel_dim=-1),
        EnsureChannelFirstd("label", channel_dim="no_channel"),
        NormalizeIntensityd("image", channel_wise=True),
        *([FgBgToIndicesd("label")] if indices else []),
        RandCropByPosNegLabeld(
            keys, "label", PATCH, pos=1, neg=1, num_samples=1, **(found if indices else {})
        ),
    ]  # fmt: skip
    files = [
        {key: str(path.with_name(path.name.replace("label", key))) for key in keys}
        for path in sorted(folder.glob("*_label.nii.gz"))
    ]
    order = [i % len(files) for i in range(10**5)]
    dataset = CacheDataset(files, Compose(steps), num_workers=0, progress=False)
    return DataLoader(dataset, batch_size=BATCH, sampler=order, num_workers=workers)


LOADERS: dict[str, Callable[[Path, int], Batches]] = {
    "MONAI, as in its tutorials": lambda f, w: monai_loader(f, w, True, False),
    "MONAI, foreground found once": lambda f, w: monai_loader(f, w, True, True),
    "MONAI, hard labels only": lambda f, w: monai_loader(f, w, False, True),
    "softlabel, decoded once (default)": lambda f, w: softlabel_loader(f, w, 4096),
    "softlabel, read every time": lambda f, w: softlabel_loader(f, w, 0),
}
PEER = next(iter(LOADERS))


def measured(name: str, folder: Path, workers: int, batches: int) -> Row:
    """One loader in this process: patches a second, seconds to the first batch, memory."""
    import torch

    torch.set_num_threads(1)
    started = time.perf_counter()
    batch_of: Iterator[Any] = iter(LOADERS[name](folder, workers))
    next(batch_of)
    first = time.perf_counter() - started
    for _ in islice(batch_of, WARM_UP):
        pass
    started, cpu = time.perf_counter(), time.process_time()
    for _ in islice(batch_of, batches):
        pass
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    memory_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "patches a second": BATCH * batches / wall,
        "CPU ms a patch": 1e3 * cpu / (BATCH * batches),
        "s to the first batch": first,
        "MB": memory_kb / 1e3,
    }


def in_process(name: str, folder: Path, workers: int, batches: int) -> Row:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.patches", "--one", name, str(folder)]
    options = ["--workers", str(workers), "--batches", str(batches)]
    done = subprocess.run(
        [*command, *options], stdout=subprocess.PIPE, text=True, check=True,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    found: Row = json.loads(done.stdout.splitlines()[-1])
    return found


def main(
    repeats: int = 3, n_subjects: int = 3, shape: tuple[int, ...] = SHAPE, batches: int = 40
) -> list[Row]:
    """Print the table and return its rows: medians of turns."""
    rows = []
    load = f"load at the start {os.getloadavg()[0]:.1f}"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_data(folder, n_subjects, shape)
        for workers in (0, 2):
            turns = [
                {name: in_process(name, folder, workers, batches) for name in LOADERS}
                for _ in range(repeats)
            ]
            medians = {
                name: {c: float(np.median([turn[name][c] for turn in turns])) for c in columns}
                for name, columns in turns[0].items()
            }
            peer = medians[PEER]["patches a second"]
            rows += [
                {"workers": workers, "loader": name, **medians[name],
                 "times the peer": medians[name]["patches a second"] / peer}
                for name in LOADERS
            ]  # fmt: skip
    title = f"Patches of {'×'.join(map(str, PATCH))}, {BATCH} a batch, ready on the CPU"
    show(title, [{"loader": row["loader"], **row} for row in rows], note=load)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("LOADER", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--batches", type=int, default=40)
    options = parser.parse_args()
    if options.one:
        loader, where = options.one
        print(json.dumps(measured(loader, Path(where), options.workers, options.batches)))
    else:
        main(options.repeats, batches=options.batches)
