"""Tiny data sets in the real layouts, written by the libraries that write the real ones."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import nibabel as nib
import numpy as np
import pytest
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


PLANS = {
    "configurations": {
        "2d": {"data_identifier": "nnUNetPlans_2d", "spacing": [1.0, 1.5], "patch_size": [6, 5]},
        "3d_fullres": {"spacing": [3.0, 1.0, 1.5], "patch_size": [4, 6, 5],
                       "data_identifier": "nnUNetPlans_3d_fullres"},
        "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
    },
    "original_median_spacing_after_transp": [3.0, 1.0, 1.5],
}  # fmt: skip


def write_nnunet_preprocessed(
    root: Path,
    cases: tuple[str, ...] = ("case_2", "case_10"),
    configuration: str = "nnUNetPlans_2d",
    **changes: Any,
) -> Path:
    """The ``.npz`` form, which needs no blosc2; what is outside of the data is −1."""
    write_json(root / "dataset.json", nnunet_json(**changes))
    write_json(root / "dataset_fingerprint.json", {"spacings": [[3.0, 1.0, 1.5]]})
    write_json(root / "nnUNetPlans.json", PLANS)
    folder = root / configuration
    folder.mkdir(parents=True, exist_ok=True)
    for number, case in enumerate(cases):
        image = [volume((4, 6, 5), seed=10 * number + channel) for channel in range(2)]
        seg = label_volume((4, 6, 5), seed=number).astype(np.int16)
        seg[0, 0] = -1
        data = np.stack(image).astype(np.float32)
        np.savez_compressed(folder / f"{case}.npz", data=data, seg=seg[None])
        (folder / f"{case}.pkl").write_bytes(b"a pickle that nobody loads")
    return root


def as_blosc2(root: Path, configuration: str = "nnUNetPlans_2d") -> Path:
    """The same cases as ``.b2nd`` files; returns their folder."""
    blosc2 = pytest.importorskip("blosc2", reason="needs blosc2: pip install '.[nnunet]'")
    folder = root / configuration
    for path in folder.glob("*.npz"):
        with np.load(path) as stored:
            for key, suffix in (("data", ""), ("seg", "_seg")):
                blosc2.asarray(stored[key], urlpath=str(folder / f"{path.stem}{suffix}.b2nd"))
        path.unlink()
    return folder


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


SQUARE = [[1.0, 1.0], [5.0, 1.0], [5.0, 4.0], [1.0, 4.0]]
"""Rows 1 to 3 and columns 1 to 4 of an image."""


def coco_json(**changes: Any) -> dict[str, Any]:
    images = [
        {"id": 10 + number, "file_name": f"{name}.png", "height": 8, "width": 9}
        for number, name in enumerate(("a", "b"))
    ]
    outline = [x for point in SQUARE for x in point]
    annotations = [
        {"id": 1, "image_id": 10, "category_id": 3, "iscrowd": 0, "segmentation": [outline]},
        {"id": 2, "image_id": 11, "category_id": 7, "iscrowd": 0, "segmentation": [outline]},
    ]
    categories = [{"id": 3, "name": "lesion"}, {"id": 7, "name": "vessel"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    return {**content, **changes}


def write_coco(root: Path, **changes: Any) -> Path:
    for number, name in enumerate(("a", "b")):
        write_png(root / "images" / f"{name}.png", volume((8, 9), seed=number, dtype=np.uint8))
    write_json(root / "annotations.json", coco_json(**changes))
    return root


def labelme_json(name: str, *shapes: Any, **changes: Any) -> dict[str, Any]:
    content = {
        "version": "5.5.0",
        "flags": {},
        "shapes": [
            {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}}
            for label, points, kind in shapes or (("lesion", SQUARE, "polygon"),)
        ],
        "imagePath": f"{name}.png",
        "imageData": None,
        "imageHeight": 8,
        "imageWidth": 9,
    }
    return {**content, **changes}


def write_labelme(root: Path, *shapes: Any, **changes: Any) -> Path:
    for number, name in enumerate(("a", "b")):
        write_png(root / f"{name}.png", volume((8, 9), seed=number, dtype=np.uint8))
        write_json(root / f"{name}.json", labelme_json(name, *shapes, **changes))
    return root


VOL_SHAPE = (3, 12, 8)
"""B-scans, rows, columns."""


def vol_boundaries() -> Array:
    """Heights (B-scans, boundaries, columns): ILM, BM and RNFL of the first and the last B-scan."""
    lines = np.full((VOL_SHAPE[0], 17, VOL_SHAPE[2]), np.nan)
    for number in (0, 2):
        shift = np.arange(VOL_SHAPE[2]) / 4 + number
        lines[number, 0], lines[number, 2], lines[number, 1] = 1 + shift, 3 + shift, 7.5 + shift
    lines[2, 2, 4] = np.nan
    return lines


def write_vol(path: Path, boundaries: Array | None = None, patient: str = "") -> Path:
    """A raw export of HEYEX by its public layout, its infrared image 4 × 5 pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    n_bscans, rows, columns = VOL_SHAPE
    boundaries = vol_boundaries() if boundaries is None else boundaries
    n_lines, bscan_header = boundaries.shape[1], 1000
    header = bytearray(2048)
    header[:12] = b"HSF-OCT-103\0"
    struct.pack_into("<iiidddiidd", header, 12, columns, n_bscans, rows, 0.0115, 0.12, 0.0039,
                     4, 5, 0.01, 0.01)  # fmt: skip
    struct.pack_into("<ii", header, 96, 3, bscan_header)
    struct.pack_into("21s", header, 140, patient.encode())
    content = bytes(header) + bytes(20)
    pixels = np.random.default_rng(0).random(VOL_SHAPE, dtype=np.float32)
    pixels[:, :2] = np.finfo(np.float32).max
    for lines, bscan in zip(boundaries, pixels, strict=True):
        head = bytearray(bscan_header)
        struct.pack_into("<12sidddd", head, 0, b"HSF-BS-103", bscan_header, 0, 0, 1, 0)
        struct.pack_into("<ii", head, 48, n_lines, 256)
        stored = np.where(np.isnan(lines), np.finfo(np.float32).max, lines).astype("<f4").tobytes()
        head[256 : 256 + len(stored)] = stored
        content += bytes(head) + bscan.tobytes()
    path.write_bytes(content)
    return path


def write_heidelberg(root: Path) -> Path:
    for name in ("left", "right"):
        write_vol(root / f"{name}.vol")
    return root


def write_dicom(root: Path) -> Path:
    """Two patients, by libraries that are not installed everywhere."""
    pytest.importorskip("highdicom")
    from .dicoms import write_dicom as write

    return write(root)


def write_bids(root: Path, subjects: tuple[str, ...] = ("01", "02"), **kwargs: Any) -> Path:
    """T1w and FLAIR of each subject, with one derivative of segmentations and their names."""
    for number, subject in enumerate(subjects):
        name = f"sub-{subject}"
        for offset, suffix in enumerate(("T1w", "FLAIR")):
            values = volume(seed=10 * number + offset)
            write_nifti(root / name / f"anat/{name}_{suffix}.nii.gz", values, **kwargs)
        derived = root / "derivatives/manual" / name / f"anat/{name}_dseg.nii.gz"
        write_nifti(derived, label_volume(seed=number), **kwargs)
        derived.with_name(f"{name}_dseg.tsv").write_text(
            "index\tname\tabbreviation\n1\twhite matter\tWM\n2\tgrey matter\tGM\n"
        )
    return root


WRITERS = {
    "duke": write_duke,
    "mrbrains18": write_mrbrains18,
    "nnunet": write_nnunet,
    "nnunet-preprocessed": write_nnunet_preprocessed,
    "msd": write_msd,
    "coco": write_coco,
    "labelme": write_labelme,
    "dicom": write_dicom,
    "heidelberg": write_heidelberg,
    "bids": write_bids,
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
