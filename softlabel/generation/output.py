"""The output of a run on disk: made ready before it, tidied up after it."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from softlabel.cache import (
    IndexContent,
    PartsFolder,
    belongs,
    folder_of,
    followed_link,
    is_damaged_index,
    parts_folder,
    parts_folders,
    purpose_of,
    read_index,
    rebuild_index,
    schema,
)
from softlabel.cache.files import require_index_name
from softlabel.errors import CacheError, UsageError
from softlabel.files.atomic import publish_by, remove_folder, sweep, temporary_name
from softlabel.files.owner import Claim, claimed
from softlabel.generation.plan import Plan
from softlabel.generation.present import refuse_other_settings


def output_path(out: str | os.PathLike[str]) -> Path:
    """The index path, which must end in ``.h5``; of a link to a cache that of the cache itself."""
    path = Path(out)
    require_index_name(path)
    return followed_link(path)


def cannot_write(out: Path, error: OSError) -> str:
    """Why a cache cannot be written, and the fix."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return (
        f"The cache {out} cannot be written ({error.strerror or error}); "
        f"{'free some space' if full else 'make its folder writable'}."
    )


@contextlib.contextmanager
def owned_output(decided: Plan) -> Iterator[Claim]:
    """Have an output for as long as the block runs, with its folders made and its settings pinned.

    Runs of the same settings share it. What the plan saw is looked at again, since another run may
    have ended in between.

    Raises
    ------
    UsageError
        When a run of other settings, or an ``--overwrite``, is writing it or has written it since,
        or when it cannot be written.
    """
    purpose = purpose_of(decided.header.fingerprint, decided.number)
    with contextlib.ExitStack() as stack:
        try:
            claim = stack.enter_context(claimed(decided.out, purpose))
            _prepare(decided)
        except OSError as error:
            raise UsageError(
                f"The output {decided.out} cannot be written ({error.strerror or error}); give a "
                "path in a folder that exists or can be made, is writable and has space."
            ) from error
        yield claim


def _prepare(decided: Plan) -> None:
    """Make the folders, pin the settings by an index, and see that both can be written."""
    folder = decided.parts.path
    present = _present_index(decided.out)
    _refuse_what_came_between(decided, present)
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    sweep(decided.out.parent)
    pinned = present is not None and (present.header, present.expected) == (
        decided.header,
        decided.expected,
    )
    if decided.replaces is None and (decided.unsettled or not pinned):
        content = replace(decided.index_content(decided.seen), unsettled=decided.unsettled)
        rebuild_index(decided.out, content, decided.parts)
    probe = folder / temporary_name()
    probe.write_bytes(b"")
    probe.unlink()


def _refuse_what_came_between(decided: Plan, present: IndexContent | None) -> None:
    """See that the output is as the plan saw it, or as a run of the same settings left it."""
    if present is None:
        return
    same = present.header.fingerprint == decided.header.fingerprint
    if present.number == decided.number and same:
        return
    if decided.replaces is not None and present.number < decided.number:
        return
    if not any(folder_of(decided.out, present.number).glob("*.h5")):
        return
    refuse_other_settings(decided.out, present.header.settings, decided.header.settings)
    raise UsageError(
        f"{decided.out} was made anew by another run in the meantime; run the same command again."
    )


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


def has_parts(decided: Plan) -> bool:
    """Whether the folder that a run writes holds a part of its settings."""
    return any(belongs(part, decided.header) for part in decided.parts.read().values())


def drop_foreign_parts(decided: Plan, failures: Mapping[str, str]) -> None:
    """Remove parts of other settings.

    A case that failed keeps what it had: nothing has taken its place.
    """
    failed = {schema.part_name(case_id) for case_id in failures}
    for name, part in decided.parts.read().items():
        if isinstance(part, CacheError) or name in failed:
            continue
        if part.fingerprint != decided.header.fingerprint:
            with contextlib.suppress(OSError):
                (decided.parts.path / name).unlink()


def keep_what_was_not_replaced(decided: Plan, failures: Mapping[str, str]) -> None:
    """Take parts of the cache that is replaced into the new folder, as links where that goes.

    Those of cases that failed, since nothing has taken their place, and of cases that were not
    chosen, when they are of the same settings. What the data set does not have any more goes.
    """
    if decided.replaces is None:
        return
    chosen = {schema.part_name(step.ref.id) for step in decided.steps}
    failed = {schema.part_name(case_id) for case_id in failures}
    known = {schema.part_name(ref.id) for ref in decided.dataset.refs}
    there = set(decided.parts.versions())
    for name, part in PartsFolder(decided.replaces).read().items():
        unchosen = name in known - chosen and belongs(part, decided.header)
        if name not in there and (name in failed or unchosen):
            publish_by(decided.parts.path / name, partial(_link, decided.replaces / name))


def _link(path: Path, target: Path) -> None:
    try:
        target.hardlink_to(path)
    except OSError:  # a file system without such links
        shutil.copyfile(path, target)


def remove_other_folders(decided: Plan) -> None:
    """Remove what was replaced, and what earlier runs left that wanted to replace it.

    They are nobody's: a run that writes one of them has another purpose, and would own the output.
    """
    for number, folder in parts_folders(decided.out).items():
        if number < decided.number or (number > decided.number and decided.replaces is not None):
            with contextlib.suppress(OSError):
                remove_folder(folder)
