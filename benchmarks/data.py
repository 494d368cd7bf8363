"""What the benchmarks measure on: phantoms of the sizes that the targets name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from softlabel.phantom import write_mri_dataset, write_oct_dataset
from softlabel.readers import READERS, list_dataset
from softlabel.types import Array, Case

FOLDER = Path(__file__).parents[1] / ".bench"
SHARED = Path(os.environ.get("SOFTLABEL_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
"""Small real scans, which the project does not contain; what needs one is left out without."""


def oct_folder() -> Path:
    """A Duke OCT-DME data set: B-scans of 496 × 768, one subject, 4 of them annotated."""
    folder = FOLDER / "oct"
    if not (folder / "Subject_01.mat").exists():
        shutil.rmtree(folder, ignore_errors=True)
        write_oct_dataset(folder, n_subjects=1, seed=1, shape=(496, 768, 4), n_annotated=4)
    return folder


def oct_study_folder() -> Path:
    """A Duke OCT-DME data set of 33 annotated B-scans of 496 × 768: three volumes of 61."""
    folder = FOLDER / "oct-study"
    if not (folder / "Subject_03.mat").exists():
        shutil.rmtree(folder, ignore_errors=True)
        write_oct_dataset(folder, n_subjects=3, seed=1, n_annotated=11)
    return folder


def ct_folder(size: str) -> Path:
    """A CT with 104 classes, written by the command; ``size`` is that of its ``--size``.

    By a process of its own, whose memory is not that of what is measured.
    """
    folder = FOLDER / f"ct-{size}"
    if not (folder / "phantom.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        options = ["--subjects", "1", "--seed", "1", "--size", size, "--quiet"]
        command = [sys.executable, "-m", "softlabel", "phantom", "ct", str(folder), *options]
        subprocess.run(command, check=True)
    return folder


def mri_folder() -> Path:
    """An MRBrainS18 data set: one brain of 240 × 240 × 48 × 3 channels."""
    folder = FOLDER / "mri"
    if not (folder / "training").exists():
        shutil.rmtree(folder, ignore_errors=True)
        write_mri_dataset(folder, n_subjects=1, seed=1)
    return folder


def isotropic_mri_folder() -> Path:
    """An MRBrainS18 data set: one brain of 120 × 120 × 75 voxels of 1.92 mm."""
    folder = FOLDER / "mri-isotropic"
    if not (folder / "training").exists():
        shutil.rmtree(folder, ignore_errors=True)
        write_mri_dataset(folder, n_subjects=1, seed=1, shape=(120, 120, 75))
    return folder


@cache
def bscan() -> Case:
    """A B-scan with all 10 classes: its true labels, so that no pixel is ignored."""
    return max(_cases(oct_folder()), key=lambda case: len(np.unique(case.labels)))


def annotated_bscans() -> list[Case]:
    """Four B-scans with the labels that a grader drew, as ``softlabel generate`` reads them."""
    return _read(oct_folder())


def annotated_brains() -> list[Case]:
    """A brain with the labels that a grader drew."""
    return _read(mri_folder())


@cache
def brain() -> Case:
    """A brain with its 11 true labels."""
    return _cases(mri_folder())[0]


@cache
def isotropic_brain() -> Case:
    """A brain of cubic voxels with its 11 true labels."""
    return _cases(isotropic_mri_folder())[0]


@cache
def ct(size: str) -> Case:
    """A CT with its 104 true labels; ``size`` is that of ``softlabel phantom ct --size``."""
    return _cases(ct_folder(size))[0]


def _cases(folder: Path) -> list[Case]:
    """All cases of a data set, with the truth as their labels."""
    cases = []
    for case in _read(folder):
        assert case.truth is not None
        cases.append(replace(case, labels=case.truth, ignore=None))
    return cases


def _read(folder: Path) -> list[Case]:
    """All cases of a data set."""
    dataset = list_dataset(folder)
    reader = READERS[dataset.format]
    return [
        reader.read_case(dataset, ref, reader.open_source(dataset, ref.source))
        for ref in dataset.refs
    ]


def voronoi(shape: tuple[int, ...], sites: int, seed: int = 0) -> Array:
    """Voronoi cells of random sites, as int32 labels 0..sites−1."""
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(seed)
    points = rng.uniform(0, shape, size=(sites, len(shape)))
    labels = np.empty(shape, np.int32)
    tree = cKDTree(points)
    for z in range(shape[0]):  # slice by slice: coordinates of all voxels need gigabytes
        rest = np.indices(shape[1:]).reshape(len(shape) - 1, -1).T
        grid = np.column_stack([np.full(len(rest), z), rest])
        labels[z] = tree.query(grid)[1].reshape(shape[1:])
    return labels


def random_field(
    shape: tuple[int, ...], n_classes: int, sigma: float, seed: int = 0
) -> tuple[Array, Array]:
    """An image and labels with boundaries everywhere: the largest of some smooth random fields."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint8)
    image = np.full(shape, -np.inf, np.float32)
    for c in range(n_classes):
        field = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma)
        labels[field > image] = c
        np.maximum(image, field, out=image)
    return (image - image.min()) / np.ptp(image), labels


def real_bscans() -> dict[str, tuple[Array, Array]]:
    """Real B-scans and their layers by name; none where no folder with them is at hand."""
    from PIL import Image

    found = {}
    for file in sorted((SHARED / "oct_zeiss_onh" / "img").glob("*.png")):
        image, labels = (
            np.asarray(Image.open(path)) for path in (file, file.parents[1] / "mask" / file.name)
        )
        found[file.stem] = image.astype(np.float32), labels // 30
    return found


def real_bscan() -> tuple[Array, Array] | None:
    """A real B-scan and its layers, when a folder with one is at hand."""
    return real_bscans().get("im0100")


def real_brain() -> tuple[Array, Array] | None:
    """A real brain with FreeSurfer's labels, when a folder with one is at hand."""
    file = SHARED / "brain_t1_aseg_voxelmorph" / "test_scan.npz"
    if not file.exists():
        return None
    with np.load(file, allow_pickle=False) as scan:
        return scan["vol"].astype(np.float32), scan["seg"].astype(np.uint8)
