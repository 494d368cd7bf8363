"""Tiny data sets in the real layouts, written by the libraries that write the real ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import nibabel as nib
import numpy as np
import scipy.io
from PIL import Image

from softlabel.readers import READERS, list_dataset
from softlabel.types import Array, Case, Dataset

ROWS, COLUMNS, BSCANS = 40, 12, 6
ANNOTATED = (1, 4)


def write_nifti(
    path: Path,
    values: Array,
    affine: Array | None = None,
    spacing: tuple[float, ...] = (1.0, 1.0, 3.0),
) -> Path:
    """A NIfTI file with its place in space."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if affine is None:
        affine = np.diag([*spacing, 1.0])
    nib.save(nib.Nifti1Image(values, affine), path)
    return path


def write_png(path: Path, values: Array) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def write_npy(path: Path, values: Array) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values)
    return path


def write_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def volume(shape: tuple[int, ...] = (6, 5, 4), seed: int = 0, dtype: Any = np.int16) -> Array:
    return np.random.default_rng(seed).integers(0, 100, shape).astype(dtype)


def label_volume(shape: tuple[int, ...] = (6, 5, 4), seed: int = 1, n: int = 3) -> Array:
    return np.random.default_rng(seed).integers(0, n, shape).astype(np.uint8)


def duke_variables(seed: int = 0, bscans: int = BSCANS) -> dict[str, Array]:
    """The variables of one subject: two annotated B-scans, NaN elsewhere and at the sides."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 200, (ROWS, COLUMNS, bscans)).astype(np.uint8)
    variables: dict[str, Array] = {"images": images}
    for suffix in ("1", "2"):
        layers = np.full((8, COLUMNS, bscans), np.nan)
        fluid = np.full((ROWS, COLUMNS, bscans), np.nan)
        for index in ANNOTATED:
            if index >= bscans:
                continue
            lines = np.sort(rng.uniform(4, 36, (8, COLUMNS)), axis=0)
            layers[:, :, index] = np.round(lines, 1)
            layers[:, :2, index] = np.nan
            layers[3, 7, index] = np.nan
            fluid[:, :, index] = 0
            fluid[18:21, 4:9, index] = 3
        variables[f"manualLayers{suffix}"] = layers
        variables[f"manualFluid{suffix}"] = fluid
    variables["automaticLayersDME"] = variables["manualLayers1"] + 1
    variables["automaticFluidDME"] = variables["manualFluid1"]
    return variables


def write_duke(
    root: Path,
    subject: str = "Subject_01",
    variables: Mapping[str, Array] | None = None,
    version: str = "5",
    truth: bool = False,
) -> Path:
    """One subject's file; version 7.3 as MATLAB writes it, with a user block and reversed axes."""
    root.mkdir(parents=True, exist_ok=True)
    path = root / f"{subject}.mat"
    variables = duke_variables() if variables is None else variables
    if version == "5":
        scipy.io.savemat(path, dict(variables), do_compression=True)
    else:
        with h5py.File(path, "w", userblock_size=512) as h5:
            for name, values in variables.items():
                h5.create_dataset(name, data=np.asarray(values).T, compression="gzip")
        with path.open("r+b") as stream:
            stream.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    if truth:
        folder = root / "truth"
        folder.mkdir(exist_ok=True)
        labels = np.arange(ROWS * COLUMNS * len(ANNOTATED)) % 10
        np.savez(
            folder / f"{subject}.npz",
            labels=labels.reshape(ROWS, COLUMNS, len(ANNOTATED)).astype(np.uint8),
            bscans=np.array(ANNOTATED, dtype=np.int64),
        )
    return path


def write_mrbrains18(root: Path, subjects: tuple[str, ...] = ("1", "070"), **kwargs: Any) -> Path:
    for number, subject in enumerate(subjects):
        folder = root / "training" / subject
        write_nifti(folder / "segm.nii.gz", label_volume(seed=number, n=11), **kwargs)
        for channel, sequence in enumerate(("FLAIR", "reg_T1", "reg_IR")):
            values = volume(seed=10 * number + channel, dtype=np.float32)
            write_nifti(folder / "pre" / f"{sequence}.nii.gz", values, **kwargs)
    return root


def nnunet_json(**changes: Any) -> dict[str, Any]:
    content: dict[str, Any] = {
        "channel_names": {"0": "T1", "1": "T2"},
        "labels": {"background": 0, "edema": 1, "core": 2},
        "numTraining": 2,
        "file_ending": ".nii.gz",
    }
    return {**content, **changes}


def write_nnunet(
    root: Path, cases: tuple[str, ...] = ("case_2", "case_10"), **changes: Any
) -> Path:
    write_json(root / "dataset.json", nnunet_json(**changes))
    for number, case in enumerate(cases):
        for channel in range(2):
            name = f"{case}_{channel:04d}.nii.gz"
            write_nifti(root / "imagesTr" / name, volume(seed=10 * number + channel))
        write_nifti(root / "labelsTr" / f"{case}.nii.gz", label_volume(seed=number))
    return root


def msd_json(**changes: Any) -> dict[str, Any]:
    content: dict[str, Any] = {
        "name": "PROSTATE",
        "modality": {"0": "T2", "1": "ADC"},
        "labels": {"0": "background", "1": "PZ", "2": "TZ"},
        "training": [
            {"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"}
            for case in ("prostate_01", "prostate_02")
        ],
        "test": ["./imagesTs/prostate_03.nii.gz"],
    }
    return {**content, **changes}


def write_msd(root: Path, **changes: Any) -> Path:
    write_json(root / "dataset.json", msd_json(**changes))
    for number, case in enumerate(("prostate_01", "prostate_02")):
        image = volume((6, 5, 4, 2), seed=number)
        write_nifti(root / "imagesTr" / f"{case}.nii.gz", image)
        write_nifti(root / "labelsTr" / f"{case}.nii.gz", label_volume(seed=number))
    return root


def write_pairs(root: Path, names: tuple[str, ...] = ("a", "b")) -> Path:
    """Grey PNGs in img, masks with values 0, 128, 255 in mask."""
    for number, name in enumerate(names):
        write_png(root / "img" / f"{name}.png", volume((8, 9), seed=number, dtype=np.uint8))
        values = np.array([0, 128, 255], dtype=np.uint8)[label_volume((8, 9), seed=number)]
        write_png(root / "mask" / f"{name}.png", values)
    return root


WRITERS = {
    "duke": write_duke,
    "mrbrains18": write_mrbrains18,
    "nnunet": write_nnunet,
    "msd": write_msd,
    "pairs": write_pairs,
}
"""What writes a small data set of each format."""


def read_all(dataset: Dataset) -> dict[str, Case]:
    """Read every case, each source opened once."""
    reader = READERS[dataset.format]
    cases = {}
    opened = {}
    for ref in dataset.refs:
        if ref.source not in opened:
            opened[ref.source] = reader.open_source(dataset, ref.source)
        cases[ref.id] = reader.read_case(dataset, ref, opened[ref.source])
    return cases


def read_one(root: Path, format: str = "auto", /, **options: Any) -> Case:
    """The only case of a data set."""
    dataset = list_dataset(root, format, options)
    assert len(dataset.refs) == 1, dataset
    return next(iter(read_all(dataset).values()))


def truncate(path: Path, keep: float = 0.6) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    return path
