"""Duke OCT-DME (Chiu et al., Biomed. Opt. Express 6(4), 2015): ``Subject_01.mat`` and so on.

Each file holds the 61 B-scans of one subject, of which two graders annotated 11: eight layer
boundaries as rows, and fluid as a map. Which B-scans those are differs between subjects; they are
those whose boundaries are not all NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from softlabel.errors import CaseError, SourceError, UsageError
from softlabel.readers.arrays import npz_keys, read_npz_array
from softlabel.readers.labels import check_values, whole_numbers
from softlabel.readers.layers import NOT_ANNOTATED, class_map_from_layers
from softlabel.readers.listing import Listing, count, parse_spacing
from softlabel.readers.look import LabelLook, look_at
from softlabel.readers.matlab import MatlabFile, open_matlab
from softlabel.readers.pixels import require_finite
from softlabel.readers.raters import raters_option, split_places
from softlabel.readers.registry import Reader, ReaderOption
from softlabel.readers.safety import relative_name
from softlabel.types import Array, Case, CaseRef, ClassTable, Dataset
from softlabel.wedges import SATURATED, find_wedges

CLASSES = ClassTable(
    tuple(range(10)),
    (
        "region above retina",
        "NFL",
        "GCL-IPL",
        "INL",
        "OPL",
        "ONL-ISM",
        "ISE",
        "OS-RPE",
        "region below retina",
        "fluid",
    ),
)
N_BOUNDARIES = 8

_ANNOTATORS = {
    "grader1": ("manualLayers1", "manualFluid1"),
    "grader2": ("manualLayers2", "manualFluid2"),
    "automatic": ("automaticLayersDME", "automaticFluidDME"),
}

OPTIONS = (
    ReaderOption(
        "grader",
        "1",
        "Whose annotation is the label: grader 1, grader 2, or both as raters.",
        choices=("1", "2", "both"),
    ),
    raters_option("Both graders, as --grader both: grader1,grader2"),
    ReaderOption(
        "row_base", 1, "Number that the file gives to the first row (MATLAB: 1).", kind="int"
    ),
    ReaderOption(
        "wedges",
        "mask",
        "Saturated registration wedges at the top and bottom: leave them out of the superpixels "
        "(mask), or keep them.",
        choices=("mask", "keep"),
    ),
    ReaderOption(
        "spacing_mm",
        "0.00387,0.01133",
        "Axial and lateral distance of pixels in mm, which the files do not state.",
    ),
)


@dataclass(frozen=True, eq=False)
class Annotations:
    """What annotators drew in the annotated B-scans of one file.

    Attributes
    ----------
    n_rows : int
    layers : mapping of annotator to ndarray of float, shape (8, columns, N)
    fluids : mapping of annotator to ndarray of bool, shape (rows, columns, N)
    """

    n_rows: int
    layers: Mapping[str, Array]
    fluids: Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Volume(Annotations):
    """The annotated B-scans of one file, read once.

    Attributes
    ----------
    images : ndarray, shape (rows, columns, N)
    truth : ndarray of an integer type, shape (rows, columns, N), or None
    """

    images: Array
    truth: Array | None


def detect(root: Path) -> str | None:
    """Recognise a folder with ``Subject_*.mat`` files, or one such file."""
    files = [path for path in _mat_files(root) if path.name.lower().startswith("subject")]
    return f"Duke OCT-DME: {count(len(files), 'file')} Subject_*.mat" if files else None


def list_cases(root: Path, options: Mapping[str, Any]) -> Dataset:
    """List the annotated B-scans of all subjects; reads the layer boundaries only."""
    files = _mat_files(root)
    if not files:
        raise SourceError(
            f"{root} holds no .mat file; expected Subject_01.mat and so on of the Duke OCT-DME "
            "data set. Check the path."
        )
    parse_spacing(options["spacing_mm"])
    options = _with_raters(options)
    folder = root.parent if root.is_file() else root
    listing = Listing()
    for path in files:
        _list_file(listing, path, folder, _wanted_graders(options))
    graders = "both graders" if options["grader"] == "both" else f"grader {options['grader']}"
    description = (
        f"Duke OCT-DME: {count(len(listing.refs), 'annotated B-scan')} of "
        f"{count(len({ref.group for ref in listing.refs.values()}), 'subject')}, {graders}"
    )
    return listing.dataset(
        "duke",
        folder,
        description,
        options=options,
        classes=CLASSES,
        channels=("OCT",),
        ignore=NOT_ANNOTATED,
    )


def open_source(dataset: Dataset, source: str) -> Volume:
    """Read the annotated B-scans of one subject, one variable at a time.

    Raises
    ------
    CaseError
        When the file is damaged or its variables do not fit together.
    """
    refs = [ref for ref in dataset.refs if ref.source == source]
    indices = sorted(ref.key["bscan"] for ref in refs)
    file = open_matlab(dataset.root / source)
    images = _bscans(file, "images", indices)
    layers, fluids = _annotations(file, tuple(_ANNOTATORS), indices, images.shape)
    truth_file = next((ref.key["truth"] for ref in refs if "truth" in ref.key), None)
    truth = _truth(dataset.root / truth_file, indices, images.shape) if truth_file else None
    return Volume(len(images), layers, fluids, images, truth)


def open_labels(dataset: Dataset, source: str) -> Annotations:
    """Read what the wanted graders drew in one subject; images are not inflated.

    Raises
    ------
    CaseError
        As :func:`open_source`, for these variables.
    """
    indices = sorted(ref.key["bscan"] for ref in dataset.refs if ref.source == source)
    file = open_matlab(dataset.root / source)
    rows, columns = _shape_of_bscans(file, "images", indices)[:2]
    layers, fluids = _annotations(
        file, _wanted_graders(dataset.options), indices, (rows, columns, len(indices))
    )
    return Annotations(rows, layers, fluids)


def _annotations(
    file: MatlabFile, annotators: Sequence[str], indices: list[int], shape: tuple[int, ...]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Layers and fluids of those annotators that the file has; ``shape`` is that of its images."""
    layers: dict[str, Array] = {}
    fluids: dict[str, Array] = {}
    for annotator in annotators:
        layer_name, fluid_name = _ANNOTATORS[annotator]
        if layer_name not in file:
            continue
        layers[annotator] = _bscans(file, layer_name, indices)
        _require_shape(file, layer_name, layers[annotator], (N_BOUNDARIES, *shape[1:]))
        if fluid_name in file:
            fluids[annotator] = _bscans(file, fluid_name, indices) > 0  # NaN is no fluid
            _require_shape(file, fluid_name, fluids[annotator], shape)
    return layers, fluids


def read_case(dataset: Dataset, ref: CaseRef, opened: Volume) -> Case:
    """Cut one B-scan out of an opened file.

    Raises
    ------
    CaseError
        For intensities that are not finite.
    """
    position = _position(dataset, ref)
    image = np.ascontiguousarray(opened.images[:, :, position])
    require_finite(image, dataset.root / ref.source)
    graders = _wanted_graders(dataset.options)
    label_maps = {
        annotator: class_map
        for annotator in opened.layers
        if annotator not in graders
        and ((class_map := _class_map(dataset, opened, annotator, position)) != NOT_ANNOTATED).any()
    }
    return Case(
        id=ref.id,
        image=image[np.newaxis],
        labels=read_labels(dataset, ref, opened),
        classes=dataset.classes,
        ignore=dataset.ignore,
        rater_axis=0 if len(graders) > 1 else None,
        raters=graders if len(graders) > 1 else (),
        mask=wedge_mask(image) if dataset.options["wedges"] == "mask" else None,
        spacing_mm=parse_spacing(dataset.options["spacing_mm"]),
        group=ref.group,
        source=ref.source,
        channels=dataset.channels,
        truth=None if opened.truth is None else np.ascontiguousarray(opened.truth[..., position]),
        label_maps=label_maps,
    )


def read_labels(dataset: Dataset, ref: CaseRef, opened: Annotations) -> Array:
    """Class map of one B-scan, or one for each grader, as uint8."""
    position = _position(dataset, ref)
    maps = [
        _class_map(dataset, opened, grader, position) for grader in _wanted_graders(dataset.options)
    ]
    return maps[0] if len(maps) == 1 else np.stack(maps)


def look(dataset: Dataset, ref: CaseRef, opened: Annotations) -> LabelLook:
    """Look at the annotation of a B-scan, of both graders that of the first."""
    labels = read_labels(dataset, ref, opened)
    first = labels if labels.ndim == 2 else labels[0]
    return look_at(first, parse_spacing(dataset.options["spacing_mm"]))


def wedge_mask(image: Array) -> Array | None:
    """Find what is left of a B-scan without its registration wedges.

    Parameters
    ----------
    image : ndarray, shape (rows, columns)
        Intensities, 255 where saturated.

    Returns
    -------
    ndarray of bool, shape (rows, columns), or None
        False in saturated areas that touch the top or the bottom
        (:func:`softlabel.wedges.find_wedges`); None when there is none, or nothing else.
    """
    mask: Array = ~find_wedges(image, SATURATED, min_solid=0)
    return mask if 0 < np.count_nonzero(mask) < mask.size else None


def _mat_files(root: Path) -> list[Path]:
    candidates = [root] if root.is_file() else sorted(root.iterdir()) if root.is_dir() else []
    return [p for p in candidates if p.suffix.lower() == ".mat" and not p.name.startswith(".")]


def _with_raters(options: Mapping[str, Any]) -> dict[str, Any]:
    """``raters`` is another word for ``grader``, and recorded as that.

    Raises
    ------
    UsageError
        When it names anybody but both graders.
    """
    raters = split_places(options["raters"])
    if raters not in ((), ("grader1", "grader2")):
        raise UsageError(
            f"The option raters is {options['raters']!r}; expected grader1,grader2, in this order, "
            "or --grader for one of them."
        )
    return {**options, "raters": None, "grader": "both" if raters else options["grader"]}


def _wanted_graders(options: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        ("grader1", "grader2") if options["grader"] == "both" else (f"grader{options['grader']}",)
    )


def _list_file(listing: Listing, path: Path, root: Path, graders: tuple[str, ...]) -> None:
    """Add the annotated B-scans of one file, or the reason why there are none."""
    subject = path.stem
    try:
        file = open_matlab(path)
        annotated = {grader: _annotated_bscans(file, grader) for grader in graders}
    except CaseError as error:
        listing.problem(subject, str(error))
        return
    files = [relative_name(path, root)]
    key: dict[str, Any] = {}
    truth = root / "truth" / f"{subject}.npz"
    if truth.is_file():
        key["truth"] = relative_name(truth, root)
        files.append(key["truth"])
    found = sorted(set[int]().union(*annotated.values()))
    if not found:
        listing.problem(
            subject,
            f"{path} has no annotated B-scan (every boundary is NaN); expected about 11. "
            "Check that it is the original file.",
        )
    for index in found:
        case_id = f"{subject}_bscan_{index:03d}"
        missing = [grader for grader in graders if index not in annotated[grader]]
        if missing:
            listing.problem(
                case_id,
                f"{path}: B-scan {index} was not annotated by {' and '.join(missing)}; expected "
                "both graders. Read one of them with the option grader.",
            )
            continue
        listing.add(case_id, files, source=files[0], group=subject, key={**key, "bscan": index})


def _annotated_bscans(file: MatlabFile, grader: str) -> set[int]:
    """Indices of the B-scans with any boundary; their fluid maps are never NaN throughout."""
    layers = _three_axes(file.read(_ANNOTATORS[grader][0]))
    return {int(i) for i in np.flatnonzero(np.isfinite(layers).any(axis=(0, 1)))}


def _bscans(file: MatlabFile, name: str, indices: list[int]) -> Array:
    """The chosen B-scans of a variable, so that the other fifty leave the memory."""
    shape = _shape_of_bscans(file, name, indices)
    return _three_axes(file.read(name, indices if len(shape) == 3 else None))


def _shape_of_bscans(file: MatlabFile, name: str, indices: list[int]) -> tuple[int, ...]:
    """Shape of a variable that has two or three axes and the chosen B-scans, by its header."""
    shape, last = file.shape_of(name), max(indices, default=0)
    n_bscans = {2: 1, 3: shape[-1] if shape else 0}.get(
        len(shape), 0
    )  # MATLAB drops a last axis of length 1
    if n_bscans <= last:
        raise CaseError(
            f"{file.path}: the variable {name!r} has the shape {shape}; expected rows × columns × "
            f"at least {last + 1} B-scans. Check that the file is the original."
        )
    return shape


def _three_axes(values: Array) -> Array:
    """MATLAB drops a last axis of length 1."""
    return values[:, :, np.newaxis] if values.ndim == 2 else values


def _require_shape(file: MatlabFile, name: str, values: Array, expected: tuple[int, ...]) -> None:
    if values.shape != expected:
        raise CaseError(
            f"{file.path}: the variable {name!r} has {values.shape[0]} × {values.shape[1]} values "
            f"a B-scan; expected {expected[0]} × {expected[1]}, as 'images' has. "
            "Check that the file is the original."
        )


def _position(dataset: Dataset, ref: CaseRef) -> int:
    """Where an opened file keeps the B-scan of a case."""
    indices = sorted(other.key["bscan"] for other in dataset.refs if other.source == ref.source)
    return indices.index(ref.key["bscan"])


def _class_map(dataset: Dataset, opened: Annotations, annotator: str, position: int) -> Array:
    fluid = opened.fluids.get(annotator)
    return class_map_from_layers(
        opened.layers[annotator][:, :, position],
        None if fluid is None else fluid[:, :, position],
        n_rows=opened.n_rows,
        row_base=dataset.options["row_base"],
    )


def _truth(path: Path, indices: list[int], shape: tuple[int, ...]) -> Array:
    """True class maps that a phantom keeps beside its files: ``labels`` of the ``bscans``."""
    if missing := {"labels", "bscans"} - set(npz_keys(path)):
        raise CaseError(
            f"{path} lacks the array {sorted(missing)[0]!r}; expected 'labels' and 'bscans'. "
            "Generate the phantom again, or remove the file."
        )
    labels = whole_numbers(read_npz_array(path, "labels"), path)
    bscans = [int(b) for b in read_npz_array(path, "bscans").reshape(-1)]
    if not set(indices) <= set(bscans) or labels.shape != (*shape[:2], len(bscans)):
        raise CaseError(
            f"{path} has true labels of shape {labels.shape} for the B-scans {bscans[:20]}; "
            f"expected {shape[0]} × {shape[1]} for each of {indices}. "
            "Generate the phantom again, or remove the file."
        )
    check_values(labels, CLASSES, NOT_ANNOTATED, path)
    return labels[:, :, [bscans.index(i) for i in indices]]


READER = Reader(
    name="duke",
    title="Duke OCT-DME (Subject_*.mat)",
    detect=detect,
    list_cases=list_cases,
    open_source=open_source,
    open_labels=open_labels,
    read_case=read_case,
    read_labels=read_labels,
    look=look,
    options=OPTIONS,
)
