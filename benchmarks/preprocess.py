"""Preprocessing of OCT and MRI on phantoms whose truth is known.

Run with ``python -m benchmarks.preprocess [--bscans 32] [--brains 4]``; ``--choose`` prints the
peak signal-to-noise ratio over a grid of the denoisers' strengths instead, on the seeds by which
the defaults were chosen. The tables are from other seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.measure import alternate_with_cpu, one_thread, show

one_thread()

import numpy as np  # noqa: E402
from skimage.metrics import peak_signal_noise_ratio, structural_similarity  # noqa: E402

from softlabel.generation import networks_for  # noqa: E402
from softlabel.phantom import Brain, make_brain, make_oct_subject  # noqa: E402
from softlabel.phantom.retina import AXIAL_UM, LATERAL_UM  # noqa: E402
from softlabel.preprocess import (  # noqa: E402
    STEPS,
    BoxOptions,
    BrainMaskOptions,
    DenoiseOptions,
    NormaliseOptions,
    PreprocessOptions,
    ResampleOptions,
    denoise_bscan,
    fill_background,
    find_retina,
    intensity_mask,
    plan_of,
    preprocess,
    resample_labels,
)
from softlabel.types import Array, Case, ClassTable  # noqa: E402
from softlabel.wedges import find_wedges  # noqa: E402

CHOOSING, HELD_OUT = 1000, 4000
"""First seeds of the phantoms that settings were chosen on, and of those that are reported."""

PER_SUBJECT = 4
"""B-scans of a subject that are looked at: every other one of the middle, where fluid is."""

METHODS = ("tv", "nlm", "bilateral", "dncnn")

(NETWORK,) = networks_for(plan_of(PreprocessOptions(denoise="dncnn"))).values()
"""The network that comes with softlabel; it was trained on phantoms of seed 1."""

GRID: dict[str, list[dict[str, float]]] = {
    "tv": [{"tv_weight": w} for w in (1.0, 2.0, 2.5, 3.0, 4.0)],
    "nlm": [{"nlm_h": h} for h in (1.0, 1.4, 1.6, 1.8, 2.2)],
    "bilateral": [
        {"bilateral_range": r, "bilateral_spatial_px": s}
        for r in (3.0, 3.5, 4.5)
        for s in (1.5, 2, 3)
    ],
}

SPACINGS_MM: dict[str, tuple[float, ...]] = {
    "1 mm": (1.0,),
    "1 mm, in the plane as it is": (0.0, 0.0, 1.0),
    "2 mm": (2.0,),
}

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Scan:
    """A B-scan: with filled wedges, where it means something, and its truth."""

    raw: Array
    image: Array
    known: Array
    clean: Array
    boundaries: Array
    wet: Array
    labels: Array


def scans(first_seed: int, count: int) -> Iterator[Scan]:
    """Phantoms of the real size, ``PER_SUBJECT`` B-scans of each seed."""
    for seed in range(first_seed, first_seed + -(-count // PER_SUBJECT)):
        subject = make_oct_subject(seed, 1, (496, 768, 15), 15)
        labels = subject.labels
        for b in (4, 6, 8, 10):
            wedge = find_wedges(subject.images[..., b])
            yield Scan(
                subject.images[..., b],
                fill_background(subject.images[..., b], wedge),
                ~wedge,
                subject.clean[..., b],
                subject.boundaries[..., b],
                (subject.fluid[..., b] > 0).any(axis=0),
                labels[..., b],
            )


def psnr(scan: Scan, image: Array) -> float:
    return float(peak_signal_noise_ratio(scan.clean[scan.known], image[scan.known], data_range=255))


def psnr_without_offset(scan: Scan, image: Array) -> float:
    """Without the mean error of bright and of dark pixels (above and below grey level 64).

    The logarithm of speckle is on average lower than that of its mean. A network that was trained
    on clean images adds what is missing, a filter cannot.
    """
    clean, found = scan.clean[scan.known].astype(float), image[scan.known].astype(float)
    for part in (clean < 64, clean >= 64):
        found[part] -= (found - clean)[part].mean()
    return float(peak_signal_noise_ratio(clean, found, data_range=255))


def ssim(scan: Scan, image: Array) -> float:
    _, local = structural_similarity(scan.clean, image, data_range=255, full=True)
    return float(local[scan.known].mean())


def choose(count: int) -> list[Row]:
    """Mean PSNR over a grid of strengths, on the seeds for choosing."""
    chosen = list(scans(CHOOSING, count))
    rows: list[Row] = []
    for method, grid in GRID.items():
        for strength in grid:
            options = DenoiseOptions(method, **strength)  # type: ignore[arg-type]
            values = [psnr(s, denoise_bscan(s.image, options, s.known)) for s in chosen]
            text = ", ".join(f"{name} {value:g}" for name, value in strength.items())
            rows.append({"method": method, "strength": text, "PSNR dB": float(np.mean(values))})
    return rows


def denoised(held_out: list[Scan]) -> dict[str, list[Array]]:
    images = {"none": [s.image for s in held_out]}
    for method in METHODS:
        options = DenoiseOptions(method)
        images[method] = [denoise_bscan(s.image, options, s.known, NETWORK) for s in held_out]
    return images


def noise_table(held_out: list[Scan], images: dict[str, list[Array]]) -> list[Row]:
    """PSNR and SSIM of each denoiser; in-domain, since all were chosen or trained on phantoms."""
    measures = {"PSNR dB": psnr, "PSNR dB without offset": psnr_without_offset, "SSIM": ssim}
    return [
        {"denoiser": method}
        | {
            name: float(np.mean([measure(s, i) for s, i in zip(held_out, own, strict=True)]))
            for name, measure in measures.items()
        }
        for method, own in images.items()
    ]


def membrane_table(held_out: list[Scan], images: dict[str, list[Array]]) -> list[Row]:
    """Error of Bruch's membrane in µm, in A-scans with and without fluid."""
    rows: list[Row] = []
    wet = np.stack([s.wet for s in held_out])
    true = np.stack([s.boundaries[7] for s in held_out])
    for method, own in images.items():
        found = [
            find_retina(image, (AXIAL_UM, LATERAL_UM), s.known).membrane
            for s, image in zip(held_out, own, strict=True)
        ]
        error = (np.stack(found) - true) * AXIAL_UM
        whole = (np.rint(np.stack(found)) - true) * AXIAL_UM
        for name, columns in (("none", ~wet), ("fluid", wet), ("all", np.ones_like(wet))):
            off = np.abs(error[columns])
            rows.append(
                {
                    "denoiser": method,
                    "A-scans with": name,
                    "A-scans": int(columns.sum()),
                    "mean µm": float(off.mean()),
                    "95th µm": float(np.percentile(off, 95)),
                    "max µm": float(off.max()),
                    "signed µm": float(error[columns].mean()),
                    "mean µm, whole pixels": float(np.abs(whole[columns]).mean()),
                }
            )
    return rows


def case_of(scan: Scan) -> Case:
    return Case(
        "phantom", scan.raw[None], scan.labels, ClassTable.from_values(range(10)),
        spacing_mm=(AXIAL_UM / 1000, LATERAL_UM / 1000), source="phantom",
    )  # fmt: skip


def time_table(scan: Scan, repeats: int) -> list[Row]:
    """Milliseconds a B-scan of every step, and of the way back."""
    case = case_of(scan)
    wedges = STEPS["wedges"].options()
    filled, _ = STEPS["wedges"].apply(case, wedges)
    runs = {
        "wedges": lambda: STEPS["wedges"].apply(case, wedges),
        **{
            f"denoise, {method}": lambda m=method: STEPS["denoise"].apply(
                filled, DenoiseOptions(m), *([NETWORK] if m == "dncnn" else [])
            )
            for method in METHODS
        },
        "find_retina": lambda: find_retina(scan.image, (AXIAL_UM, LATERAL_UM), scan.known),
        "flatten": lambda: STEPS["flatten"].apply(filled, STEPS["flatten"].options()),
        "crop": lambda: STEPS["crop"].apply(filled, STEPS["crop"].options()),
    }
    for name in ("flatten", "crop"):
        done, record = STEPS[name].apply(filled, STEPS[name].options())
        runs[f"restore labels, {name}"] = lambda n=name, d=done, r=record: STEPS[n].restore(
            r, d.labels, "labels"
        )
    taken = alternate_with_cpu(runs, repeats)
    return [
        {"step": name, "ms by the clock": 1000 * wall, "ms of processor": 1000 * cpu}
        for name, (wall, cpu) in taken.items()
    ]


def crop_table(held_out: list[Scan]) -> list[Row]:
    """Share of pixels that cropping saves, and of the retina that it loses."""
    rows = []
    for name, words in (
        ("crop", {"wedges": "fill", "crop": "retina"}),
        ("flatten, crop", {"wedges": "fill", "flatten": "pixel", "crop": "retina"}),
    ):
        plan = plan_of(PreprocessOptions(**words))  # type: ignore[arg-type]
        sizes, lost, retina = [], 0, 0
        for scan in held_out:
            case = case_of(scan)
            done = preprocess(case, plan).case
            sizes.append(done.image.size / case.image.size)
            before, after = (
                np.count_nonzero((m > 0) & (m != 8)) for m in (case.labels, done.labels)
            )
            retina, lost = retina + before, lost + before - after
        rows.append(
            {
                "steps": name,
                "pixels saved": 1 - float(np.mean(sizes)),
                "least saved": 1 - float(np.max(sizes)),
                "retina lost": lost / retina,
            }
        )
    return rows


def brain_case(brain: Brain) -> Case:
    """A brain with the true mask."""
    return Case(
        "phantom", brain.images, brain.labels, ClassTable.from_values(range(11)),
        mask=brain.labels > 0, spacing_mm=brain.spacing_mm, affine=brain.affine, source="phantom",
        channels=("FLAIR", "T1", "IR"),
    )  # fmt: skip


def overlap(one: Array, other: Array) -> float:
    """Dice."""
    return float(2 * np.count_nonzero(one & other) / (one.sum() + other.sum()))


def mask_table(brains: list[Brain]) -> list[Row]:
    """Dice of a mask from intensities with the true brain."""
    rows = []
    for channel, name in enumerate(("FLAIR", "T1", "IR")):
        whole, stripped = [], []
        for brain in brains:
            true, image = brain.labels > 0, brain.images[channel]
            whole.append(overlap(intensity_mask(image, brain.spacing_mm), true))
            stripped.append(overlap(intensity_mask(image * true, brain.spacing_mm), true))
        rows.append(
            {
                "sequence": name,
                "Dice with a skull": float(np.mean(whole)),
                "lowest": float(np.min(whole)),
                "Dice without": float(np.mean(stripped)),
            }
        )
    return rows


def round_trip_table(brains: list[Brain]) -> list[Row]:
    """What resampling changes on the way there and back, in the box of the brain."""
    rows = []
    for name, spacing in SPACINGS_MM.items():
        changed, ours, nearest, off = [], [], [], []
        for brain in brains:
            case, _ = STEPS["box"].apply(brain_case(brain), BoxOptions())
            done, record = STEPS["resample"].apply(case, ResampleOptions(spacing))
            back = STEPS["resample"].restore(record, done.labels, "labels")
            zeros = (0,) * 3
            near = resample_labels(
                resample_labels(case.labels, done.shape, zeros), case.shape, zeros
            )
            changed.append(np.mean(back != case.labels))
            for c in range(1, 9):
                ours.append(overlap(back == c, case.labels == c))
                nearest.append(overlap(near == c, case.labels == c))
            image = STEPS["resample"].restore(record, done.image, "image").astype(float)
            for got, given in zip(image, case.image, strict=True):
                off.append(np.abs(got - given)[case.mask].mean() / given[case.mask].std())
        rows.append(
            {
                "resampled to": name,
                "labels changed": float(np.mean(changed)),
                "Dice of the classes 1 to 8": float(np.mean(ours)),
                "by the nearest voxel": float(np.mean(nearest)),
                "mean error of images, in sd": float(np.mean(off)),
            }
        )
    return rows


def brain_time_table(brain: Brain, repeats: int) -> list[Row]:
    """Milliseconds a brain of every step, and of the way back."""
    case = brain_case(brain)
    bare = replace(case, mask=None)
    cropped, boxed = STEPS["box"].apply(case, BoxOptions())
    runs = {
        f"brain_mask, {source}": lambda s=source: STEPS["brain_mask"].apply(
            case if s == "given" else bare, BrainMaskOptions(s)
        )
        for source in ("given", "labels", "intensity")
    }
    runs["box"] = lambda: STEPS["box"].apply(case, BoxOptions())
    for name, spacing in SPACINGS_MM.items():
        done, record = STEPS["resample"].apply(cropped, ResampleOptions(spacing))
        runs |= {
            f"resample, {name}": lambda s=spacing: STEPS["resample"].apply(
                cropped, ResampleOptions(s)
            ),
            f"restore labels, {name}": lambda d=done, r=record: STEPS["resample"].restore(
                r, d.labels, "labels"
            ),
        }
    runs["normalise"] = lambda: STEPS["normalise"].apply(cropped, NormaliseOptions())
    runs["restore labels, box"] = lambda: STEPS["box"].restore(boxed, cropped.labels, "labels")
    taken = alternate_with_cpu(runs, repeats)
    return [
        {"step": name, "ms by the clock": 1000 * wall, "ms of processor": 1000 * cpu}
        for name, (wall, cpu) in taken.items()
    ]


def brain_tables(repeats: int, count: int) -> dict[str, list[Row]]:
    brains = [make_brain(seed, 1) for seed in range(HELD_OUT, HELD_OUT + count)]
    what = f"{count} phantom brains, seeds {HELD_OUT} on"
    return {
        f"Brain masks from intensities, {what}": mask_table(brains),
        f"Resampling there and back, {what}": round_trip_table(brains),
        "A brain of 240 × 240 × 48 voxels and 3 sequences, one core": brain_time_table(
            brains[0], repeats
        ),
    }


def main(repeats: int = 5, bscans: int = 32, brains: int = 4) -> list[Row]:
    """Print the tables and return their rows."""
    held_out = list(scans(HELD_OUT, bscans))
    images = denoised(held_out)
    what = f"{len(held_out)} B-scans of phantoms, seeds {HELD_OUT} on"
    tables = {
        f"Denoisers, {what} (in-domain)": noise_table(held_out, images),
        f"Bruch's membrane, {what}": membrane_table(held_out, images),
        f"Cropping, {what}": crop_table(held_out),
        "A B-scan of 496 × 768 pixels, one core": time_table(held_out[0], repeats),
    }
    tables |= brain_tables(repeats, brains)
    for title, rows in tables.items():
        show(title, rows)
    return [row for rows in tables.values() for row in rows]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bscans", type=int, default=32)
    parser.add_argument("--brains", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--choose", action="store_true")
    options = parser.parse_args()
    if options.choose:
        show(f"PSNR on phantoms, seeds {CHOOSING} on", choose(options.bscans))
    else:
        main(options.repeats, options.bscans, options.brains)
