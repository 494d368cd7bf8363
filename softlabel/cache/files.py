"""HDF5 files of a cache: built in memory, sealed, opened for reading; their common header.

Knows h5py, and neither cases nor settings beyond their canonical JSON.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import platform
import secrets
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np

from softlabel._version import __version__
from softlabel.cache import schema
from softlabel.cache.structure import UncheckedChunks, own
from softlabel.cache.superblock import with_checksum
from softlabel.errors import CacheError, SourceError, UsageError
from softlabel.files.regular import open_regular
from softlabel.types import Array, ClassTable

DAMAGE = (
    OSError, KeyError, IndexError, ValueError, TypeError, RuntimeError, AttributeError,
    OverflowError, SourceError, zlib.error,
)  # fmt: skip
"""What h5py, and what we make of what it reads, raise for a damaged file."""

FIX_PART = "delete it and run `softlabel generate` again: only this case is computed anew"
FIX_FILE = "give the .h5 file that `softlabel generate` or `softlabel pack` wrote"
FIX_PACKED = "make it anew with `softlabel pack` from the cache that it was packed from"


SUFFIXES = (".h5", ".hdf5")
"""Of an index; a file of another ending may only happen to lie beside parts of its name."""

LARGEST_TABLE = 1 << 30
"""Bytes of a table of an index at most: thousands for each of a million cases."""

NAMED_WITHIN = 1 << 16
"""Bytes at the start of a file of ours that hold the attributes of its root."""

MOST_LINKS = 40
"""Links that are followed one after another, as systems do."""


@dataclass(frozen=True)
class Header:
    """What every file of one cache has in common.

    Attributes
    ----------
    settings : str
        Canonical JSON (:meth:`softlabel.generation.settings.Settings.as_json`).
    fingerprint : str
    classes : ClassTable
    ignore : int or None
    channels : tuple of str
    algorithm : int
        Version of the results.
    software : str
        JSON of versions.
    generator : str
    format_version : int
        Of docs/format.md. A cache that an earlier version began goes on in its format.
    """

    settings: str
    fingerprint: str
    classes: ClassTable
    ignore: int | None
    channels: tuple[str, ...]
    algorithm: int = field(default_factory=lambda: schema.ALGORITHM)
    software: str = ""
    generator: str = f"softlabel {__version__}"
    format_version: int = schema.FORMAT_VERSION

    @property
    def compression(self) -> str:
        """``zstd`` or ``gzip``."""
        return str(json.loads(self.settings).get("compression", "zstd"))


def software_versions() -> str:
    """JSON of the versions that results and bytes depend on."""
    from importlib.metadata import version

    return json.dumps(
        {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": version("scipy"),
            "scikit-image": version("scikit-image"),
            "h5py": h5py.version.version,
            "hdf5": h5py.version.hdf5_version,
        },
        sort_keys=True,
    )


@contextlib.contextmanager
def build_in_memory() -> Iterator[tuple[h5py.File, list[bytes]]]:
    """Open a file in memory; its bytes are appended to the list when the block ends."""
    # h5py's driver for file objects (h5py.File(BytesIO(), "w")) needs no checksum repaired, but
    # HDF5 lays such files out otherwise: other bytes for the same arrays. The core driver makes the
    # bytes of an ordinary file on disk, and of every part so far; neither is faster.
    result: list[bytes] = []
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fapl_core(backing_store=False)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    name = f"softlabel-{secrets.token_hex(8)}".encode()
    made = h5py.h5f.create(name, h5py.h5f.ACC_TRUNC, without_times(h5py.h5p.FILE_CREATE), access)
    with h5py.File(made) as file:
        yield file, result
        file.flush()
        result.append(with_checksum(file.id.get_file_image()))


def new_group(parent: h5py.Group, name: str) -> h5py.Group:
    """Make a group that does not record when it was made."""
    made = without_times(h5py.h5p.GROUP_CREATE)
    return h5py.Group(h5py.h5g.create(parent.id, name.encode(), gcpl=made))


def without_times(kind: Any) -> Any:
    """Creation properties without times, which h5py before 3.16 records unless told not to."""
    properties = h5py.h5p.create(kind)
    properties.set_obj_track_times(False)
    return properties


def write_header(file: h5py.File, kind: str, header: Header) -> None:
    """Write the root attributes and the class table of docs/format.md."""
    for name, value in (
        ("format", schema.FORMAT),
        ("kind", kind),
        ("generator", header.generator),
        ("settings", header.settings),
        ("fingerprint", header.fingerprint),
        ("software", header.software),
    ):
        put_text(file, name, value)
    file.attrs["format_version"] = np.int64(header.format_version)
    file.attrs["algorithm"] = np.int64(header.algorithm)
    _write_classes(file, header)


def _write_classes(file: h5py.File, header: Header) -> None:
    values = np.asarray(header.classes.values, np.int64)
    dataset = store(file, "classes/values", values, values.shape, header.compression)
    if header.ignore is not None:
        dataset.attrs["ignore"] = np.int64(header.ignore)
    names = text_array(header.classes.names)
    store(file, "classes/names", names, names.shape, header.compression)
    if header.channels:
        channels = text_array(header.channels)
        store(file, "channels", channels, channels.shape, header.compression)


def read_header(file: h5py.File) -> Header:
    """Header of an index or a part.

    Raises
    ------
    KeyError, ValueError or RuntimeError
        When something is missing, or the settings are no record of a data set's.
    """
    for name in ("settings", "software"):
        _require_record(get_text(file, name), name)
    values = own(file, "classes/values")
    ignore = values.attrs.get("ignore")
    return Header(
        get_text(file, "settings"),
        get_text(file, "fingerprint"),
        ClassTable(
            tuple(int(v) for v in read_table(values)), tuple(read_texts(own(file, "classes/names")))
        ),
        None if ignore is None else int(ignore),
        tuple(read_texts(own(file, "channels"))) if "channels" in file else (),
        int(file.attrs["algorithm"]),
        get_text(file, "software"),
        get_text(file, "generator"),
        int(file.attrs["format_version"]),
    )


def _require_record(text: str, name: str) -> None:
    """Refuse a text that is no JSON object, or one of another kind than we write."""
    record = json.loads(text)  # too many digits or brackets are errors as well
    if (
        not isinstance(record, dict)
        or not isinstance(record.get("format", ""), str)
        or not isinstance(record.get("format_options", {}), dict)
    ):
        raise ValueError(f"{name} is no record of settings")


def check_header(file: h5py.File, path: Path, kinds: tuple[str, ...]) -> None:
    """Refuse what is not a file of ours, or is one of a newer version."""
    with damage_as_error(path, FIX_PART if kinds == (schema.PART,) else index_fix(path)):
        format_ = get_text(file, "format", "")
        version = int(file.attrs.get("format_version", 0))
        kind = get_text(file, "kind", "")
    if format_ != schema.FORMAT:
        raise CacheError(
            f"{path} is an HDF5 file but not a softlabel cache (no attribute format = "
            f"{schema.FORMAT!r}); give the .h5 file that `softlabel generate` wrote."
        )
    if not 1 <= version <= schema.FORMAT_VERSION:
        raise CacheError(
            f"{path} has cache format version {version}, this softlabel reads up to "
            f"{schema.FORMAT_VERSION}; install a newer softlabel."
        )
    if kind == schema.PACKED and kind not in kinds:
        raise CacheError(packed_is_read_only(path))
    if kind not in kinds:
        fix = (
            FIX_PART[0].upper() + FIX_PART[1:]
            if kinds == (schema.PART,)
            else "Give the .h5 file beside the .parts folder, not a file inside of it"
        )
        raise CacheError(
            f"{path} is a softlabel file of kind {kind!r}; expected {' or '.join(kinds)}. {fix}."
        )


def is_packed(path: Path) -> bool:
    """Whether a file is a packed cache; False for one that is missing or cannot be read."""
    try:
        with open_for_reading(path) as file:
            marks = get_text(file, "format", ""), get_text(file, "kind", "")
    except (CacheError, *DAMAGE):
        return False
    return marks == (schema.FORMAT, schema.PACKED)


def says_it_is_ours(path: Path) -> bool:
    """Whether a file claims to be softlabel's, be it damaged or of a newer version.

    A file that cannot be opened any more claims so by its name of the format, or by the parts
    beside it.
    """
    try:
        with open_for_reading(path) as file:
            return get_text(file, "format", "") == schema.FORMAT
    except (CacheError, *DAMAGE):
        return bool(parts_folders(path)) or _is_named_near_its_start(path)


def _is_named_near_its_start(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            return schema.FORMAT.encode() in file.read(NAMED_WITHIN)
    except OSError:
        return False


def packed_is_read_only(path: Path) -> str:
    """Why a packed cache cannot be changed, and the fix."""
    return (
        f"{path} is a packed cache, which is read and never changed; make a cache of it that can "
        f"be changed with `softlabel unpack {path} -o NAME.h5`."
    )


def root_problems(file: h5py.File) -> Iterator[str]:
    """What is wrong with the attributes that every file has at its root."""
    missing = [n for n in (*schema.ROOT_TEXT, *schema.ROOT_INTEGERS) if n not in file.attrs]
    yield from (f"has no attribute {name}" for name in missing)
    if missing:
        return
    header = read_header(file)
    if schema.fingerprint(header.settings, header.classes, header.ignore) != header.fingerprint:
        yield "has a fingerprint that is not of its settings and classes"


@contextlib.contextmanager
def damage_as_error(path: Path, fix: str) -> Iterator[None]:
    """Turn an error that h5py raises for a damaged file into one sentence with the fix.

    Raises
    ------
    CacheError
        In place of every error in :data:`DAMAGE`.
    """
    try:
        yield
    except DAMAGE as error:
        raise CacheError(f"{path} is damaged ({first_line(error)}); {fix}.") from error


def index_fix(path: Path) -> str:
    """The end of a message about a damaged index: how to fix it."""
    return f"rebuild it with `softlabel index {path}`"


def put_text(node: Any, name: str, value: str) -> None:
    """Write a fixed-length string attribute (variable-length ones carry no checksum)."""
    data = to_bytes(value) or b"\0"
    node.attrs.create(name, data, dtype=h5py.string_dtype("utf-8", len(data)))


def get_text(node: Any, name: str, default: str | None = None) -> str:
    """Read a string attribute.

    Raises
    ------
    KeyError
        When it is missing and there is no default.
    """
    value = get_attribute(node, name) if default is None else node.attrs.get(name, default)
    return from_bytes(value) if isinstance(value, bytes) else str(value)


def get_attribute(node: Any, name: str) -> Any:
    """Read an attribute that must be there.

    Raises
    ------
    KeyError
        Naming it.
    """
    if name not in node.attrs:
        raise KeyError(f"there is no attribute {name}")
    return node.attrs[name]


def text_array(values: tuple[str, ...] | list[str]) -> Array:
    """Fixed-length UTF-8 strings as an array."""
    encoded = [to_bytes(v) for v in values]
    length = max([1, *map(len, encoded)])
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", length))


def read_texts(dataset: h5py.Dataset) -> list[str]:
    """Read what :func:`text_array` made."""
    return [from_bytes(v) for v in read_table(dataset)]


def read_table(dataset: h5py.Dataset) -> Array:
    """Read a whole dataset of which every chunk was written.

    Raises
    ------
    ValueError
        When chunks are missing: the shape may promise more than any memory holds.
    """
    chunks = dataset.chunks or dataset.shape
    expected = math.prod(-(-n // c) for n, c in zip(dataset.shape, chunks, strict=True))
    found = dataset.id.get_num_chunks() if dataset.chunks else expected
    if found != expected:
        raise ValueError(f"{dataset.name} has {found} chunks, expected {expected}")
    if dataset.nbytes > LARGEST_TABLE:
        raise ValueError(
            f"{dataset.name} has {dataset.nbytes} bytes, expected at most {LARGEST_TABLE}"
        )
    if dataset.chunks:
        UncheckedChunks(dataset).require(dataset)
    return np.asarray(dataset[...])


def to_bytes(text: str) -> bytes:
    """UTF-8; bytes of file names that are no UTF-8 survive as they are."""
    return text.encode("utf-8", "surrogateescape")


def from_bytes(data: bytes) -> str:
    """Inverse of :func:`to_bytes`."""
    return data.decode("utf-8", "surrogateescape")


def store(group: h5py.Group, name: str, values: Array, chunks: tuple[int, ...], compression: str,
          shuffle: bool | None = None) -> h5py.Dataset:  # fmt: skip
    """Write a whole array as a chunked, compressed, checksummed dataset, and seal it."""
    dataset = create(group, name, values.shape, values.dtype, chunks, compression, shuffle)
    dataset[...] = values
    seal(dataset)
    return dataset


def create(group: h5py.Group, name: str, shape: tuple[int, ...], dtype: Any,
           chunks: tuple[int, ...], compression: str, shuffle: bool | None = None,
           fill: float | None = None) -> h5py.Dataset:  # fmt: skip
    """Make an empty dataset with the filters of docs/format.md, and the groups that it lies in."""
    *folders, name = name.split("/")
    for folder in folders:
        group = group[folder] if folder in group else new_group(group, folder)
    dtype = np.dtype(dtype)
    filters = (
        {"compression": "gzip", "compression_opts": 4}
        if compression == "gzip"
        else dict(hdf5plugin.Zstd(clevel=3))
    )
    return group.create_dataset(
        name,
        shape=shape,
        dtype=dtype,
        chunks=tuple(max(1, c) for c in chunks),
        shuffle=(dtype.kind != "S" and dtype.itemsize > 1) if shuffle is None else shuffle,
        fletcher32=True,
        fillvalue=fill,
        **filters,
    )


def seal(dataset: h5py.Dataset) -> None:
    """Record how many chunks are allocated, and a SHA-256 over them as stored."""
    dataset.file.flush()
    count, digest = stored_digest(dataset)
    dataset.attrs["chunks_allocated"] = np.int64(count)
    put_text(dataset, "sha256", digest)


def chunk_offsets(dataset: h5py.Dataset) -> list[tuple[int, ...]]:
    """Where the chunks that are allocated begin, ascending."""
    offsets: list[tuple[int, ...]] = []
    # by one walk: HDF5 counts from the first chunk to find the one of a number
    dataset.id.chunk_iter(lambda chunk: offsets.append(chunk.chunk_offset))
    return sorted(offsets)


def stored_digest(dataset: h5py.Dataset) -> tuple[int, str]:
    """Number of allocated chunks, and SHA-256 over offsets and stored bytes."""
    offsets = chunk_offsets(dataset)
    digest = hashlib.sha256()
    for offset in offsets:
        digest.update(np.asarray(offset, "<i8").tobytes())
        digest.update(dataset.id.read_direct_chunk(offset)[1])
    return len(offsets), digest.hexdigest()


@contextlib.contextmanager
def open_for_reading(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file without locks (network file systems refuse them), errors in a sentence."""
    file = open_file(path)
    try:
        yield file
    finally:
        file.close()


def open_file(path: Path) -> h5py.File:
    """Open an HDF5 file read-only and without locks.

    Chunks are not cached: reads take whole arrays or large patches, so that no chunk is wanted
    twice in a row, and the copy into the cache costs a third of the time.

    Raises
    ------
    CacheError
        When it is missing or no readable HDF5 file.
    """
    if path.is_dir():
        raise CacheError(f"{path} is a folder; expected the .h5 file of a cache.")
    if schema.parts_number(path.parent.name) is not None and not path.parent.is_dir():
        raise CacheError(
            f"The folder {path.parent} is missing, which holds the arrays of the cache beside it; "
            "put it back, or run `softlabel generate` again."
        )
    if not path.is_file():
        raise CacheError(
            f"There is no cache file {path}; {_rebuilt(path) or 'check the path'}, or make it "
            "with `softlabel generate`."
        )
    try:
        try:
            return h5py.File(path, "r", locking=False, rdcc_nbytes=0)
        except OSError as error:
            if "locking flag" not in str(error):
                raise
            # this process has it open with locks already
            return h5py.File(path, "r", rdcc_nbytes=0)
    except OSError as error:
        # whatever file somebody gave by mistake: only of a part is it safe to say "delete it"
        is_part = schema.parts_number(path.parent.name) is not None
        fix = FIX_PART if is_part else _rebuilt(path) or FIX_FILE
        raise CacheError(
            f"{path} cannot be opened as HDF5 ({first_line(error)}): it is damaged or no cache of "
            f"softlabel; {fix}."
        ) from error


def require_known_link(file: h5py.File, path: Path) -> None:
    """Refuse a folder of parts that has become a symbolic link since its index was written.

    Whoever put the link there may have made it lead to parts of another cache.

    Raises
    ------
    CacheError
        Saying how to take the link for right.
    """
    if get_text(file, "kind", "") != schema.INDEX:
        return
    with damage_as_error(path, index_fix(path)):
        if schema.PARTS_LINK in own(file, "cases").attrs:
            return
        number = int(file.attrs.get(schema.PARTS_NUMBER, 1))
    folder = path.with_suffix(schema.parts_suffix(number))
    if folder.is_symlink():
        raise CacheError(
            f"{folder} is a symbolic link, which it was not when {path} was written; look where it "
            f"leads, and if that is right run `softlabel index {path}`."
        )


def refuse_new_link(path: Path) -> None:
    """:func:`require_known_link`, of the index at a path.

    Raises
    ------
    CacheError
        As there, and when the index cannot be opened.
    """
    with open_for_reading(path) as file:
        require_known_link(file, path)


def require_index_name(path: Path) -> None:
    """Refuse an output that is not called as an index is, ``NAME.h5``.

    Raises
    ------
    UsageError
    """
    if path.suffix != ".h5":
        name = path.stem if path.suffix in (".hdf5", ".hdf", ".H5") else path.name
        raise UsageError(f"The output {path} must end in .h5; for example {name or 'cache'}.h5.")


def followed_link(path: Path) -> Path:
    """The index that a symbolic link stands for: where the parts lie beside it.

    A link with parts beside itself stays what it is, as in stores that keep every file behind a
    link (git-annex), and so does one along which there are none.
    """
    index = path
    for _ in range(MOST_LINKS):
        if not index.is_symlink() or parts_folders(index):
            break
        index = index.parent / index.readlink()
        if not index.name:  # a link to the root of a drive
            return path
    return index if index is path or parts_folders(index) else path


def parts_folders(path: Path) -> dict[int, Path]:
    """The folders of parts beside an index that there are, by their numbers, ascending."""
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return {}
    numbers = {n for name in names if (n := schema.parts_number(name, path.stem)) is not None}
    folders = {n: path.with_suffix(schema.parts_suffix(n)) for n in sorted(numbers)}
    return {n: folder for n, folder in folders.items() if folder.is_dir()}


def _rebuilt(path: Path) -> str:
    """How to rebuild a lost or damaged index; empty for a file that has no parts beside it."""
    has_parts = path.suffix in SUFFIXES and parts_folders(path)
    return f"{index_fix(path)} from the parts beside it" if has_parts else ""


def first_line(error: BaseException) -> str:
    """The first line of an error's text, for a sentence."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return (text.splitlines() or [type(error).__name__])[0]
