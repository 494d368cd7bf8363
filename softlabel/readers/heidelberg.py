"""Heidelberg Engineering's raw export (``.vol``): B-scans and the layer boundaries of HEYEX.

A file header of 2048 bytes, the infrared image, then for each B-scan a header with its boundaries
and the reflectivity as float32. Each B-scan is a two-dimensional case. A boundary is the row, 0
being the first, from which on the layer below begins; names are those of the layer above, as in
HEYEX: ``RNFL`` is the lower end of the nerve fibre layer. Columns without one of the boundaries
were not annotated.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from softlabel.errors import CaseError, SourceError, UsageError
from softlabel.files.regular import open_regular
from softlabel.readers.layers import NOT_ANNOTATED, class_map_from_layers
from softlabel.readers.listing import GROUP_OPTION, Listing, count
from softlabel.readers.look import LabelLook, look_at
from softlabel.readers.registry import Reader, ReaderOption
from softlabel.readers.safety import COPY_AGAIN, check_promise, reading, relative_name
from softlabel.readers.vendors import scan_sentence
from softlabel.types import Array, Case, CaseRef, ClassTable, Dataset

MAGIC = b"HSF-OCT-"
_FILE_HEADER = np.dtype({
    "names": ["size_x", "n_bscans", "size_y", "scale_x", "scale_y", "slo_x", "slo_y",
              "bscan_header", "patient"],
    "formats": ["<i4", "<i4", "<i4", "<f8", "<f8", "<i4", "<i4", "<i4", "S21"],
    "offsets": [12, 16, 20, 24, 40, 48, 52, 100, 140],
    "itemsize": 2048,
})  # fmt: skip
_BSCAN_HEADER = np.dtype({
    "names": ["n_boundaries", "boundaries_at"],
    "formats": ["<i4", "<i4"],
    "offsets": [48, 52],
    "itemsize": 256,
})  # fmt: skip
_INVALID = 3e38
"""Heights and reflectivities of this size are written where there is none."""

_MAX_BOUNDARIES = 64

ORDER = {
    "ILM": 0, "RNFL": 2, "GCL": 3, "IPL": 4, "INL": 5, "OPL": 6, "ELM": 8, "PR1": 14, "PR2": 15,
    "RPE": 16, "BM": 1,
}  # fmt: skip
"""Boundaries from the vitreous downwards, and where a file keeps each."""

OPTIONS = (
    ReaderOption(
        "boundaries",
        None,
        f"Layer boundaries to use, separated by commas, of {', '.join(ORDER)}; those that all "
        "files have when not given.",
    ),
    ReaderOption(
        "intensities",
        "fourth-root",
        "Reflectivity as it is shown on screens, its fourth root, or as it is stored (raw).",
        choices=("fourth-root", "raw"),
    ),
    GROUP_OPTION,
)


@dataclass(frozen=True)
class _File:
    """What the header of a file says.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns of a B-scan.
    n_bscans : int
    spacing_mm : tuple of float
    patient : str
    first : int
        Byte at which the first B-scan begins.
    header : int
        Bytes of a B-scan's header, its boundaries included.
    """

    path: Path
    shape: tuple[int, int]
    n_bscans: int
    spacing_mm: tuple[float, float]
    patient: str
    first: int
    header: int

    def start(self, number: int) -> int:
        """Byte at which a B-scan begins."""
        return self.first + number * (self.header + 4 * math.prod(self.shape))


def detect(root: Path) -> str | None:
    """Recognise ``.vol`` files that begin as those of HEYEX do."""
    files = [path for path in _vol_files(root) if _begins_right(path)]
    return f"Heidelberg: {count(len(files), 'file')} .vol" if files else None


def list_cases(root: Path, options: Mapping[str, Any]) -> Dataset:
    """List the B-scans that have boundaries; reads headers and boundaries only."""
    paths = _vol_files(root)
    if not paths:
        raise SourceError(
            scan_sentence([root])
            or f"{root} holds no .vol file; expected exports of HEYEX. Check the path."
        )
    folder = root.parent if root.is_file() else root
    listing = Listing(options["group"])
    files: dict[Path, set[str]] = {}
    for path in paths:
        try:
            found = np.isfinite(_all_lines(path, list(ORDER)))
            files[path] = {name for n, name in enumerate(ORDER) if found[:, n].any()}
        except CaseError as error:
            listing.problem(path.stem, str(error))
    names = _names(options["boundaries"], files.values())
    unlabelled = []
    for path in files:
        unlabelled += _list_file(listing, folder, path, names, options)
    description = (
        f"Heidelberg: {count(len(listing.refs), 'B-scan')} with the boundaries {', '.join(names)} "
        f"of {count(len(files), 'file')}"
    )
    return listing.dataset(
        "heidelberg", folder, description, options={**options, "boundaries": ",".join(names)},
        classes=_classes(names), channels=("OCT",), ignore=NOT_ANNOTATED, unlabelled=unlabelled,
    )  # fmt: skip


def open_source(dataset: Dataset, source: str) -> _File:
    """Read the header of a file.

    Raises
    ------
    CaseError
        When it is damaged.
    """
    path = dataset.root / source
    with reading(path, "a .vol file"), open_regular(path) as stream:
        return _read_header(stream, path)


def read_case(dataset: Dataset, ref: CaseRef, opened: _File) -> Case:
    """Read one B-scan.

    Raises
    ------
    CaseError
        When its intensities are no numbers.
    """
    stored = _reflectivity(opened, ref.key["bscan"])
    valid = stored < _INVALID
    image = np.where(valid, stored, np.float32(0))
    if not np.isfinite(stored).all() or (image < 0).any():
        raise CaseError(
            f"{opened.path}, B-scan {ref.key['bscan']}, has negative intensities or such as are no "
            f"numbers; expected reflectivities. {COPY_AGAIN}"
        )
    if dataset.options["intensities"] == "fourth-root":
        image = np.sqrt(np.sqrt(image))
    return Case(
        id=ref.id,
        image=image[np.newaxis],
        labels=read_labels(dataset, ref, opened),
        classes=dataset.classes,
        ignore=dataset.ignore,
        mask=None if valid.all() or not valid.any() else valid,
        spacing_mm=opened.spacing_mm,
        group=ref.group,
        source=ref.source,
        channels=dataset.channels,
    )


def read_labels(dataset: Dataset, ref: CaseRef, opened: _File) -> Array:
    """Class map of one B-scan, uint8."""
    with reading(opened.path, "a .vol file"), open_regular(opened.path) as stream:
        boundaries = _boundaries(stream, opened, ref.key["bscan"])
    lines = _lines(boundaries, dataset.options["boundaries"].split(","))
    return class_map_from_layers(lines, None, opened.shape[0], row_base=0)


def look(dataset: Dataset, ref: CaseRef, opened: _File) -> LabelLook:
    """Look at the annotation of a B-scan, for the check of the data set."""
    return look_at(read_labels(dataset, ref, opened), opened.spacing_mm)


def _vol_files(root: Path) -> list[Path]:
    candidates = [root] if root.is_file() else sorted(root.iterdir()) if root.is_dir() else []
    return [p for p in candidates if p.suffix.lower() == ".vol" and not p.name.startswith(".")]


def _begins_right(path: Path) -> bool:
    try:
        with open_regular(path) as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def _read_header(stream: IO[bytes], path: Path) -> _File:
    content = stream.read(_FILE_HEADER.itemsize)
    if not content.startswith(MAGIC) or len(content) < _FILE_HEADER.itemsize:
        raise CaseError(
            f"{path} does not begin like a .vol file of HEYEX ({MAGIC.decode()}…); expected one. "
            f"{COPY_AGAIN}"
        )
    fields = np.frombuffer(content, _FILE_HEADER)[0]
    shape = int(fields["size_y"]), int(fields["size_x"])
    n_bscans, header = int(fields["n_bscans"]), int(fields["bscan_header"])
    slo = int(fields["slo_x"]), int(fields["slo_y"])
    spacing = float(fields["scale_y"]), float(fields["scale_x"])
    size = path.stat().st_size
    check_promise(path, (n_bscans, *shape), 4, size)
    first = _FILE_HEADER.itemsize + math.prod(slo)
    file = _File(path, shape, n_bscans, spacing, _text(fields["patient"]), first, header)
    if min(slo) < 0 or header < _BSCAN_HEADER.itemsize or file.start(n_bscans) > size:
        raise CaseError(
            f"{path} has {size} bytes; expected {file.start(n_bscans)} for {n_bscans} B-scans of "
            f"{shape[0]} × {shape[1]} pixels behind headers of {header} bytes. {COPY_AGAIN}"
        )
    if not all(0 < s < math.inf for s in spacing):
        raise CaseError(
            f"{path} states a pixel of {spacing[0]} × {spacing[1]} mm; expected positive numbers. "
            f"{COPY_AGAIN}"
        )
    return file


def _text(content: bytes) -> str:
    text = bytes(content).split(b"\0")[0].decode("latin-1").strip()
    return text if text.isprintable() else ""


def _boundaries(stream: IO[bytes], file: _File, number: int) -> Array:
    """Rows of all boundaries of a B-scan, (boundaries, columns), NaN where there is none."""
    stream.seek(file.start(number))
    fields = np.frombuffer(stream.read(_BSCAN_HEADER.itemsize), _BSCAN_HEADER)[0]
    n_lines, start = int(fields["n_boundaries"]), int(fields["boundaries_at"])
    columns = file.shape[1]
    fits = _BSCAN_HEADER.itemsize <= start <= file.header - 4 * n_lines * columns
    if not 0 <= n_lines <= _MAX_BOUNDARIES or (n_lines and not fits):
        raise CaseError(
            f"{file.path}, B-scan {number}, has {n_lines} boundaries from byte {start} of a header "
            f"of {file.header} bytes on; expected room for {columns} columns each. {COPY_AGAIN}"
        )
    stream.seek(file.start(number) + start)
    stored = np.frombuffer(stream.read(4 * n_lines * columns), "<f4").reshape(n_lines, columns)
    return np.where(np.abs(stored) < _INVALID, stored, np.nan).astype(np.float64)


def _reflectivity(file: _File, number: int) -> Array:
    with reading(file.path, "a .vol file"), open_regular(file.path) as stream:
        stream.seek(file.start(number) + file.header)
        content = stream.read(4 * math.prod(file.shape))
        return np.frombuffer(content, "<f4").reshape(file.shape)


def _lines(boundaries: Array, names: list[str]) -> Array:
    """The boundaries of the names, from above, NaN for those that a file lacks."""
    lines = np.full((len(names), boundaries.shape[1]), np.nan)
    for line, name in zip(lines, names, strict=True):
        if ORDER[name] < len(boundaries):
            line[:] = boundaries[ORDER[name]]
    return lines


def _all_lines(path: Path, names: list[str]) -> list[Array]:
    """The boundaries of every B-scan of a file."""
    with reading(path, "a .vol file"), open_regular(path) as stream:
        file = _read_header(stream, path)
        return [_lines(_boundaries(stream, file, n), names) for n in range(file.n_bscans)]


def _names(given: str | None, found: Iterable[set[str]]) -> list[str]:
    """Boundaries that were asked for, or that some B-scan of every file has, from above."""
    if given is not None:
        names = [name.strip() for name in given.split(",")]
        if unknown := [name for name in names if name not in ORDER]:
            raise UsageError(
                f"The option boundaries names {unknown[0]!r}; expected some of {', '.join(ORDER)}."
            )
        return [name for name in ORDER if name in names]
    common = set(ORDER).intersection(*(names for names in found if names))
    return [name for name in ORDER if name in common]


def _classes(names: list[str]) -> ClassTable:
    """What lies above, between and below the boundaries."""
    between = [f"{above} to {below}" for above, below in itertools.pairwise(names)]
    ends = [f"above {names[0]}", *between, f"below {names[-1]}"] if names else ["all"]
    return ClassTable.from_mapping(dict(enumerate(ends)))


def _list_file(
    listing: Listing,
    root: Path,
    path: Path,
    names: list[str],
    options: Mapping[str, Any],
) -> list[str]:
    """Add the B-scans of a file that have all boundaries somewhere; name those that have not."""
    relative = relative_name(path, root)
    with open_regular(path) as stream:
        group = _read_header(stream, path).patient or path.stem
    unlabelled = []
    bscans = _all_lines(path, names)
    for number, lines in enumerate(bscans):
        case = f"{path.stem}_bscan_{number:03d}"
        if names and np.isfinite(lines).all(axis=0).any():
            listing.add(
                case, [relative], source=relative, key={"bscan": number},
                group=group if options["group"] is None else None,
            )  # fmt: skip
        else:
            unlabelled.append(f"{relative}, B-scan {number}")
    if len(unlabelled) == len(bscans):
        listing.problem(
            path.stem,
            f"{path} has no B-scan with the boundaries {', '.join(names) or 'of any layer'}; "
            "expected some. Segment it in HEYEX, or name others with the option boundaries.",
        )
        return []
    return unlabelled


READER = Reader(
    name="heidelberg",
    title="Heidelberg Engineering (.vol)",
    detect=detect,
    list_cases=list_cases,
    open_source=open_source,
    read_case=read_case,
    read_labels=read_labels,
    look=look,
    options=OPTIONS,
)
