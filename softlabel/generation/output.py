"""The output of a run on disk: made ready before it, tidied up after it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Mapping
from pathlib import Path

from softlabel.cache import (
    IndexContent,
    PartSummary,
    followed_link,
    is_damaged_index,
    parts_folder,
    read_index,
    rebuild_index,
    schema,
)
from softlabel.errors import CacheError, UsageError
from softlabel.files.atomic import sweep, temporary_name
from softlabel.generation.plan import Plan


def output_path(out: str | os.PathLike[str]) -> Path:
    """The index path, which must end in ``.h5``; of a link to a cache that of the cache itself."""
    path = Path(out)
    if path.suffix != ".h5":
        name = path.stem if path.suffix in (".hdf5", ".hdf", ".H5") else path.name
        raise UsageError(f"The output {path} must end in .h5; for example {name or 'cache'}.h5.")
    return followed_link(path)


def part_of(out: Path, case_id: str) -> Path:
    """File of a case's part."""
    return parts_folder(out) / schema.part_name(case_id)


def cannot_write(out: Path, error: OSError) -> str:
    """Why a cache cannot be written, and the fix."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return (
        f"The cache {out} cannot be written ({error.strerror or error}); "
        f"{'free some space' if full else 'make its folder writable'}."
    )


def prepare_output(decided: Plan) -> IndexContent | None:
    """Make the folders, pin the settings by an index, and see that both can be written.

    Returns the previous index when it was of other settings.
    """
    folder = parts_folder(decided.out)
    present = _present_index(decided.out)
    other = present is not None and present.header.fingerprint != decided.header.fingerprint
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        sweep(decided.out.parent)
        if present is None or present.header != decided.header:
            rebuild_index(
                decided.out,
                IndexContent(decided.header, decided.seen, decided.findings),
                decided.parts,
            )
        probe = folder / temporary_name()
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"The output {decided.out} cannot be written ({error.strerror or error}); give a path "
            "in a folder that exists or can be made, is writable and has space."
        ) from error
    return present if other else None


def _present_index(out: Path) -> IndexContent | None:
    """Records of the existing index; None when it is missing or damaged."""
    if not out.exists():
        return None
    try:
        return read_index(out)
    except CacheError as error:
        if any(parts_folder(out).glob("*.h5")) and is_damaged_index(out):
            return None
        raise UsageError(
            f"{out} exists and is no softlabel cache; give another output or delete it."
        ) from error


def has_parts(decided: Plan, content: IndexContent) -> bool:
    """Whether an index of this content would link a part."""
    return any(
        isinstance(part, PartSummary) and part.fingerprint == content.header.fingerprint
        for part in decided.parts.read().values()
    )


def drop_foreign_parts(decided: Plan, failures: Mapping[str, str]) -> None:
    """Remove what an overwritten cache left: parts of other settings or of vanished cases.

    A case that failed keeps what it had: nothing has taken its place.
    """
    known = {schema.part_name(ref.id) for ref in decided.dataset.refs}
    failed = {schema.part_name(case_id) for case_id in failures}
    for name, part in decided.parts.read().items():
        if isinstance(part, CacheError) or name in failed:
            continue
        vanished = decided.overwrite and name not in known
        if vanished or part.fingerprint != decided.header.fingerprint:
            with contextlib.suppress(OSError):
                (parts_folder(decided.out) / name).unlink()
