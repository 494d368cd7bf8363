"""The index: links to the parts, class table, statistics; always rebuilt from the parts."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

import h5py
import numpy as np

from softlabel.cache import schema
from softlabel.cache.damage import index_problem
from softlabel.cache.digest import index_digest
from softlabel.cache.facts import CaseFacts, read_facts
from softlabel.cache.files import (
    DAMAGE,
    FIX_PART,
    Header,
    build_in_memory,
    check_header,
    damage_as_error,
    get_attribute,
    get_text,
    index_fix,
    new_group,
    open_for_reading,
    parts_folders,
    put_text,
    read_header,
    read_table,
    read_texts,
    store,
    text_array,
    write_header,
)
from softlabel.cache.part import InputFile
from softlabel.cache.structure import own
from softlabel.errors import CacheError
from softlabel.files.atomic import publish
from softlabel.files.regular import open_regular
from softlabel.ids import natural_key
from softlabel.types import Array

SUMMED = ("class_pixels", "pixels", *schema.INTENSITY)
SUMMED_SINCE_2 = (*SUMMED, "own_class_sum")
"""Attributes of a part that the index sums over each group."""

REBUILD_ATTEMPTS = 10

COLUMN_CHUNK = 1 << 22
"""Bytes of a chunk of a column."""

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"

Version = tuple[int, int, int]
"""Inode, size and modification time: two files that agree in all are taken for the same."""


@dataclass(frozen=True, eq=False)
class PartSummary:
    """What the index needs to know of a part, read from its attributes alone."""

    id: str
    group: str
    file: str
    fingerprint: str
    algorithm: int
    inputs: tuple[InputFile, ...]
    numbers: Mapping[str, Array]
    digest: str = ""
    bytes: int = 0
    facts: CaseFacts | None = None


@dataclass(frozen=True)
class SeenFile:
    """An input file as last seen: its content is ``sha256`` while size and time stay."""

    size: int
    mtime_ns: int
    sha256: str


@dataclass(frozen=True)
class Entry:
    """A part as the index names it.

    Attributes
    ----------
    digest : str
        Empty while a run replaces it.
    bytes : int
        Size of its file.
    """

    digest: str
    bytes: int


@dataclass(frozen=True)
class IndexContent:
    """What an index says beside the links.

    Attributes
    ----------
    header : Header
    seen : mapping of str to SeenFile
        Input files as last seen.
    findings : tuple of mapping
        What the check of the data set found, as records of plain values.
    number : int
        Of the folder of parts: 1 is ``NAME.parts``, others are ``NAME.parts.N``.
    expected : tuple of str
        Ids of the cases that the data set has; empty when that is not known.
    manifest : mapping of str to Entry
        The parts that an index was written for, as read; those that are there are written.
    unsettled : set of str
        Ids of cases whose parts a run is replacing: the index does not vouch for them.
    """

    header: Header
    seen: Mapping[str, SeenFile] = field(default_factory=dict)
    findings: tuple[Mapping[str, Any], ...] = ()
    number: int = 1
    expected: tuple[str, ...] = ()
    manifest: Mapping[str, Entry] = field(default_factory=dict)
    unsettled: frozenset[str] = frozenset()


def folder_of(path: Path, number: int) -> Path:
    """The folder of parts of this number, beside the index ``path``."""
    return path.with_suffix(schema.parts_suffix(number))


def purpose_of(fingerprint: str, number: int) -> str:
    """For which purpose a run owns a cache: those that write the same parts share it."""
    marks = f"{fingerprint} {number}".encode("utf-8", "surrogatepass")  # it may be of a stranger
    return hashlib.sha256(marks).hexdigest()[:16]


def parts_folder(path: Path) -> Path:
    """The folder of parts that the index ``path`` names.

    Without a readable index the first that there is: later ones are of an ``--overwrite`` that has
    not ended.
    """
    try:
        return folder_of(path, read_index(path).number)
    except CacheError:
        return folder_of(path, min(parts_folders(path), default=1))


def read_part_summary(path: Path) -> PartSummary:
    """Read a part's attributes.

    Raises
    ------
    CacheError
        When the file is damaged, no part, or named for another id.
    """
    with open_for_reading(path) as file:
        check_header(file, path, (schema.PART,))
        with damage_as_error(path, FIX_PART):
            summary = summary_of(own(file, "case"), path.name, path.stat().st_size)
    if schema.part_name(summary.id) != path.name:
        raise CacheError(
            f"{path} holds the case {summary.id!r}, which belongs into a file named "
            f"{schema.part_name(summary.id)}; {FIX_PART}."
        )
    return summary


def summary_of(case: h5py.Group, file_name: str, size: int) -> PartSummary:
    """Summary of a case by the attributes of its group, which lies in a file of that name and size.

    Raises
    ------
    KeyError, ValueError or TypeError
        When something is missing, or of another kind than docs/format.md says.
    """
    file = case.file
    since_2 = int(file.attrs["format_version"]) >= 2
    return PartSummary(
        get_text(case, "id"),
        get_text(case, "group"),
        file_name,
        get_text(file, "fingerprint"),
        int(file.attrs["algorithm"]),
        tuple(InputFile(*row) for row in json.loads(get_text(case, "inputs"))),
        {
            name: np.asarray(get_attribute(case, name))
            for name in (SUMMED_SINCE_2 if since_2 else SUMMED)
        },
        get_text(case, "digest") if since_2 else "",
        size,
        read_facts(case),
    )


class PartsFolder:
    """The parts in a folder; one is read again only when its file has changed.

    Parameters
    ----------
    path : Path
        Need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: dict[str, tuple[Version, PartSummary | CacheError]] = {}

    def read(self) -> dict[str, PartSummary | CacheError]:
        """Summary of every part by file name, of a damaged one the error that it raises."""
        before, self._read = self._read, {}
        for name, version in self.versions().items():
            if name in before and before[name][0] == version:
                self._read[name] = before[name]
                continue
            try:
                self._read[name] = (version, read_part_summary(self.path / name))
            except CacheError as error:
                self._read[name] = (version, error)
        return {name: part for name, (_, part) in self._read.items()}

    def versions(self) -> dict[str, Version]:
        """Every part that is there now, in the order of the file names."""
        found = {}
        for path in sorted(self.path.glob("*.h5")):
            version = version_of(path)
            if version is not None and not path.name.startswith("."):
                found[path.name] = version
        return found

    def is_as_read(self) -> bool:
        """Whether nothing has changed since :meth:`read`."""
        return self.versions() == {name: version for name, (version, _) in self._read.items()}


def version_of(path: Path) -> Version | None:
    """An identity that changes when the file is replaced; None when there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def read_index(path: Path) -> IndexContent:
    """Read the records of an existing index.

    Raises
    ------
    CacheError
        When it is not a readable index.
    """
    with open_for_reading(path) as file:
        check_header(file, path, (schema.INDEX,))
        with damage_as_error(path, index_fix(path)):
            if (problem := index_problem(file)) is not None:
                raise ValueError(problem)
            header = read_header(file)
            number = int(file.attrs.get(schema.PARTS_NUMBER, 1))
            if not 1 <= number < schema.MOST_FOLDERS:
                raise ValueError(f"the folder of parts has the number {number}")
            return IndexContent(
                header, read_inputs(file), read_findings(file), number,
                read_expected(file), read_manifest(file),
            )  # fmt: skip


def is_damaged_index(path: Path) -> bool:
    """Whether an unreadable file can be an index of ours that was damaged.

    Another program's HDF5 file, a packed cache, or a file that is not HDF5, is not; a file whose
    beginning can be what became of HDF5's is, and one that has our tree: a changed byte can hide an
    attribute.
    """
    try:
        with open_regular(path) as stream:
            start = stream.read(len(HDF5_SIGNATURE))
    except OSError:
        return False
    if not _was_signature(start):
        return False
    try:
        with open_for_reading(path) as file:
            packed = get_text(file, "kind", "") == schema.PACKED
            ours = get_text(file, "format", "") == schema.FORMAT or _has_tree_of_index(file)
            return ours and not packed
    except (CacheError, *DAMAGE):
        return True


def _was_signature(start: bytes) -> bool:
    """Whether the first bytes of a file are, or can have been, those of an HDF5 file.

    Zeros are what a power failure leaves; a file may have been cut; and one word may have changed.

    Examples
    --------
    >>> changed = b"\\x09" + HDF5_SIGNATURE[1:]
    >>> [_was_signature(start) for start in (HDF5_SIGNATURE, b"", b"\\x89HD", changed, b"GIF89a")]
    [True, True, True, True, False]
    """
    same = sum(a == b for a, b in zip(start, HDF5_SIGNATURE, strict=False))
    is_cut = HDF5_SIGNATURE.startswith(start)
    return is_cut or not start.strip(b"\0") or same >= len(HDF5_SIGNATURE) - 2


def _has_tree_of_index(file: h5py.File) -> bool:
    """Whether a file has a class table, and cases that are links to parts."""
    cases = file.get("cases")
    if not isinstance(cases, h5py.Group) or "classes/values" not in file:
        return False
    return any(isinstance(cases.get(i, getlink=True), h5py.ExternalLink) for i in cases)


def read_inputs(file: h5py.File) -> dict[str, SeenFile]:
    """Input files as last seen, by their paths; empty where an index has none."""
    if "inputs" not in file:
        return {}
    path, size, mtime_ns, sha256 = (own(file, f"inputs/{n}") for n in schema.INPUTS)
    columns = (read_texts(path), read_table(size), read_table(mtime_ns), read_texts(sha256))
    return {
        name: SeenFile(int(size), int(mtime), sha)
        for name, size, mtime, sha in zip(*columns, strict=True)
    }


def read_findings(file: h5py.File) -> tuple[Mapping[str, Any], ...]:
    """What the check of the data set found, as an index records it."""
    if "findings" not in file:
        return ()
    found = tuple(json.loads(text) for text in read_texts(own(file, "findings")))
    if not all(isinstance(finding, dict) for finding in found):
        raise ValueError("a finding is a JSON object")
    return found


def read_expected(file: h5py.File) -> tuple[str, ...]:
    """Ids of the cases that the data set has; empty where an index does not tell."""
    return tuple(read_texts(own(file, schema.EXPECTED))) if schema.EXPECTED in file else ()


def read_manifest(file: h5py.File) -> dict[str, Entry]:
    """The parts that an index was written for, by the ids of their cases; empty in format 1."""
    if "manifest" not in file:
        return {}
    ids, digests, sizes = (own(file, f"manifest/{name}") for name in schema.MANIFEST)
    rows = zip(read_texts(ids), read_texts(digests), read_table(sizes), strict=True)
    return {case_id: Entry(digest, int(size)) for case_id, digest, size in rows}


def read_facts_texts(file: h5py.File) -> dict[str, str]:
    """Facts of every part as JSON, by the ids of their cases; empty where an index has none."""
    if schema.FACTS not in file:
        return {}
    ids, texts = own(file, "manifest/id"), own(file, schema.FACTS)
    return dict(zip(read_texts(ids), read_texts(texts), strict=True))


def belongs(part: PartSummary | CacheError | None, header: Header) -> TypeGuard[PartSummary]:
    """Whether a part is readable, and of the settings and the algorithm of a header."""
    return (
        isinstance(part, PartSummary)
        and part.fingerprint == header.fingerprint
        and part.algorithm == header.algorithm
    )


def rebuild_index(
    path: Path,
    content: IndexContent,
    folder: PartsFolder | None = None,
    attempts: int = REBUILD_ATTEMPTS,
) -> list[PartSummary]:
    """Write the index of all readable parts that were made with the header's settings.

    Parameters
    ----------
    path : Path
        The index, ``NAME.h5``.
    content : IndexContent
        Its header, and the input files to remember; those that no part names are dropped.
    folder : PartsFolder, optional
        The parts beside it, as far as they were read already.
    attempts : int
        How often it is written, while parts come in between.

    Returns
    -------
    list of PartSummary
        The linked parts, in natural order of their ids.
    """
    folder = folder or PartsFolder(folder_of(path, content.number))
    for _ in range(attempts):
        parts = [part for part in folder.read().values() if belongs(part, content.header)]
        parts.sort(key=lambda part: natural_key(part.id))
        publish(path, _build_index(folder.path, parts, content))
        # Another process may have published a part, and its own index, while this one was built:
        # whoever writes the index last must have seen all of them.
        if folder.is_as_read():
            break
    return parts


def _build_index(folder: Path, parts: list[PartSummary], content: IndexContent) -> bytes:
    with build_in_memory() as (file, built):
        write_header(file, schema.INDEX, content.header)
        if content.number > 1:
            file.attrs[schema.PARTS_NUMBER] = np.int64(content.number)
        cases = new_group(file, "cases")
        if folder.is_symlink():
            cases.attrs[schema.PARTS_LINK] = np.int64(1)
        for part in parts:
            cases[part.id] = h5py.ExternalLink(f"{folder.name}/{part.file}", "/case")
        if parts:
            _write_statistics(file, parts, content.header)
        _write_inputs(file, parts, content)
        if parts and content.header.format_version >= 2:
            _write_manifest(file, parts, content)
        if content.expected:
            ids = text_array(content.expected)
            store(file, schema.EXPECTED, ids, column_chunks(ids), content.header.compression)
        if content.findings:
            records = text_array([json.dumps(f, ensure_ascii=False) for f in content.findings])
            store(file, "findings", records, column_chunks(records), content.header.compression)
        if content.header.format_version >= 2:
            put_text(cases, schema.DIGEST, index_digest(file))
    return built[0]


def recover(path: Path, number: int | None = None) -> IndexContent:
    """What is known of a cache whose index is lost or damaged, from its parts.

    Parameters
    ----------
    path : Path
        The index.
    number : int, optional
        Of the folder of parts; without it the one of :func:`parts_folder`.

    Raises
    ------
    CacheError
        When there is no readable part, or parts of different settings.
    """
    folder = parts_folder(path) if number is None else folder_of(path, number)
    headers: dict[str, Header] = {}
    for name, part in PartsFolder(folder).read().items():
        if not isinstance(part, PartSummary):
            continue
        known = headers.get(part.fingerprint)
        if known is None or known.algorithm < part.algorithm:
            with (
                contextlib.suppress(CacheError),
                open_for_reading(folder / name) as file,
                damage_as_error(folder / name, FIX_PART),
            ):
                headers[part.fingerprint] = read_header(file)
    if len(headers) != 1:
        raise CacheError(
            f"{path} is no readable index, and cannot be rebuilt: {folder} holds "
            f"readable parts of {len(headers)} settings, expected 1. Run `softlabel generate` "
            "again, with --overwrite to start afresh."
        )
    number = schema.parts_number(folder.name)
    return IndexContent(next(iter(headers.values())), number=number or 1)


def group_statistics(parts: Iterable[PartSummary]) -> dict[str, dict[str, Any]]:
    """Sum the statistics of the cases of each group, in the order of the group names."""
    totals: dict[str, dict[str, Any]] = {}
    for part in sorted(parts, key=lambda p: (p.group, natural_key(p.id))):
        numbers = part.numbers
        if part.group not in totals:
            totals[part.group] = {"cases": 1, **numbers}
            continue
        total = totals[part.group]
        total["cases"] += 1
        for name, value in numbers.items():
            combine = {"intensity_min": np.minimum, "intensity_max": np.maximum}.get(name, np.add)
            total[name] = combine(total[name], value)
    return totals


def _write_statistics(file: h5py.File, parts: list[PartSummary], header: Header) -> None:
    totals = group_statistics(parts)
    groups = text_array(list(totals))
    store(file, "statistics/groups", groups, groups.shape, header.compression)
    names = SUMMED_SINCE_2 if header.format_version >= 2 else SUMMED
    for name in ("cases", *names):
        exact = name not in (*schema.INTENSITY, "own_class_sum")
        kind = np.uint64 if exact else np.float64
        table = np.array([total[name] for total in totals.values()], kind)
        store(file, f"statistics/{name}", table, table.shape, header.compression)


def _write_manifest(file: h5py.File, parts: list[PartSummary], content: IndexContent) -> None:
    digests = ["" if part.id in content.unsettled else part.digest for part in parts]
    columns = {
        "id": text_array([part.id for part in parts]),
        "digest": text_array(digests),
        "bytes": np.array([part.bytes for part in parts], np.int64),
        "facts": text_array([part.facts.as_json() if part.facts else "" for part in parts]),
    }
    for name, column in columns.items():
        store(file, f"manifest/{name}", column, column_chunks(column), content.header.compression)


def _write_inputs(file: h5py.File, parts: list[PartSummary], content: IndexContent) -> None:
    used = {f.path for part in parts for f in part.inputs}
    rows = sorted((p, seen) for p, seen in content.seen.items() if p in used)
    if not rows:
        return
    columns = {
        "path": text_array([p for p, _ in rows]),
        "size": np.array([s.size for _, s in rows], np.int64),
        "mtime_ns": np.array([s.mtime_ns for _, s in rows], np.int64),
        "sha256": text_array([s.sha256 for _, s in rows]),
    }
    for name, column in columns.items():
        store(file, f"inputs/{name}", column, column_chunks(column), content.header.compression)


def column_chunks(column: Array) -> tuple[int, ...]:
    """Chunks of a column, which readers refuse when they are large: short columns are one."""
    return (min(len(column), max(1, COLUMN_CHUNK // column.dtype.itemsize)),)
