"""A small data set as nnU-Net v2 wants it: noisy volumes with a ball in a shell."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np

NAME = "Dataset001_Ball"
SHAPE = (48, 48, 12)
SPACING_MM = (1.0, 1.0, 3.0)
LABELS = {"background": 0, "shell": 1, "core": 2}


def make_volume(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Image (float32) and labels (uint8) of one case."""
    rng = np.random.default_rng(seed)
    centre = np.array(SHAPE) / 2 + rng.uniform(-3, 3, 3)
    at = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    radius = np.linalg.norm((at - centre) * SPACING_MM, axis=-1)
    labels = (radius < 15).astype(np.uint8) + (radius < 8)
    image = 100 + 60 * labels + rng.normal(0, 12, SHAPE)
    return image.astype(np.float32), labels


def write_raw(folder: Path, n_cases: int = 6, labels: dict | None = None) -> Path:
    """Write ``nnUNet_raw/Dataset001_Ball``; return its folder."""
    root = folder / NAME
    for name in ("imagesTr", "labelsTr"):
        (root / name).mkdir(parents=True)
    affine = np.diag([*SPACING_MM, 1.0])
    for number in range(n_cases):
        image, label = make_volume(number)
        case = f"ball_{number}"
        nibabel.save(nibabel.Nifti1Image(image, affine), root / f"imagesTr/{case}_0000.nii.gz")
        nibabel.save(nibabel.Nifti1Image(label, affine), root / f"labelsTr/{case}.nii.gz")
    description = {
        "channel_names": {"0": "CT"},
        "labels": labels or LABELS,
        "numTraining": n_cases,
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(description))
    return root
