"""DICOM: image series, and segmentations (SEG) or structure sets (RTSTRUCT) of them.

A case is a series that something annotates. Files are told apart by their headers, not by names or
folders. Segments and structures are matched over all patients by their names, since their numbers
mean one file only: they become the values 1, 2 … in natural order of the names, or those of a class
table, which then also chooses. Where two overlap, the smaller one lies on top, since a tumour is
inside of an organ and that inside of the body.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from softlabel.errors import CaseError, SourceError
from softlabel.ids import natural_key
from softlabel.readers.annotated import BACKGROUND
from softlabel.readers.classfile import class_table, load_class_table
from softlabel.readers.dicomfiles import (
    SEGMENTATION_CLASSES,
    STRUCTURES_CLASS,
    first_dicom,
    is_dicom,
    pydicom,
    read_header,
    reading_dicom,
)
from softlabel.readers.dicomseg import (
    FRACTIONAL,
    holds_fractions,
    read_fractions,
    read_segments,
    segment_labels,
)
from softlabel.readers.dicomseries import Grid, read_series
from softlabel.readers.listing import CLASSES_OPTION, GROUP_OPTION, Listing, count, require_folder
from softlabel.readers.look import LabelLook, look_at
from softlabel.readers.outlines import paint
from softlabel.readers.registry import Reader, ReaderOption
from softlabel.readers.rtstruct import read_structures, structure_names
from softlabel.readers.safety import COPY_AGAIN, relative_name
from softlabel.readers.soft import most_probable, soft_labels
from softlabel.types import Array, Case, CaseRef, ClassTable, Dataset, Note

SEG, RTSTRUCT = "seg", "rtstruct"

_HEADER_TAGS = (
    "SOPClassUID", "SOPInstanceUID", "Modality", "PatientID", "SeriesInstanceUID", "SeriesNumber",
    "FrameOfReferenceUID", "ReferencedSeriesSequence", "SegmentSequence", "StructureSetROISequence",
    "ReferencedFrameOfReferenceSequence", "SegmentationType", "Rows", "ImagePositionPatient",
)  # fmt: skip

OPTIONS = (
    ReaderOption(
        "annotation_kind",
        None,
        "Read segmentations (seg) or structure sets (rtstruct) where a series has both.",
        choices=(SEG, RTSTRUCT),
    ),
    ReaderOption(
        "segment_overlaps",
        "smaller",
        "Where segments or structures overlap: the smaller one lies on top, the later one of the "
        "file does, or the case is refused.",
        choices=("smaller", "later", "refuse"),
    ),
    CLASSES_OPTION,
    GROUP_OPTION,
)


@dataclass(frozen=True)
class _Object:
    """A segmentation or structure set, and what its header says."""

    path: Path
    kind: str
    names: tuple[str, ...]
    series: frozenset[str]
    frame_of_reference: str
    fractional: bool = False


@dataclass
class _Series:
    """The instances of one series, as they are found."""

    patient: str
    number: str
    modality: str
    frame_of_reference: str
    paths: list[Path]


def detect(root: Path) -> str | None:
    """Recognise a folder with DICOM files at any depth."""
    found = first_dicom(root)
    return f"DICOM: {relative_name(found, root)}" if found else None


def list_cases(root: Path, options: Mapping[str, Any]) -> Dataset:
    """List the annotated series; reads the headers of all files."""
    require_folder(root, "a DICOM data set")
    pydicom()
    listing = Listing(options["group"])
    scanned = _scan(root)
    for path, sentence in scanned.damaged.items():
        listing.problem(_file_id(path, root), sentence)
    series = scanned.series
    _require_some(scanned, root)
    found = _by_series(series, scanned.objects, listing, root)
    chosen = {uid: _of_one_kind(given, options) for uid, given in found.items()}
    classes, ignore = _classes(chosen.values(), options["classes"], root)
    for uid, objects in chosen.items():
        case = _case_of(uid, series, found)
        if problem := _problem(objects, found[uid], scanned.damaged_beside(series[uid])):
            listing.problem(case, problem)
        else:
            group = series[uid].patient if options["group"] is None else None
            _add(listing, root, case, group, series[uid], objects or [])
    description = (
        f"DICOM: {count(len(listing.refs), 'annotated series', 'annotated series')} of "
        f"{len(series)}, {count(len(classes), 'class', 'classes')} with background"
    )
    used = {**options, "classes": Path(options["classes"]).name if options["classes"] else None}
    unlabelled = [relative_name(s.paths[0], root) for uid, s in series.items() if uid not in found]
    return listing.dataset(
        "dicom", root, description, options=used, classes=classes, ignore=ignore,
        unlabelled=unlabelled,
        soft=any(one.fractional for objects in chosen.values() for one in objects or ()),
    )  # fmt: skip


def read_case(dataset: Dataset, ref: CaseRef, opened: object = None) -> Case:
    """Read a series and draw its annotation on it.

    Raises
    ------
    CaseError
        When a file is damaged, slices or frames do not fit, or the fractions of a voxel sum to
        more than 1.
    """
    paths = [dataset.root / relative for relative in ref.key["images"]]
    pixels, grid = read_series(paths)
    labels, soft, notes = _annotation(dataset, ref, grid)
    return Case(
        id=ref.id,
        image=pixels.channels_first(),
        labels=labels,
        classes=dataset.classes,
        ignore=dataset.ignore,
        spacing_mm=pixels.spacing_mm,
        affine=pixels.affine,
        group=ref.group,
        source=ref.source,
        channels=(str(ref.key["modality"]),),
        slice_axis=pixels.slice_axis,
        notes=notes,
        soft=soft,
    )


def read_labels(dataset: Dataset, ref: CaseRef, opened: object = None) -> Array:
    """Draw the annotation of a series.

    Raises
    ------
    CaseError
        As :func:`read_case`, but for the values of the pixels.
    """
    paths = [dataset.root / relative for relative in ref.key["images"]]
    _, grid = read_series(paths, with_pixels=False)
    return _annotation(dataset, ref, grid)[0]


def look(dataset: Dataset, ref: CaseRef, opened: object = None) -> LabelLook:
    """Look at the annotation of a series, for the check of the data set."""
    paths = [dataset.root / relative for relative in ref.key["images"]]
    _, grid = read_series(paths, with_pixels=False)
    labels, _, notes = _annotation(dataset, ref, grid)
    column, row, _ = grid.spacing_mm
    return look_at(labels, grid.spacing_mm if labels.ndim == 3 else (row, column), notes)


def _annotation(
    dataset: Dataset, ref: CaseRef, grid: Grid
) -> tuple[Array, Array | None, tuple[Note, ...]]:
    """Labels, soft labels where fractions are read as such, and notes."""
    if not dataset.soft:
        labels, notes = _labels_and_notes(dataset, ref, grid)
        return labels, None, notes
    soft = _soft_labels(dataset, ref, grid)
    return most_probable(soft, dataset.classes), soft, ()


def _soft_labels(dataset: Dataset, ref: CaseRef, grid: Grid) -> Array:
    """Fractions of each class, and of segments without fractions 0 and 1."""
    classes = dataset.classes
    assert classes is not None, "segments name the classes"
    maps = np.zeros((len(classes), *grid.shape), np.float32)
    meanings: dict[str, Path] = {}
    rounding = 0.0
    for relative in ref.key["annotations"]:
        path = dataset.root / relative
        of_name: Mapping[str, Array]
        if ref.key["kind"] == SEG and holds_fractions(path):
            found = read_fractions(path, grid)
            of_name, rounding = found.maps, max(rounding, 0.5 / found.maximum)
            meanings[found.meaning] = path
        else:
            of_name = _whole(_voxels(path, ref.key["kind"], grid)[0], grid)
        for value, fractions in _of_classes(of_name, classes):
            maps[classes.values.index(value)] += fractions
    if len(meanings) > 1:
        raise CaseError(
            f"{' and '.join(map(str, meanings.values()))} hold fractions of two meanings "
            f"({', '.join(meanings)}); expected one in a case. Keep the one that is meant."
        )
    background = classes.index_of(BACKGROUND)
    given = bool(maps[background].any())
    where = dataset.root / ref.key["annotations"][0]
    others = maps if given else np.delete(maps, background, axis=0)
    soft = soft_labels(others, where, rounding=rounding, background=not given)
    return np.ascontiguousarray(soft[..., 0].swapaxes(1, 2)) if grid.shape[2] == 1 else soft


def _whole(voxels: Mapping[str, Array], grid: Grid) -> dict[str, Array]:
    """Voxels of each name as a map of 0 and 1."""
    maps = {name: np.zeros(grid.shape, np.float32) for name in voxels}
    for name, found in voxels.items():
        maps[name].reshape(-1)[found] = 1
    return maps


def _voxels(
    path: Path, kind: str, grid: Grid, threshold: float | None = None
) -> tuple[Mapping[str, Array], int]:
    """Flat positions of the voxels of each segment or structure; contours that were left out."""
    if kind == SEG:
        return read_segments(path, grid, threshold), 0
    return read_structures(path, grid)


def _labels_and_notes(dataset: Dataset, ref: CaseRef, grid: Grid) -> tuple[Array, tuple[Note, ...]]:
    threshold = dataset.mapping.threshold if dataset.mapping else None
    regions: list[tuple[int, Array]] = []
    notes: list[Note] = []
    for relative in ref.key["annotations"]:
        path = dataset.root / relative
        voxels, left_out = _voxels(path, ref.key["kind"], grid, threshold)
        if left_out:
            text = f"{path} has {count(left_out, 'contour')} that are open, points or beyond "
            notes.append(Note("left-out", f"{text}the series; they were left out."))
        regions += _of_classes(voxels, dataset.classes)
    labels, overlap = _painted(regions, grid, dataset.options["segment_overlaps"], ref)
    labels = np.ascontiguousarray(labels[:, :, 0].T) if grid.shape[2] == 1 else labels
    return labels, (*notes, *overlap)


def _of_classes(voxels: Mapping[str, Array], classes: ClassTable | None) -> list[tuple[int, Array]]:
    value_of = {name: value for value, name in classes or ()}
    return [(value_of[name], found) for name, found in voxels.items() if name in value_of]


def _painted(
    regions: list[tuple[int, Array]], grid: Grid, overlaps: str, ref: CaseRef
) -> tuple[Array, tuple[Note, ...]]:
    if overlaps == "smaller":
        regions = sorted(regions, key=lambda region: -len(region[1]))
    labels, n_shared = paint(grid.shape, regions)
    if not n_shared:
        return labels, ()
    found = f"The annotation of {ref.id!r} ({', '.join(ref.key['annotations'])}) has classes that"
    if overlaps == "refuse":
        raise CaseError(
            f"{found} overlap in {n_shared} voxels; expected none. Correct it, or let one lie on "
            "top with --segment-overlaps smaller or later."
        )
    text = f"{found} share {n_shared} voxels; the {overlaps} one was taken."
    return labels, (Note("overlap", text),)


# --- listing --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Found:
    """What a folder holds."""

    series: dict[str, _Series]
    objects: list[_Object]
    damaged: dict[Path, str]

    def damaged_beside(self, series: _Series) -> Path | None:
        """A damaged file that may be a slice of a series: one in its folder."""
        folders = {path.parent for path in series.paths}
        return next((path for path in self.damaged if path.parent in folders), None)


def _require_some(found: _Found, root: Path) -> None:
    if found.damaged or found.objects:
        return
    if not found.series:
        raise SourceError(f"{root} holds no DICOM file; expected image series. Check the path.")
    raise SourceError(
        f"{root} holds {count(len(found.series), 'image series', 'image series')} and neither a "
        "segmentation (SEG) nor a structure set (RTSTRUCT); expected annotations beside the "
        "images. Download them as well."
    )


def _scan(root: Path) -> _Found:
    """Read the header of every DICOM file."""
    found = _Found({}, [], {})
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        if not is_dicom(path):
            continue
        try:
            header = read_header(path, _HEADER_TAGS)
            with reading_dicom(path):
                kind = header.file_meta.get("MediaStorageSOPClassUID")
                if kind in (*SEGMENTATION_CLASSES, STRUCTURES_CLASS):
                    found.objects.append(_object(header, path, str(kind)))
                elif header.get("Rows") and header.get("SeriesInstanceUID"):
                    _add_instance(found.series, header, path)
                elif kind is not None and kind.name.endswith("Image Storage"):
                    raise CaseError(
                        f"{path} ends within its header, before the size of its image; it is cut "
                        f"off. {COPY_AGAIN}"
                    )
        except CaseError as error:
            found.damaged[path] = str(error)
    return found


def _add_instance(series: dict[str, _Series], header: Any, path: Path) -> None:
    found = series.setdefault(
        str(header.SeriesInstanceUID),
        _Series(
            str(header.get("PatientID") or "").strip() or path.parent.name,
            str(header.get("SeriesNumber") or ""),
            str(header.get("Modality") or "").strip() or "intensity",
            str(header.get("FrameOfReferenceUID") or ""),
            [],
        ),
    )
    found.paths.append(path)


def _object(header: Any, path: Path, kind: str) -> _Object:
    if kind == STRUCTURES_CLASS:
        frames = list(header.get("ReferencedFrameOfReferenceSequence") or ())
        uids = {
            str(series.SeriesInstanceUID)
            for frame in frames
            for study in frame.get("RTReferencedStudySequence") or ()
            for series in study.get("RTReferencedSeriesSequence") or ()
        }
        names = structure_names(header, path)
        reference = next((str(frame.get("FrameOfReferenceUID") or "") for frame in frames), "")
        return _Object(path, RTSTRUCT, tuple(names.values()), frozenset(uids), reference)
    uids = {str(s.SeriesInstanceUID) for s in header.get("ReferencedSeriesSequence") or ()}
    names = segment_labels(header, path)
    reference = str(header.get("FrameOfReferenceUID") or "")
    fractional = header.get("SegmentationType") == FRACTIONAL
    return _Object(path, SEG, tuple(names.values()), frozenset(uids), reference, fractional)


def _by_series(
    series: Mapping[str, _Series], objects: Iterable[_Object], listing: Listing, root: Path
) -> dict[str, list[_Object]]:
    """The annotations of each series: by the series that they name, else by the frame of reference.

    Whatever names no series here becomes a problem.
    """
    found = defaultdict[str, list[_Object]](list)
    for one in objects:
        uids = [uid for uid in series if uid in one.series]
        if not uids and one.frame_of_reference:
            uids = [u for u, s in series.items() if s.frame_of_reference == one.frame_of_reference]
        if len(uids) == 1:
            found[uids[0]].append(one)
            continue
        listing.problem(
            _file_id(one.path, root),
            f"{one.path} annotates {count(len(uids), 'series', 'series')} of those in {root}; "
            "expected one. Put the series there that it was drawn on.",
        )
    return found


def _of_one_kind(objects: list[_Object], options: Mapping[str, Any]) -> list[_Object] | None:
    """The annotations of a series that are read; None where nothing says which kind."""
    kinds = {one.kind for one in objects}
    wanted = options["annotation_kind"] or (kinds.pop() if len(kinds) == 1 else None)
    return None if wanted is None else [one for one in objects if one.kind == wanted]


def _classes(
    chosen: Iterable[list[_Object] | None], given: str | None, root: Path
) -> tuple[ClassTable, int | None]:
    if given:
        classes, ignore = load_class_table(Path(given))
        if BACKGROUND not in classes.values:
            classes = ClassTable.from_mapping({**dict(classes), BACKGROUND: "background"})
        return classes, ignore
    objects = [one for of_series in chosen for one in of_series or ()]
    names = sorted({name for one in objects for name in one.names}, key=natural_key)
    names = [name for name in names if name.casefold() != "background"]
    return class_table({BACKGROUND: "background", **dict(enumerate(names, 1))}, root), None


def _case_of(uid: str, series: Mapping[str, _Series], annotated: Iterable[str]) -> str:
    """Id of the case: the patient, with the number of the series where there are several."""
    one = series[uid]
    of_patient = [other for other in annotated if series[other].patient == one.patient]
    case = one.patient if len(of_patient) == 1 else f"{one.patient}_series_{one.number or uid}"
    return case.replace("/", "_")


def _file_id(path: Path, root: Path) -> str:
    return relative_name(path, root).replace("/", "_")


def _add(
    listing: Listing,
    root: Path,
    case: str,
    group: str | None,
    series: _Series,
    objects: Iterable[_Object],
) -> None:
    images = [relative_name(path, root) for path in series.paths]
    annotations = {relative_name(one.path, root): one.kind for one in objects}
    key = {
        "images": images,
        "annotations": list(annotations),
        "kind": next(iter(annotations.values())),
        "modality": series.modality,
    }
    listing.add(case, (*images, *annotations), source=images[0], group=group, key=key)


def _problem(objects: list[_Object] | None, found: list[_Object], damaged: Path | None) -> str:
    """Why a series cannot be a case; empty where it can."""
    if damaged is not None:
        return (
            f"{damaged} is damaged and may be a slice of this series, which lies in its folder; "
            f"expected whole files. {COPY_AGAIN}"
        )
    if objects is None:
        names = ", ".join(str(one.path) for one in found[:4])
        return (
            f"{names} are segmentations and structure sets of one series; expected one kind. Say "
            "which with --annotation-kind seg or rtstruct."
        )
    if not objects:
        return (
            f"{found[0].path} is of the other kind than the one asked for; expected an annotation "
            "of that kind. Leave out the option annotation_kind."
        )
    taken: dict[str, Path] = {}
    for one in objects:
        for name in one.names:
            if taken.setdefault(name, one.path) != one.path:
                return (
                    f"{taken[name]} and {one.path} both annotate {name!r} in one series; expected "
                    "one file for each class. Keep the one that is meant."
                )
    return ""


READER = Reader(
    name="dicom",
    title="DICOM series with segmentations (SEG) or structure sets (RTSTRUCT)",
    detect=detect,
    list_cases=list_cases,
    read_case=read_case,
    read_labels=read_labels,
    look=look,
    options=OPTIONS,
)
