"""Phantoms as files, in the layouts of the real data sets.

Duke OCT-DME::

    Subject_01.mat …           images, manualLayers1/2, manualFluid1/2 and the automatic methods
    truth/Subject_01.npz …     bscans  int64 (annotated,), 0-based
                               labels  uint8 (rows, columns, annotated), classes 0..9
                               clean   uint8 (rows, columns, annotated), images without noise
                               boundaries float64 (8, columns, annotated), 1-based true rows
    phantom.json               what it was made with

MRBrainS18::

    training/1/segm.nii.gz …   labels of grader 1; those of grader 2 in segm_grader2.nii.gz
    training/1/pre/            FLAIR.nii.gz, reg_T1.nii.gz, reg_IR.nii.gz
    truth/1.nii.gz …           true labels
    truth/1_FLAIR.nii.gz …     images without noise
    phantom.json

CT, as nnU-Net v2 raw data::

    dataset.json                    the table of the 104 classes
    imagesTr/ct_001_0000.nii.gz …   int16, Hounsfield units
    labelsTr/ct_001.nii.gz …        labels of grader 1; of grader 2 in labelsTr_grader2/
    truth/ct_001.nii.gz …           true labels
    truth/ct_001_CT.nii.gz …        images without noise
    phantom.json

The same settings give the same bytes: where a format carries a clock, it is set to a constant.
"""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from softlabel.errors import SoftlabelError, UsageError
from softlabel.files.atomic import publish
from softlabel.files.matfile import mat_bytes
from softlabel.phantom.ct import FULL_SHAPE as CT_SHAPE
from softlabel.phantom.ct import CtScan, annotate_ct, check_grid, default_spacing_mm, make_ct
from softlabel.phantom.ctclasses import CT_CLASSES
from softlabel.phantom.graders import Grader
from softlabel.phantom.mri import FULL_SHAPE as MRI_SHAPE
from softlabel.phantom.mri import SEQUENCES, Brain, annotate_brain, brain_id, make_brain
from softlabel.phantom.mri import check_shape as check_mri_shape
from softlabel.phantom.oct import OctAnnotation, OctSubject, annotate_oct, make_oct_subject
from softlabel.phantom.oct import check_sizes as check_oct_sizes
from softlabel.phantom.retina import FULL_SHAPE as OCT_SHAPE
from softlabel.phantom.visibility import USUAL, Visibility
from softlabel.types import Array

ROW_BASE = 1
"""MATLAB counts rows from 1."""

MAX_SUBJECTS = 999

_MAT_HEADER = b"MATLAB 5.0 MAT-file, phantom written by softlabel"
"""Instead of a text with the clock."""


def write_oct_dataset(
    folder: Path,
    *,
    n_subjects: int = 2,
    seed: int = 0,
    grader: Grader | None = None,
    n_graders: int = 2,
    shape: tuple[int, int, int] = OCT_SHAPE,
    n_annotated: int | None = None,
    visibility: Visibility = USUAL,
    on_subject: Callable[[str], None] = lambda name: None,
) -> list[Path]:
    """Write an OCT data set in the layout of Duke OCT-DME.

    The automatic methods of the real files are there too: ``…DME`` errs like the graders but
    ``contrast``-wise and 1.2 times as much, ``automaticLayersNormal`` twice as much.

    Parameters
    ----------
    folder : Path
        New or empty.
    n_subjects : int
    seed : int
    grader : Grader, optional
        How every grader errs; default :class:`~softlabel.phantom.graders.Grader`.
    n_graders : {1, 2}
        With 1 the file holds no variables of a second grader.
    shape, n_annotated, visibility
        As for :func:`~softlabel.phantom.oct.make_oct_subject`.
    on_subject : callable
        Called with each subject's name when its files are there.

    Returns
    -------
    list of Path
        The subjects' files.

    Raises
    ------
    UsageError
        For a folder that is not empty or cannot be written to, and for numbers out of range.
    """
    n_annotated = min(11, shape[2]) if n_annotated is None else n_annotated
    check_oct_sizes(shape, n_annotated)
    order = _Order(n_subjects, seed, grader or Grader(), n_graders, visibility)
    sizes = {"rows": shape[0], "columns": shape[1], "bscans": shape[2], "annotated": n_annotated}
    make = partial(make_oct_subject, shape=shape, n_annotated=n_annotated, visibility=visibility)
    return _write_dataset(folder, _OCT, order, make, sizes, on_subject)


def write_mri_dataset(
    folder: Path,
    *,
    n_subjects: int = 2,
    seed: int = 0,
    grader: Grader | None = None,
    n_graders: int = 1,
    shape: tuple[int, int, int] = MRI_SHAPE,
    visibility: Visibility = USUAL,
    on_subject: Callable[[str], None] = lambda name: None,
) -> list[Path]:
    """Write an MRI data set in the layout of MRBrainS18.

    Parameters
    ----------
    folder : Path
        New or empty.
    n_subjects : int
    seed : int
    grader : Grader, optional
        How every grader errs, in in-plane voxels; default ``contrast`` with an RMS of half the
        usual one, 0.75, since the cortex is three voxels wide.
    n_graders : int, 1 to 9
        The real layout holds one; others are written beside it.
    shape, visibility
        As for :func:`~softlabel.phantom.mri.make_brain`.
    on_subject : callable
        Called with each subject's name when its files are there.

    Returns
    -------
    list of Path
        The subjects' folders.

    Raises
    ------
    UsageError
        For a folder that is not empty or cannot be written to, and for numbers out of range.
    """
    check_mri_shape(shape)
    order = _Order(n_subjects, seed, grader or Grader(rms_px=0.75), n_graders, visibility)
    sizes = dict(zip("xyz", shape, strict=True))
    make = partial(make_brain, shape=shape, visibility=visibility)
    return _write_dataset(folder, _MRI, order, make, sizes, on_subject)


def write_ct_dataset(
    folder: Path,
    *,
    n_subjects: int = 2,
    seed: int = 0,
    grader: Grader | None = None,
    n_graders: int = 1,
    shape: tuple[int, int, int] = CT_SHAPE,
    spacing_mm: tuple[float, float, float] | None = None,
    on_subject: Callable[[str], None] = lambda name: None,
) -> list[Path]:
    """Write a CT data set with 104 classes, as nnU-Net v2 raw data.

    Parameters
    ----------
    folder : Path
        New or empty.
    n_subjects : int
    seed : int
    grader : Grader, optional
        How every grader errs, in in-plane voxels; default ``contrast`` with an RMS of 0.75.
    n_graders : int, 1 to 9
        The layout holds one; others are written beside it.
    shape, spacing_mm
        As for :func:`~softlabel.phantom.ct.make_ct`.
    on_subject : callable
        Called with each subject's name when its files are there.

    Returns
    -------
    list of Path
        The subjects' images.

    Raises
    ------
    UsageError
        For a folder that is not empty or cannot be written to, and for numbers out of range.
    """
    check_grid(shape, spacing_mm)
    order = _Order(n_subjects, seed, grader or Grader(rms_px=0.75), n_graders)
    sizes: dict[str, Any] = dict(zip("xyz", shape, strict=True))
    sizes["spacing_mm"] = list(spacing_mm or default_spacing_mm(shape))
    make = partial(make_ct, shape=shape, spacing_mm=spacing_mm)
    return _write_dataset(folder, _CT, order, make, sizes, on_subject)


# --- one writer for all kinds -----------------------------------------------------------------

Files = Iterator[tuple[Path, bytes]]
"""Relative paths and content, the annotation last: with it a case is complete."""


@dataclass(frozen=True)
class _Kind:
    """How the data sets of one modality lie in a folder.

    Attributes
    ----------
    name : str
        In ``phantom.json``.
    layout : str
        What it is called in a sentence.
    max_graders : int
    subject_name : callable
        Name of the subject of a number, from 1.
    shown : str
        Where a subject lies, with ``{}`` for its name.
    files : callable
        The files of (subject, name, grader, number of graders).
    heading : callable
        What goes before the first of so many subjects.
    """

    name: str
    layout: str
    max_graders: int
    subject_name: Callable[[int], str]
    shown: str
    files: Callable[[Any, str, Grader, int], Files]
    heading: Callable[[int], Files] = lambda n_subjects: iter(())


@dataclass(frozen=True)
class _Order:
    """How many subjects, what they are drawn from, how they are seen, and who annotates them."""

    n_subjects: int
    seed: int
    grader: Grader
    n_graders: int
    visibility: Visibility = USUAL


def _write_dataset(
    folder: Path,
    kind: _Kind,
    order: _Order,
    make: Callable[[int, int], Any],
    sizes: dict[str, Any],
    on_subject: Callable[[str], None],
) -> list[Path]:
    """Draw every subject by ``make(seed, number)`` and write it; where the subjects lie."""
    _check_order(order, kind)
    _prepare(folder)
    _publish_all(folder, kind.heading(order.n_subjects))
    names = [kind.subject_name(number) for number in range(1, order.n_subjects + 1)]
    for number, name in enumerate(names, start=1):
        subject = make(order.seed, number)
        _publish_all(folder, kind.files(subject, name, order.grader, order.n_graders))
        on_subject(name)
    _publish(folder / "phantom.json", _json_bytes(_description(kind, order, sizes)))
    return [folder / kind.shown.format(name) for name in names]


def _description(kind: _Kind, order: _Order, sizes: dict[str, Any]) -> dict[str, Any]:
    return {
        "format": "softlabel phantom",
        "kind": kind.name,
        "seed": order.seed,
        "subjects": order.n_subjects,
        "size": sizes,
        "graders": {"number": order.n_graders, **asdict(order.grader)},
        **({} if order.visibility == USUAL else {"visibility": asdict(order.visibility)}),
        "truth": "truth/ holds the true labels and the images without noise of each subject",
    }


def _check_order(order: _Order, kind: _Kind) -> None:
    if not 1 <= order.n_subjects <= MAX_SUBJECTS:
        raise UsageError(f"{order.n_subjects} subjects were asked for; give 1 to {MAX_SUBJECTS}.")
    if not 0 <= order.seed < 2**63:
        raise UsageError(f"The seed is {order.seed}; give a whole number from 0 to 2⁶³ − 1.")
    if not 1 <= order.n_graders <= kind.max_graders:
        raise UsageError(
            f"{order.n_graders} graders were asked for; {kind.layout} has room for 1 to "
            f"{kind.max_graders}."
        )


def _prepare(folder: Path) -> None:
    """Make the folder, or refuse it: nothing that is there already is ever touched."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; give a new or empty folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        occupied = next(folder.iterdir(), None)
    except OSError as error:
        raise UsageError(
            f"The folder {folder} cannot be made or read ({error.strerror}); "
            "give a folder in a place that you may write to."
        ) from error
    if occupied is not None:
        raise UsageError(
            f"The folder {folder} is not empty (it holds {occupied.name!r}); a phantom is written "
            "into a new or empty folder. Give another one, or empty this one first."
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(
            f"The folder {folder} may not be written to; give one that may, or change its mode."
        )


# --- OCT --------------------------------------------------------------------------------------


def _oct_files(subject: OctSubject, name: str, grader: Grader, n_graders: int) -> Files:
    graders = [annotate_oct(subject, grader, who) for who in range(1, n_graders + 1)]
    yield Path("truth") / f"{name}.npz", _npz_bytes(_oct_truth(subject))
    yield Path(f"{name}.mat"), mat_bytes(_oct_variables(subject, grader, graders), _MAT_HEADER)


_OCT = _Kind("oct", "the Duke OCT-DME layout", 2, "Subject_{:02d}".format, "{}.mat", _oct_files)


def _oct_truth(subject: OctSubject) -> dict[str, Array]:
    chosen = subject.bscans
    return {
        "bscans": chosen,
        "labels": subject.labels,
        "clean": subject.clean[..., chosen],
        "boundaries": subject.boundaries[..., chosen] + ROW_BASE,
    }


def _oct_variables(
    subject: OctSubject, grader: Grader, graders: list[OctAnnotation]
) -> Iterator[tuple[str, Array]]:
    """Yield the variables of a file, one at a time: a full fluid map takes 186 MB."""
    yield "images", subject.images
    n_bscans = subject.images.shape[2]
    for who, drawn in enumerate(graders, start=1):
        yield f"manualFluid{who}", _spread(drawn.fluid, subject.bscans, n_bscans)
        yield (
            f"manualLayers{who}",
            _spread(drawn.boundaries + ROW_BASE, subject.bscans, n_bscans),
        )
    for method, (factor, who) in {"DME": (1.2, 101), "Normal": (2.0, 102)}.items():
        errs = replace(grader, kind="contrast", rms_px=min(factor * grader.rms_px, 20.0))
        drawn = annotate_oct(subject, errs, who)
        if method == "DME":
            yield "automaticFluidDME", _spread(drawn.fluid, subject.bscans, n_bscans)
        yield (
            f"automaticLayers{method}",
            _spread(drawn.boundaries + ROW_BASE, subject.bscans, n_bscans),
        )


def _spread(annotated: Array, bscans: Array, n_bscans: int) -> Array:
    """Put annotated B-scans into a whole volume that is NaN elsewhere, float64."""
    volume = np.full((*annotated.shape[:2], n_bscans), np.nan, order="F")
    volume[..., bscans] = annotated
    return volume


# --- MRI --------------------------------------------------------------------------------------


def _mri_files(brain: Brain, name: str, grader: Grader, n_graders: int) -> Files:
    subject, truth = Path("training") / name, Path("truth")
    for channel, sequence in enumerate(SEQUENCES):
        images = (brain.images[channel], brain.clean[channel])
        noisy, clean = (_nifti_bytes(values, brain.affine) for values in images)
        yield subject / "pre" / f"{sequence}.nii.gz", noisy
        yield truth / f"{name}_{sequence}.nii.gz", clean
    yield truth / f"{name}.nii.gz", _nifti_bytes(brain.labels, brain.affine)
    for who in range(n_graders, 0, -1):
        file = "segm.nii.gz" if who == 1 else f"segm_grader{who}.nii.gz"
        yield subject / file, _nifti_bytes(annotate_brain(brain, grader, who), brain.affine)


_MRI = _Kind("mri", "the MRBrainS18 layout", 9, brain_id, "training/{}", _mri_files)


# --- CT ---------------------------------------------------------------------------------------


def _ct_heading(n_subjects: int) -> Files:
    """``dataset.json`` of nnU-Net v2."""
    content = {
        "name": "CT phantom",
        "channel_names": {"0": "CT"},
        "labels": dict(CT_CLASSES),
        "numTraining": n_subjects,
        "file_ending": ".nii.gz",
    }
    yield Path("dataset.json"), _json_bytes(content)


def _ct_files(scan: CtScan, name: str, grader: Grader, n_graders: int) -> Files:
    fast = 1  # noise hardly gets smaller with more effort
    noisy, clean = Path("imagesTr") / f"{name}_0000.nii.gz", Path("truth") / f"{name}_CT.nii.gz"
    yield noisy, _nifti_bytes(scan.image, scan.affine, fast)
    yield clean, _nifti_bytes(scan.clean, scan.affine, fast)
    yield Path("truth") / f"{name}.nii.gz", _nifti_bytes(scan.labels, scan.affine)
    for who in range(n_graders, 0, -1):
        folder = "labelsTr" if who == 1 else f"labelsTr_grader{who}"
        drawn = annotate_ct(scan, grader, who)
        yield Path(folder) / f"{name}.nii.gz", _nifti_bytes(drawn, scan.affine)


_CT = _Kind(
    "ct", "the layout of nnU-Net", 9, "ct_{:03d}".format, "imagesTr/{}_0000.nii.gz", _ct_files,
    _ct_heading,
)  # fmt: skip


# --- files ------------------------------------------------------------------------------------


def _npz_bytes(arrays: dict[str, Array]) -> bytes:
    """NumPy dates every member of the archive 1980."""
    stream = io.BytesIO()
    members: dict[str, Any] = dict(arrays)  # no allow_pickle=: older NumPy stores it
    np.savez_compressed(stream, **members)
    return stream.getvalue()


def _nifti_bytes(values: Array, affine: Array, compresslevel: int = 6) -> bytes:
    """NIfTI-1 on a grid; gzip without clock and file name."""
    from nibabel import Nifti1Image

    image = Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    image.header.set_sform(affine, code=1)
    image.header.set_qform(affine, code=1)
    return gzip.compress(image.to_bytes(), compresslevel=compresslevel, mtime=0)


def _json_bytes(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def _publish_all(folder: Path, files: Files) -> None:
    for path, content in files:
        _publish(folder / path, content)


def _publish(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        publish(path, content)
    except OSError as error:
        raise SoftlabelError(
            f"{path} cannot be written ({error.strerror}); expected {len(content):,} free bytes "
            "in a folder that may be written to. Make room, empty the folder and run again."
        ) from error
