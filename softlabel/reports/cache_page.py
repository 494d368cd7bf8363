"""The report of a cache: what it tells, its thumbnails, and the page."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from softlabel import parallel
from softlabel.cache import Cache, open_cache
from softlabel.errors import CaseError
from softlabel.interrupt import stop_on_signals
from softlabel.render.palette import soft_scale
from softlabel.reports.contents import CaseRow, Contents, contents_of
from softlabel.reports.page import publish_page, render_page, require_replaceable
from softlabel.reports.pictures import (
    ENTROPY,
    LABELS,
    SUPERPIXELS,
    CasePictures,
    class_layer,
    draw_thumbnails,
)

PAGE_BYTES = 19_000_000
"""A page stays below 20 MB, which browsers open at once and mail servers may take."""

MOST_ROWS = 5_000
"""Of the table; beyond, the worst cases are listed."""

CASE_BYTES = 400
"""Around the pictures of a case, in the data of the page: more than they take."""

LEAST_ROOM = 6_000
"""Room for the pictures of a case: with less of it, only the worst cases have any."""

MOST_ROOM = 1_500_000
"""Of a page with few cases."""

CASES_A_TASK = 4


def write_report(
    cache: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    anonymise: bool | None = None,
    jobs: int = 1,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Write a report of a cache: one HTML file without any address, for a browser of any machine.

    Parameters
    ----------
    cache : path
        ``NAME.h5``, packed or not.
    out : path, optional
        The file. Default: ``NAME.report.html`` beside the cache. A report that is there is
        replaced.
    anonymise : bool, optional
        Show hashes in the place of ids and groups, and leave out texts that may name files.
        Default: where the source is DICOM. Pixels are shown as they are.
    jobs : int
        Worker processes.
    progress : callable, optional
        Called with the id of every case whose pictures are drawn.

    Returns
    -------
    Path
        Of the report.

    Raises
    ------
    UsageError
        When something else than a report is at ``out``, or it cannot be written.
    CacheError
        When the cache cannot be opened.

    Examples
    --------
    >>> from softlabel.reports import write_report
    >>> write_report("oct.h5")  # doctest: +SKIP
    PosixPath('oct.report.html')
    """
    with open_cache(cache) as opened, stop_on_signals() as stop:
        path = Path(out) if out is not None else opened.path.with_suffix(".report.html")
        require_replaceable(path)
        contents = contents_of(opened, anonymise, MOST_ROWS)
        plain = len(cache_page(contents, {}).encode("utf-8", "replace"))
        pictured, room = shares(len(contents.rows), PAGE_BYTES - plain)
        drawn: dict[str, CasePictures | str] = {}
        for case_id, pictures in _draw(opened, contents.rows[:pictured], room, jobs):
            drawn[case_id] = pictures
            if progress is not None:
                progress(case_id)
            stop.safe_point()
        publish_page(path, cache_page(contents, drawn))
    return path


def shares(cases: int, free: int) -> tuple[int, int]:
    """How many cases have pictures, and the room for each of them, in characters.

    Parameters
    ----------
    cases : int
        In the table.
    free : int
        Bytes that the page has left beside its table.

    Examples
    --------
    >>> shares(500, 18_000_000), shares(3, 18_000_000), shares(5000, 12_800_000), shares(5, 0)
    ((500, 35600), (3, 1500000), (2000, 6000), (0, 0))
    """
    pictured = max(0, min(cases, free // (LEAST_ROOM + CASE_BYTES)))
    return pictured, min(MOST_ROOM, free // pictured - CASE_BYTES) if pictured else 0


def cache_page(contents: Contents, drawn: Mapping[str, CasePictures | str]) -> str:
    """The page of what a cache holds.

    Parameters
    ----------
    contents : Contents
    drawn : mapping of str to CasePictures or str
        Case id to its pictures, or why it has none.
    """
    return render_page(
        "cache.html", title=f"softlabel report: {contents.title}", c=contents,
        data={
            "layers": _layer_names(contents, drawn),
            "names": contents.class_names,
            "colours": contents.colours,
            "cases": [_for_script(row, drawn.get(row.id), contents) for row in contents.rows],
        },
    )  # fmt: skip


def _draw(
    cache: Cache, rows: tuple[CaseRow, ...], room: int, jobs: int
) -> Iterator[tuple[str, CasePictures | str]]:
    """Thumbnails of the cases of some rows, in any order."""
    softest = {row.id: row.softest for row in rows}
    ids = list(softest)
    starts = range(0, len(ids), CASES_A_TASK)
    tasks = [
        (cache, {i: softest[i] for i in ids[start : start + CASES_A_TASK]}, room)
        for start in starts
    ]
    try:
        yield from parallel.run(draw_thumbnails, tasks, jobs)
    except parallel.WorkerDied as error:
        raise CaseError(f"{error} Use fewer --jobs.") from error


def _layer_names(
    contents: Contents, drawn: Mapping[str, CasePictures | str]
) -> list[tuple[str, str]]:
    """(Name in the data, name for people) of every layer that a picture has, in their order."""
    used = {
        name
        for found in drawn.values() if isinstance(found, CasePictures)
        for picture in found.pictures
        for name in picture.overlays
    }  # fmt: skip
    _, most = soft_scale(False, len(contents.class_names))
    every = [
        (LABELS, "labels"), (SUPERPIXELS, "superpixels"),
        (ENTROPY, f"entropy (dark to bright: 0 to {most:.3g} bits)"),
        *((class_layer(k), f"soft label of {name}") for k, name in enumerate(contents.class_names)),
    ]  # fmt: skip
    return [layer for layer in every if layer[0] in used]


def _for_script(
    row: CaseRow, found: CasePictures | str | None, contents: Contents
) -> dict[str, Any]:
    """A case as the script of the page takes it."""
    softest = [(k, round(row.own_q[k], 4)) for k in row.softest[: len(contents.columns)]]
    record: dict[str, Any] = {"name": row.name, "q": softest}
    if isinstance(found, CasePictures):
        return record | found.as_json()
    why = found or "Only the worst cases have pictures in a page of so many."
    if contents.anonymous and found:
        why = "The pictures of this case could not be drawn."
    return record | {"pictures": [], "why": why}
