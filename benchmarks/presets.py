"""What ``--preset auto`` makes of OCT, MRI, CT and small images, beside the defaults.

Run with ``python -m benchmarks.presets``. Each row changes one thing of the preset. *Over chance*
is boundary recall less the larger of a regular grid's and the share of all pixels near a superpixel
boundary; *Dice* what whole superpixels reach at best, mean over the classes, and the lowest of a
class; *soft* the share of the pixels of all classes but the largest that becomes soft
(:mod:`softlabel.tuning`). Means are over the images. Of volumes a box around the boundaries is
looked at.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.measure import one_thread, show

one_thread()

import numpy as np  # noqa: E402

from benchmarks import data  # noqa: E402
from benchmarks.volumes import brain_of  # noqa: E402
from softlabel.generation.preset import resolved  # noqa: E402
from softlabel.generation.settings import Settings  # noqa: E402
from softlabel.phantom import (  # noqa: E402
    write_ct_dataset,
    write_mri_dataset,
    write_oct_dataset,
)
from softlabel.readers import READERS, list_dataset, read_case  # noqa: E402
from softlabel.tuning.fit import Trial, fit  # noqa: E402
from softlabel.tuning.pieces import Scan, excerpt_of  # noqa: E402
from softlabel.tuning.rows import Row, row_of  # noqa: E402
from softlabel.types import Array, Case  # noqa: E402

SEED = 2000
"""Of the phantoms here; the rule was chosen on those of seed 1, and on the real scans below."""

MOST_PIXELS = 1 << 19
"""Of an image that are looked at: all of a B-scan."""

VARIANTS: dict[str, Callable[[Settings], Settings]] = {
    "auto": lambda chosen: chosen,
    "half the size": lambda chosen: replace(chosen, superpixel_size=_size(chosen) / 2),
    "twice the size": lambda chosen: replace(chosen, superpixel_size=_size(chosen) * 2),
    "half the compactness": lambda chosen: replace(chosen, compactness=chosen.compactness / 2),
    "twice the compactness": lambda chosen: replace(chosen, compactness=chosen.compactness * 2),
    "sigma 0": lambda chosen: replace(chosen, sigma=0.0),
    "sigma 1": lambda chosen: replace(chosen, sigma=1.0),
    "sigma 2": lambda chosen: replace(chosen, sigma=2.0),
    "min–max": lambda chosen: replace(chosen, channel_percentiles=(0.0, 100.0)),
}
"""What is changed of the settings that the preset chooses."""


def _size(chosen: Settings) -> float:
    assert chosen.superpixel_size is not None
    return chosen.superpixel_size


@dataclass(frozen=True, eq=False)
class Images:
    """Some images of one kind."""

    name: str
    scans: Sequence[Scan]


def kinds() -> Iterator[Images]:
    """The images that are looked at."""
    bscans = _phantoms("oct", lambda folder: write_oct_dataset(
        folder, n_subjects=1, seed=SEED, shape=(496, 768, 4), n_annotated=4))  # fmt: skip
    yield Images("OCT phantom, 4 B-scans of 496×768", [_scan(case) for case in bscans])
    real = [_plain(name, *pair) for name, pair in data.real_bscans().items()]
    if real:
        yield Images("OCT, 3 real B-scans of 1024×200", real)
        yield Images("the same with bright pixels", [_with_bright_pixels(scan) for scan in real])
    (brain,) = _phantoms("mri", lambda folder: write_mri_dataset(folder, n_subjects=1, seed=SEED))
    yield Images("MRI phantom, 240×240×48, 3 mm slices", [_scan(brain)])
    yield Images("4 slices of it at 120×120", list(_small_slices(brain)))
    if (pair := data.real_brain()) is not None:
        scan = _scan(brain_of(*pair))
        yield Images("FreeSurfer brain, 45 classes, 1 mm", [scan])
        yield Images("the same with bright voxels", [_with_bright_pixels(scan)])
    if (scan := _tissue()) is not None:
        yield Images("real brain, 2 tissues, 1 mm", [scan])
    (body,) = _phantoms("ct", lambda folder: write_ct_dataset(
        folder, n_subjects=1, seed=SEED, shape=(128, 128, 76)))  # fmt: skip
    yield Images("CT phantom, 103 classes, 128×128×76", [_scan(body)])
    window = replace(body, image=np.clip(body.image, -160, 240))
    yield Images("the same in a window of −160 to 240 HU", [_scan(window)])


def _phantoms(name: str, write: Callable[[Path], object]) -> list[Case]:
    """Cases of a phantom that is written once."""
    folder = data.FOLDER / f"presets-{name}"
    if not (folder / "phantom.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        write(folder)
    dataset = list_dataset(folder)
    reader = READERS[dataset.format]
    return [
        read_case(reader, dataset, ref, reader.open_source(dataset, ref.source))
        for ref in dataset.refs
    ]


def _scan(case: Case) -> Scan:
    spacing = case.spacing_mm or (1.0,) * len(case.shape)
    return Scan(
        case.id, case.image, case.labels, case.ignore, case.mask,
        tuple(s / min(spacing) for s in spacing),
    )  # fmt: skip


def _plain(name: str, image: Array, labels: Array) -> Scan:
    return Scan(name, image[None], labels, None, None, (1.0,) * labels.ndim)


def _small_slices(brain: Case) -> Iterator[Scan]:
    """Slices with every second pixel along both axes."""
    for z in (14, 20, 26, 32):
        labels = brain.labels[::2, ::2, z]
        yield Scan(
            f"slice {z}", brain.image[:, ::2, ::2, z], labels, brain.ignore, None, (1.0, 1.0)
        )


def _with_bright_pixels(scan: Scan) -> Scan:
    """One pixel in 2000 four times as bright as the brightest, as spikes and metal are."""
    image = scan.image.astype(np.float32)
    spikes = np.random.default_rng(0).random(image.shape) < 1 / 2000
    image[spikes] = 4 * image.max()
    return replace(scan, image=image)


def _tissue() -> Scan | None:
    import nibabel

    folder = data.SHARED / "brain_tissue_lapirn_oasis"
    if not folder.is_dir():
        return None
    image, labels = (
        np.asarray(nibabel.load(folder / f"image_A_160x192x144{end}.nii.gz").dataobj)  # type: ignore[attr-defined]
        for end in ("", "_seg")
    )
    return _plain("A", image.astype(np.float32), labels.astype(np.int16))


def measured(images: Images, settings: Callable[[tuple[int, ...]], Settings]) -> Row:
    """What settings, by the shape of the image, do to some images."""
    fits, trial = [], None
    for scan in images.scans:
        chosen = settings(scan.labels.shape)
        trial = Trial(chosen.superpixel_size, chosen.compactness, chosen.sigma)
        fits.append(fit(excerpt_of(scan, chosen.channel_percentiles, MOST_PIXELS), trial))
    assert trial is not None
    return row_of(trial, fits)


def table_of(images: Images) -> list[dict[str, Any]]:
    """The defaults, the preset, and changes of it."""
    auto = Settings(preset="auto")
    found = {"default, 2000 superpixels": measured(images, lambda shape: Settings())}
    for name, change in VARIANTS.items():
        tried = measured(images, lambda shape, change=change: change(resolved(auto, shape)))  # type: ignore[misc]
        if name == "auto" or tried.trial != found["auto"].trial or name == "min–max":
            found[name] = tried
    return [
        {
            images.name: name,
            "size": "" if row.trial.size is None else f"{row.trial.size:g}",
            "compactness": f"{row.trial.compactness:g}",
            "sigma": f"{row.trial.sigma:g}",
            "returned, pixels each": row.made_size,
            "over chance": row.over_chance,
            "Dice": row.mean_dice,
            "a grid's": row.mean_grid_dice,
            "lowest": min(row.dice.values()),
            "soft": row.softened_of_classes,
        }
        for name, row in found.items()
    ]


def main(repeats: int = 1) -> list[dict[str, Any]]:
    """Print the tables and return their rows; nothing is timed, so nothing is repeated."""
    rows = []
    for images in kinds():
        table = table_of(images)
        show(images.name, table)
        rows += table
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    main()
