"""The index: links to the parts, class table, statistics; always rebuilt from the parts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from softlabel import schema
from softlabel.cache.files import (
    Header,
    build_in_memory,
    check_header,
    get_text,
    open_for_reading,
    publish,
    read_header,
    store,
    text_array,
    write_header,
)
from softlabel.cache.part import InputFile
from softlabel.errors import CacheError
from softlabel.types import Array, natural_key


@dataclass(frozen=True)
class PartSummary:
    """What the index needs to know of a part, read from its attributes alone."""

    id: str
    group: str
    file: str
    fingerprint: str
    algorithm: int
    inputs: tuple[InputFile, ...]
    numbers: Mapping[str, Array]


@dataclass(frozen=True)
class SeenFile:
    """An input file as last seen: its content is ``sha256`` while size and time stay."""

    size: int
    mtime_ns: int
    sha256: str


@dataclass(frozen=True)
class IndexContent:
    """What an index says beside the links: the header, and the input files as last seen."""

    header: Header
    seen: Mapping[str, SeenFile] = field(default_factory=dict)


def parts_folder(path: Path) -> Path:
    """Folder of the parts of the cache ``path``."""
    return path.with_suffix(schema.PARTS_SUFFIX)


def read_part_summary(path: Path) -> PartSummary:
    """Read a part's attributes.

    Raises
    ------
    CacheError
        When the file is damaged, no part, or named for another id.
    """
    with open_for_reading(path) as file:
        check_header(file, path, (schema.PART,))
        try:
            case = file["case"]
            numbers = {
                name: np.asarray(case.attrs[name])
                for name in (
                    "class_pixels", "pixels", "softened_pixels", "soft_sum", "n_superpixels",
                    "n_superpixels_asked", *schema.INTENSITY,
                )
            }  # fmt: skip
            summary = PartSummary(
                get_text(case, "id"),
                get_text(case, "group"),
                path.name,
                get_text(file, "fingerprint"),
                int(file.attrs["algorithm"]),
                tuple(InputFile(*row) for row in json.loads(get_text(case, "inputs"))),
                numbers,
            )
        except (KeyError, ValueError, TypeError, OSError) as error:
            raise CacheError(
                f"The part {path} lacks what FORMAT.md asks for ({error}); delete it and run "
                "`softlabel generate` again."
            ) from error
    if schema.part_name(summary.id) != path.name:
        raise CacheError(
            f"The part {path} holds the case {summary.id!r}, which belongs into a file named "
            f"{schema.part_name(summary.id)}; rename it or delete it."
        )
    return summary


def read_parts(folder: Path) -> Iterator[tuple[Path, PartSummary | CacheError]]:
    """Every part of a folder, damaged ones as the error that they raise."""
    for path in sorted(folder.glob("*.h5")):
        if path.name.startswith("."):
            continue
        try:
            yield path, read_part_summary(path)
        except CacheError as error:
            yield path, error


def read_index(path: Path) -> IndexContent:
    """Read what an existing index says.

    Raises
    ------
    CacheError
        When it is not a readable index.
    """
    with open_for_reading(path) as file:
        check_header(file, path, (schema.INDEX,))
        try:
            header = read_header(file)
            seen = {}
            if "inputs" in file:
                rows = file["inputs"]
                seen = {
                    p.decode(): SeenFile(int(size), int(mtime), sha.decode())
                    for p, size, mtime, sha in zip(
                        rows["path"][:], rows["size"][:], rows["mtime_ns"][:], rows["sha256"][:],
                        strict=True,
                    )
                }  # fmt: skip
        except (KeyError, ValueError, OSError) as error:
            raise CacheError(
                f"The index {path} is damaged ({error}); rebuild it with `softlabel index {path}`, "
                "or generate again with --overwrite."
            ) from error
    return IndexContent(header, seen)


def rebuild_index(path: Path, content: IndexContent) -> list[PartSummary]:
    """Write the index of all readable parts that were made with the header's settings.

    Parameters
    ----------
    path : Path
        The index, ``NAME.h5``.
    content : IndexContent
        Its header, and the input files to remember; those that no part names are dropped.

    Returns
    -------
    list of PartSummary
        The linked parts, in natural order of their ids.
    """
    folder = parts_folder(path)
    parts = [
        part
        for _, part in read_parts(folder)
        if isinstance(part, PartSummary) and part.fingerprint == content.header.fingerprint
    ]
    parts.sort(key=lambda part: natural_key(part.id))
    with build_in_memory() as (file, built):
        write_header(file, schema.INDEX, content.header)
        cases = file.create_group("cases")
        for part in parts:
            cases[part.id] = h5py.ExternalLink(f"{folder.name}/{part.file}", "/case")
        if parts:
            _write_statistics(file, parts, content.header)
        _write_inputs(file, parts, content)
    publish(path, built[0])
    return parts


def recover_header(path: Path) -> Header:
    """Header of a cache whose index is lost or damaged, from its parts.

    Raises
    ------
    CacheError
        When there is no readable part, or parts of different settings.
    """
    headers: dict[str, Header] = {}
    for part_path, part in read_parts(parts_folder(path)):
        if isinstance(part, PartSummary) and part.fingerprint not in headers:
            with open_for_reading(part_path) as file:
                headers[part.fingerprint] = read_header(file)
    if len(headers) != 1:
        raise CacheError(
            f"The index {path} cannot be rebuilt: {parts_folder(path)} holds readable parts of "
            f"{len(headers)} settings, expected 1. Run `softlabel generate` again, with "
            "--overwrite to start afresh."
        )
    return next(iter(headers.values()))


def group_statistics(parts: Iterable[PartSummary]) -> dict[str, dict[str, Any]]:
    """Sum the statistics of the cases of each group, in the order of the group names."""
    totals: dict[str, dict[str, Any]] = {}
    for part in sorted(parts, key=lambda p: (p.group, natural_key(p.id))):
        numbers = {n: part.numbers[n] for n in ("class_pixels", "pixels", *schema.INTENSITY)}
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
    for name in ("cases", "class_pixels", "pixels", *schema.INTENSITY):
        kind = np.float64 if name in schema.INTENSITY else np.uint64
        table = np.array([total[name] for total in totals.values()], kind)
        store(file, f"statistics/{name}", table, table.shape, header.compression)


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
        store(file, f"inputs/{name}", column, column.shape, content.header.compression)
