"""What the steps for OCT change: superpixels by denoiser, time of generation and of training.

Run with ``python -m benchmarks.steps [--bscans 8]``. Superpixels are those of ``softlabel
generate``, 2000 asked for in a B-scan. *Over chance* subtracts the share of all pixels that have
a boundary of a superpixel nearby; *over a grid* subtracts the recall of a regular grid of as many
superpixels. The achievable accuracy of a class is the share of its pixels that a segmentation of
whole superpixels could find. Real B-scans, whose pixels are taken as square, are left out where
there are none.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.measure import alternate_with_cpu, one_thread, show

one_thread()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from softlabel_train.models import build_model  # noqa: E402

import softlabel  # noqa: E402
from benchmarks import data  # noqa: E402
from benchmarks.preprocess import HELD_OUT, METHODS, NETWORK, case_of, scans  # noqa: E402
from softlabel.generation.case_superpixels import make_superpixels  # noqa: E402
from softlabel.generation.settings import Settings  # noqa: E402
from softlabel.preprocess import STEPS, DenoiseOptions  # noqa: E402
from softlabel.readers.duke import CLASSES  # noqa: E402
from softlabel.superpixels.quality import achievable_accuracy, boundary_recall  # noqa: E402
from softlabel.types import Array, Case, ClassTable  # noqa: E402

SIZE = 190
"""Pixels of a superpixel where steps change the size of images: 2000 in 496 × 768 pixels."""

NO_SPACE = {"wedges": "fill", "denoise": "tv"}
"""Steps that leave every pixel in its place."""

RUNS: dict[str, dict[str, Any]] = {
    "none": {},
    "wedges, tv": NO_SPACE,
    "wedges, tv, flatten, crop": {**NO_SPACE, "flatten": "pixel", "crop": "retina"},
}

Row = dict[str, Any]


def phantom_cases(count: int) -> list[Case]:
    """B-scans with filled and masked wedges, and their true labels."""
    filled = (STEPS["wedges"].apply(case_of(scan), STEPS["wedges"].options())[0]
              for scan in scans(HELD_OUT, count))  # fmt: skip
    return [replace(case, classes=CLASSES) for case in filled]


def real_cases() -> list[Case]:
    """Real B-scans of optic discs; their class 8 is all that is not one of the eight layers."""
    names = ("RNFL", *(f"layer {k}" for k in range(1, 8)), "background")
    classes = ClassTable(tuple(range(9)), names)
    return [
        Case(name, image[None], labels, classes, source=name)
        for name, (image, labels) in data.real_bscans().items()
    ]


def measure(case: Case, superpixels: Array) -> tuple[Row, Row]:
    """How well superpixels fit the labels of a case: as a whole, and class by class."""
    assert case.classes is not None
    recall = boundary_recall(case.labels, superpixels, ignore=case.ignore)
    reached = achievable_accuracy(case.labels, superpixels, ignore=case.ignore)
    settings = Settings(superpixels="grid", n_segments=int(superpixels.max()) + 1)
    regular = make_superpixels(case, settings)[0]
    grid = boundary_recall(case.labels, regular, ignore=case.ignore)
    whole = {
        "superpixels": float(superpixels.max() + 1),
        "boundary recall": recall.recall,
        "over chance": recall.over_chance,
        "over a grid": recall.recall - grid.recall,
        "achievable accuracy": reached.overall,
    }
    return whole, {name: reached.recall.get(v, float("nan")) for v, name in case.classes}


def superpixel_tables(cases: list[Case]) -> tuple[list[Row], list[Row]]:
    """Means over cases of what superpixels of each denoised image reach, and a regular grid."""
    whole: list[Row] = []
    by_class: list[Row] = []
    for denoiser in ("none", *METHODS, "a regular grid"):
        settings = Settings(superpixels="grid" if denoiser == "a regular grid" else "slic")
        found = []
        for case in cases:
            image = case
            if denoiser in METHODS:
                extra = [NETWORK] if denoiser == "dncnn" else []
                image, _ = STEPS["denoise"].apply(case, DenoiseOptions(denoiser), *extra)
            found.append(measure(case, make_superpixels(image, settings)[0]))
        whole.append({"denoiser": denoiser} | mean([own for own, _ in found]))
        by_class.append({"achievable accuracy after": denoiser} | mean([own for _, own in found]))
    return whole, by_class


def mean(rows: list[Row]) -> Row:
    """Means of the numbers of rows, without what a case does not have."""
    return {name: float(np.nanmean([row[name] for row in rows])) for name in rows[0]}


def time_table(repeats: int) -> list[Row]:
    """Seconds of ``generate`` and of an epoch of training, with each set of steps.

    The epoch is of whole B-scans, one a batch, on one thread of a processor: forward, cross-entropy
    against soft labels, backward, step. Its pixels are those of the images that the network takes.
    """
    folder = data.oct_folder()
    settings = {
        name: Settings(superpixel_size=SIZE, preprocess_options=words)
        for name, words in RUNS.items()
    }
    with tempfile.TemporaryDirectory() as temporary:
        paths = {name: Path(temporary) / f"{n}.h5" for n, name in enumerate(RUNS)}
        made = alternate_with_cpu(
            {
                name: lambda n=name: softlabel.generate(
                    folder, paths[n], settings[n], jobs=1, overwrite=True
                )
                for name in RUNS
            },
            repeats,
        )
        cases = {name: arrays_of(path) for name, path in paths.items()}
    epochs = alternate_with_cpu({name: epoch_of(own) for name, own in cases.items()}, repeats)
    rows = []
    for name, own in cases.items():
        pixels = sum(image[0].size for image, _ in own)
        generated, trained = made[name][1], epochs[name][1]
        rows.append(
            {
                "steps": name,
                "generate, CPU s a B-scan": generated / len(own),
                "pixels a B-scan": pixels // len(own),
                "epoch, CPU s a B-scan": trained / len(own),
                "training, thousand pixels a CPU s": pixels / trained / 1e3,
            }
        )
    return rows


def arrays_of(path: Path) -> list[tuple[Array, Array]]:
    """Images and soft labels of a cache."""
    with softlabel.open_cache(path) as cache:
        return [(case.image[...], case.soft[...]) for case in cache.values()]


def epoch_of(cases: list[tuple[Array, Array]]) -> Callable[[], None]:
    """An epoch of a fresh U-Net with MobileNetV2 over whole images; its first step is not timed."""
    torch.manual_seed(0)
    net = build_model("unet", "mobilenet_v2", in_channels=1, n_classes=len(cases[0][1])).train()
    optimizer = torch.optim.AdamW(net.parameters())

    def step(image: Array, soft: Array) -> None:
        values = torch.from_numpy(image.astype(np.float32))[None] / 255
        loss = torch.nn.functional.cross_entropy(net(values), torch.from_numpy(soft)[None])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    step(*cases[0])
    return lambda: [step(*case) for case in cases] and None


def main(repeats: int = 3, bscans: int = 8) -> list[Row]:
    """Print the tables and return their rows."""
    torch.set_num_threads(1)
    tables: dict[str, list[Row]] = {}
    sets = {f"{bscans} B-scans of phantoms, seeds {HELD_OUT} on": phantom_cases(bscans)}
    if real := real_cases():
        sets[f"{len(real)} real B-scans"] = real
    for what, cases in sets.items():
        tables[f"Superpixels of {what}"], tables[f"{what}, by class"] = superpixel_tables(cases)
    tables["4 B-scans of 496 × 768 pixels, one core"] = time_table(repeats)
    for title, rows in tables.items():
        show(title, rows)
    return [row for rows in tables.values() for row in rows]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bscans", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    main(options.repeats, options.bscans)
