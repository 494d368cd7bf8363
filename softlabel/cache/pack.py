"""A cache as one self-contained file, and back: see kind ``packed`` of docs/format.md.

One file is easier to copy, to publish and to keep on file systems that count files. It is read as
any cache is, and never changed.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import h5py

from softlabel.cache import schema
from softlabel.cache.digest import index_digest
from softlabel.cache.files import (
    DAMAGE,
    Header,
    build_in_memory,
    first_line,
    followed_link,
    get_text,
    new_group,
    open_for_reading,
    parts_folders,
    put_text,
    read_texts,
    require_index_name,
    store,
    text_array,
    write_header,
)
from softlabel.cache.index import (
    IndexContent,
    column_chunks,
    folder_of,
    read_expected,
    read_findings,
    read_inputs,
    read_manifest,
    rebuild_index,
)
from softlabel.cache.read import Cache, CachedCase, open_cache
from softlabel.cache.stream import build_on_disk
from softlabel.cache.structure import datasets_below, own
from softlabel.cache.transfer import copy_case, copy_dataset
from softlabel.errors import CacheError, UsageError
from softlabel.files.atomic import folder_at_once, publish_by, sweep
from softlabel.files.owner import owners
from softlabel.interrupt import stop_on_signals

Progress = Callable[[str], None]
"""Called with the id of every case that was copied."""


def pack_cache(
    cache: str | os.PathLike[str], out: str | os.PathLike[str], progress: Progress | None = None
) -> Path:
    """Put all parts of a cache into one file, which is read as the cache is.

    Chunks are copied as they are stored, and every part is compared with its checksums and its
    digest on the way; values, checksums and digests stay the same. The same cache gives the same
    bytes. The file is there as a whole or not at all.

    Parameters
    ----------
    cache : path
        ``NAME.h5``, with its parts beside it.
    out : path
        The file to write, which must not exist.
    progress : callable, optional
        Called with the id of every case that was copied.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    CacheError
        When the cache or one of its parts is damaged, missing or not what the index names, when it
        is packed already, or when a run is writing it.
    UsageError
        When the output exists, or does not end in ``.h5``.
    OSError
        As the file system reports it (no space, not writable); nothing is left behind.

    Examples
    --------
    >>> import softlabel
    >>> softlabel.pack_cache("oct.h5", "oct-packed.h5")  # doctest: +SKIP
    """
    path, target = followed_link(Path(cache)), _free_output(out)
    with open_cache(path) as opened, stop_on_signals() as stop:
        _require_settled(opened)
        sweep(target.parent)

        def told(case_id: str) -> None:
            if progress is not None:
                progress(case_id)
            stop.safe_point()

        publish_by(target, partial(_write_packed, opened, told))
    return target


def unpack_cache(
    file: str | os.PathLike[str], out: str | os.PathLike[str], progress: Progress | None = None
) -> Path:
    """Make an ordinary cache, with one part a case, of a packed file.

    Every case is compared with its checksums and its digest on the way; values, checksums and
    digests stay the same, and ``softlabel generate`` goes on with the cache.

    Parameters
    ----------
    file : path
        What :func:`pack_cache` wrote.
    out : path
        The index to write, ``NAME.h5``; the parts go into ``NAME.parts`` beside it. Neither may
        exist.
    progress : callable, optional
        Called with the id of every case that was copied.

    Returns
    -------
    Path
        The index.

    Raises
    ------
    CacheError
        When the file is damaged, or not packed.
    UsageError
        When the output exists, or does not end in ``.h5``.
    OSError
        As the file system reports it (no space, not writable); nothing is left behind.

    Examples
    --------
    >>> import softlabel
    >>> softlabel.unpack_cache("oct-packed.h5", "oct.h5")  # doctest: +SKIP
    """
    path, index = Path(file), _free_output(out)
    folder = folder_of(index, 1)
    with open_cache(path) as opened, stop_on_signals() as stop:
        if not opened.is_packed:
            raise CacheError(f"{path} is an ordinary cache already; give a file that was packed.")
        content = _index_content(path, opened.header)
        sweep(index.parent)
        with folder_at_once(folder) as unfinished:
            for case_id, made in _parts(opened):
                _write(unfinished / schema.part_name(case_id), made)
                if progress is not None:
                    progress(case_id)
                stop.safe_point()
        rebuild_index(index, content)
    return index


def _free_output(out: str | os.PathLike[str]) -> Path:
    """The path of an output, with its folder made."""
    path = Path(out)
    require_index_name(path)
    taken = [p for p in (path, *parts_folders(path).values()) if p.exists() or p.is_symlink()]
    if taken:
        raise UsageError(f"{taken[0]} exists; give another output, or delete it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


# --- packing --------------------------------------------------------------------------------------


def _require_settled(cache: Cache) -> None:
    """Refuse a cache that is no whole: packed, or being written."""
    if cache.is_packed:
        raise CacheError(f"{cache.path} is packed already; copy the file instead.")
    if owners(cache.path):
        raise CacheError(
            f"{cache.path} is being written by another run; wait for it to end, or stop it."
        )
    unsettled = [case_id for case_id in cache if cache.is_unsettled(case_id)]
    if unsettled:
        raise CacheError(
            f"{cache.path} does not vouch for the part of {unsettled[0]!r}, since the run that was "
            "to replace it has not ended; run the same `softlabel generate` again."
        )


def _write_packed(cache: Cache, told: Progress, path: Path) -> None:
    """Write a packed file; what the index says beside the links is copied as it is."""
    made_by: dict[str, str] = {}
    with build_on_disk(path) as (file, disk):
        write_header(file, schema.PACKED, cache.header)
        with open_for_reading(cache.path) as index, _copying(cache.path, "the index"):
            present = {"classes/values", "classes/names", "channels"}
            for name, dataset in datasets_below(index, leave_out="cases").items():
                if name not in present:
                    copy_dataset(dataset, file, name, flush=False)
        cases, usual = new_group(file, "cases"), _maker(file)
        for case in cache.values():
            with cache.group(case) as source, _copying(case.path, f"the case {case.id!r}"):
                copy_case(source, new_group(cases, case.id), as_part=False)
                record = _maker(source.file)
            if record != usual:
                made_by[case.id] = record
            disk.require()
            told(case.id)
        _write_made_by(file, made_by, cache.header)
        if cache.header.format_version >= 2:
            put_text(cases, schema.DIGEST, index_digest(file))


def _maker(file: h5py.File) -> str:
    """Which software made a file, as JSON."""
    return json.dumps([get_text(file, "generator"), get_text(file, "software")])


def _write_made_by(file: h5py.File, made_by: dict[str, str], header: Header) -> None:
    """Which parts other software made than the index."""
    if made_by:
        for name, texts in zip(
            schema.MADE_BY, (list(made_by), list(made_by.values())), strict=True
        ):
            column = text_array(texts)
            store(file, f"made_by/{name}", column, column_chunks(column), header.compression)


@contextlib.contextmanager
def _copying(path: Path, what: str) -> Iterator[None]:
    """Name what could not be copied, where the file that it lies in is damaged."""
    try:
        yield
    except CacheError:
        raise
    except DAMAGE as error:
        raise CacheError(
            f"{path} is damaged ({first_line(error)}), so {what} cannot be copied; `softlabel "
            "verify` lists all that is wrong and how to fix it."
        ) from error


# --- unpacking ------------------------------------------------------------------------------------


def _index_content(path: Path, header: Header) -> IndexContent:
    """What the index of a packed file says beside the cases."""
    with open_for_reading(path) as file, _copying(path, "the index"):
        return IndexContent(
            header, read_inputs(file), read_findings(file), 1, read_expected(file),
            read_manifest(file),
        )  # fmt: skip


def _parts(cache: Cache) -> Iterator[tuple[str, bytes]]:
    """Id and part of each case of a packed file."""
    made_by = _read_made_by(cache)
    for case in cache.values():
        yield case.id, _part(cache, case, made_by.get(case.id, cache.header))


def _read_made_by(cache: Cache) -> dict[str, Header]:
    """Headers of the parts that other software made than the index."""
    with open_for_reading(cache.path) as file, _copying(cache.path, "the index"):
        if "made_by" not in file:
            return {}
        ids, records = (read_texts(own(file, f"made_by/{name}")) for name in schema.MADE_BY)
        headers = {}
        for case_id, record in zip(ids, records, strict=True):
            generator, software = json.loads(record)
            if not isinstance(generator, str) or not isinstance(software, str):
                raise ValueError("made_by/record names no software")
            headers[case_id] = replace(cache.header, generator=generator, software=software)
        return headers


def _part(cache: Cache, case: CachedCase, header: Header) -> bytes:
    with build_in_memory() as (file, built):
        write_header(file, schema.PART, header)
        with cache.group(case) as source, _copying(cache.path, f"the case {case.id!r}"):
            copy_case(source, new_group(file, "case"), as_part=True)
    return built[0]


def _write(path: Path, data: bytes) -> None:
    """Write a file of an unfinished folder to the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
