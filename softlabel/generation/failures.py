"""The lists of failed cases beside a cache.

``NAME.failed.tsv`` is that of a whole run. Shards run at the same time, so that each writes a list
of its own, ``NAME.failed.I-of-N.tsv``; the run that finds all cases settled gathers them.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping, Set
from pathlib import Path

from softlabel.cache.index import Version, version_of
from softlabel.files.atomic import publish
from softlabel.generation.shards import Shard

Lines = list[str]
"""What a list says of a case: its reason, and a traceback."""


def failures_path(out: Path, shard: Shard | None = None) -> Path:
    """File that lists the failed cases, of a cache or of a shard."""
    which = "" if shard is None else f".{shard.number}-of-{shard.count}"
    return out.with_suffix(f".failed{which}.tsv")


def read_failures(out: Path) -> dict[str, str]:
    """Cases that have failed, id to reason; empty when none did.

    Of a case that stands on several lists the newest one tells.
    """
    return {
        case_id: lines[0].partition("\t")[2].rstrip("\n")
        for case_id, (_, lines) in _gathered(_lists(out)).items()
    }


def write_failures(
    out: Path,
    failures: Mapping[str, str],
    details: Mapping[str, str],
    others: Set[str] = frozenset(),
    shard: Shard | None = None,
) -> None:
    """Write the list of failed cases; without any, remove it.

    Parameters
    ----------
    out : Path
    failures : mapping of str to str
        Cases of this run that failed, and why.
    details : mapping of str to str
        Their tracebacks, where there is one.
    others : set of str
        Cases that this run left alone: what the list says of them stays, as the list belongs to the
        cache and not to the last of the runs that share it.
    shard : Shard, optional
        Write the list of that shard. Without it the lists of shards are gathered.
    """
    path = failures_path(out, shard)
    lists = _lists(out)
    if shard is not None:
        lists = {ours: version for ours, version in lists.items() if ours == path}
    kept = {_safe(case_id) for case_id in others - set(failures)}
    lines = [x for name, (_, block) in _gathered(lists).items() if name in kept for x in block]
    for case_id, reason in failures.items():
        lines.append(f"{_safe(case_id)}\t{' '.join(reason.split())}\n")
        lines.extend(f"# {line}\n" for line in details.get(case_id, "").splitlines())
    _write(path, lines)
    if shard is None:
        _remove(lists)


def gather_failures(out: Path, parts: Mapping[str, Path], finished: Set[str]) -> None:
    """Make one list of those of all shards, without the cases that were computed since.

    Parameters
    ----------
    out : Path
    parts : mapping of str to Path
        File of the part of each case, by id: a part newer than a list has made it out of date.
    finished : set of str
        Cases that the run itself has seen to be in the cache.
    """
    lists = _lists(out)
    part_of = {_safe(case_id): path for case_id, path in parts.items()}
    done = {_safe(case_id) for case_id in finished}
    lines: Lines = []
    for name, (listed_ns, block) in _gathered(lists).items():
        part = version_of(part_of[name]) if name in part_of else None
        if name not in done and (part is None or part[2] < listed_ns):
            lines += block
    _write(failures_path(out), lines)
    _remove(lists)


def listed_cases(out: Path, ids: Iterable[str]) -> dict[str, str]:
    """Those of some cases that stand on a list, id to reason."""
    listed = read_failures(out)
    return {case_id: listed[_safe(case_id)] for case_id in ids if _safe(case_id) in listed}


def _lists(out: Path) -> dict[Path, Version]:
    """All lists of a cache, the oldest first, as they are now."""
    name = re.compile(rf"{re.escape(out.stem)}\.failed(\.\d+-of-\d+)?\.tsv")
    found: dict[Path, Version] = {}
    with contextlib.suppress(OSError):
        for path in out.parent.iterdir():
            version = version_of(path) if name.fullmatch(path.name) else None
            if version is not None:
                found[path] = version
    return dict(sorted(found.items(), key=lambda item: item[1][2]))


def _gathered(lists: Iterable[Path]) -> dict[str, tuple[int, Lines]]:
    """What lists say of each case, by its id, and when that was written; later lists count.

    The list of the cache is read last: whoever gathers writes it before the others go.
    """
    found: dict[str, tuple[int, Lines]] = {}
    for path in sorted(lists, key=lambda path: path.name.endswith(".failed.tsv")):
        version = version_of(path)
        for case_id, block in _blocks(path):
            before = found.get(case_id)
            if version is not None and (before is None or before[0] <= version[2]):
                found[case_id] = (version[2], block)
    return found


def _blocks(path: Path) -> Iterable[tuple[str, Lines]]:
    """Id and lines of every case on a list."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)[1:]
    except (OSError, UnicodeDecodeError):  # it is for people, who may have changed it
        return []
    blocks: list[Lines] = []
    for line in lines:
        if not line.startswith("# "):
            blocks.append([line])
        elif blocks:
            blocks[-1].append(line)
    return [(block[0].partition("\t")[0], block) for block in blocks if "\t" in block[0]]


def _write(path: Path, lines: Lines) -> None:
    if lines:
        text = "".join(["id\treason\n", *lines])
        publish(path, text.encode("utf-8", "backslashreplace"))
        return
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def _remove(lists: Mapping[Path, Version]) -> None:
    """Remove the lists of shards, but not one that a shard has written since."""
    for path, version in lists.items():
        if not path.name.endswith(".failed.tsv") and version_of(path) == version:
            path.unlink(missing_ok=True)


def _safe(case_id: str) -> str:
    return case_id if case_id.isprintable() else case_id.encode("unicode_escape").decode()
