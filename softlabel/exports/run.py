"""From a cache to files: what would be written is decided before the first case is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from softlabel.cache import Cache, open_cache
from softlabel.errors import SoftlabelError, UsageError, did_you_mean
from softlabel.exports.case import GRIDS, Grid, exported
from softlabel.exports.format import ExportOptions, Format
from softlabel.exports.formats import FORMATS
from softlabel.files.atomic import publish, require_writable, sweep
from softlabel.interrupt import stop_on_signals


@dataclass(frozen=True)
class ExportReport:
    """What an export did.

    Attributes
    ----------
    written : tuple of Path
        Files (folders of zarr) of the cases.
    failures : mapping of str to str
        Id to reason.
    """

    written: tuple[Path, ...]
    failures: Mapping[str, str]


class ExportInterrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM between two cases; files of those before are complete.

    Attributes
    ----------
    done, left : tuple of str
        Ids of the cases that were gone through, and of those that were not begun.
    """

    def __init__(self, done: Sequence[str], left: Sequence[str]) -> None:
        super().__init__()
        self.done, self.left = tuple(done), tuple(left)


def export_cache(
    cache: str | os.PathLike[str],
    out: str | os.PathLike[str],
    to: str,
    *,
    ids: Sequence[str] = (),
    grid: Grid = "scanner",
    per_class: bool = False,
    source: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
) -> ExportReport:
    """Write the soft and hard labels of cached cases in a format that other software reads.

    Parameters
    ----------
    cache : path
        ``NAME.h5``, packed or not.
    out : path
        Folder; it is made when it is missing.
    to : {"nifti", "npz", "zarr", "dicom-seg"}
    ids : sequence of str
        Only these cases; patterns such as ``Subject_01*`` as well.
    grid : {"scanner", "cache"}
        Bring what the steps before superpixels changed back to the grid of the scanner, or leave it
        on that of the cache.
    per_class : bool
        NIfTI: one file a class instead of one file with the classes along the fourth axis.
    source : path, optional
        DICOM-SEG: the folder of the data set, with the series that the cases were read from.
    overwrite : bool
        Replace files that are there.
    progress : callable, optional
        Called with the id of every case that is done.

    Returns
    -------
    ExportReport
        Cases that could not be exported are in it; the others are done.

    Raises
    ------
    UsageError
        For options that cannot work, and, unless it overwrites, when a file is there already.
    CacheError
        When the cache cannot be opened.
    MissingExtraError
        When the format needs a library that is not installed.
    OSError
        As the file system reports it (no space, not writable); no file is half-written.
    ExportInterrupted
        When Ctrl-C or SIGTERM asks it to stop before the last case; what it has written stays.

    Examples
    --------
    >>> from softlabel.exports import export_cache
    >>> export_cache("oct.h5", "derivatives/softlabel", "nifti")  # doctest: +SKIP
    """
    options = ExportOptions(per_class, None if source is None else Path(source))
    format_, folder = _format(to, options), Path(out)
    if grid not in GRIDS:
        raise UsageError(f"The grid is {grid!r}; expected one of {', '.join(GRIDS)}.")
    written: list[Path] = []
    failures: dict[str, str] = {}
    with open_cache(cache) as opened, stop_on_signals() as stop:
        chosen = opened.chosen(ids)
        format_.require(opened, options)
        paths = _paths(opened, chosen, folder, format_, options)
        shared = {folder / name: data for name, data in format_.shared(opened).items()}
        if not overwrite:
            _refuse_present(paths, shared)
        require_writable(folder)
        _prepare({folder, *(path.parent for of_case in paths.values() for path in of_case)})
        for path, data in shared.items():
            publish(path, data)
        for place, case_id in enumerate(chosen):
            if stop.asked:
                raise ExportInterrupted(chosen[:place], chosen[place:])
            try:
                case = exported(opened, opened[case_id], grid)
                format_.write(case, paths[case_id], options)
                written += paths[case_id]
            except (SoftlabelError, ValueError) as error:
                failures[case_id] = str(error)
            if progress is not None:
                progress(case_id)
    return ExportReport(tuple(written), failures)


def _format(to: str, options: ExportOptions) -> Format:
    if to not in FORMATS:
        known = did_you_mean(to, FORMATS) or f"; expected one of {', '.join(FORMATS)}"
        raise UsageError(f"There is no format {to!r} to export to{known.removesuffix('.')}.")
    asked = {"per_class": options.per_class, "source": options.source is not None}
    for name, given in asked.items():
        if given and name not in FORMATS[to].takes:
            takers = ", ".join(n for n, f in FORMATS.items() if name in f.takes)
            raise UsageError(
                f"The option {name} has no meaning for {to}, only for {takers}; leave it out."
            )
    return FORMATS[to]


def _paths(
    cache: Cache, chosen: Sequence[str], folder: Path, format_: Format, options: ExportOptions
) -> dict[str, list[Path]]:
    """Files of each chosen case; their names do not depend on which cases are chosen."""
    names = format_.names(list(cache))
    return {
        case_id: [folder / name for name in format_.files(names[case_id], cache.classes, options)]
        for case_id in chosen
    }


def _refuse_present(paths: Mapping[str, Sequence[Path]], shared: Mapping[Path, bytes]) -> None:
    present = [path for of_case in paths.values() for path in of_case if path.exists()]
    present += [p for p, data in shared.items() if p.exists() and not _holds(p, data)]
    if present:
        raise UsageError(
            f"{present[0]} exists{f', and {len(present) - 1} more' if len(present) > 1 else ''}; "
            "give another folder, or --overwrite to replace what is there."
        )


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data


def _prepare(folders: set[Path]) -> None:
    for folder in sorted(folders):
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
