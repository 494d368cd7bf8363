"""Superpixels on the grid that nnU-Net trains on, laid where its trainer finds them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from softlabel.bridges.nnunet_prepared import (
    RECORD,
    Prepared,
    PreparedCase,
    load_prepared,
    mark_of,
    prepared_folder,
)
from softlabel.errors import (
    CaseError,
    SourceError,
    UsageError,
    missing_extra,
)
from softlabel.files.atomic import publish_by, sweep
from softlabel.files.owner import claimed
from softlabel.generation.case_superpixels import make_superpixels
from softlabel.generation.settings import Settings
from softlabel.interrupt import SafePoint, stop_on_signals
from softlabel.parallel import run
from softlabel.readers import READERS, list_dataset
from softlabel.readers.datasetjson import load_dataset_json
from softlabel.readers.nnunetpreprocessed import FORMAT as READER_FORMAT
from softlabel.readers.nnunetpreprocessed import Configuration, configuration_of
from softlabel.types import Array, Case, CaseRef, Dataset, coarsest_axis


@dataclass
class PrepareReport:
    """What was done.

    Attributes
    ----------
    folder : Path
        Where the superpixels lie.
    computed, kept : list of str
        Cases whose superpixels were made, and those that had them already.
    failed : dict of str to str
        Why a case has none.
    """

    folder: Path
    computed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def prepare(
    images: Path | str,
    settings: Settings | None = None,
    *,
    jobs: int = 1,
    progress: Callable[[str], object] = lambda case: None,
) -> PrepareReport:
    """Make the superpixels of a preprocessed configuration of nnU-Net.

    Cases that have superpixels of the same settings, image and labels already are left alone.

    Parameters
    ----------
    images : path
        Folder of the configuration, such as ``nnUNet_preprocessed/Dataset001_Ball/nnUNetPlans_2d``.
    settings : Settings, optional
        Of superpixels and of the method ``superpixel``, which the trainer softens by. For a
        configuration of slices, superpixels are those of slices.
    jobs : int
        Worker processes.
    progress : callable (case) -> object
        Called when a case is done.

    Raises
    ------
    SourceError
        When the data set cannot be listed.
    UsageError
        For settings that the trainer cannot follow, and while another run makes them.
    MissingExtraError
        When blosc2 is not installed.
    """
    images = Path(images).resolve()
    _require_blosc2()
    configuration = configuration_of(images)
    settings = _for_patches(settings or Settings(), configuration)
    _refuse_regions(images.parent)
    dataset = list_dataset(images.parent, READER_FORMAT, {"configuration": images.name})
    folder = prepared_folder(images)
    folder.mkdir(parents=True, exist_ok=True)
    # Two runs would each write a record without the cases of the other.
    alone = f"prepare-{secrets.token_hex(4)}"
    with claimed(folder / RECORD, alone), stop_on_signals() as stop:
        sweep(folder)
        prepared = _present(images, settings, configuration)
        return _make_missing(dataset, settings, prepared, images, jobs, progress, stop.safe_point)


def _make_missing(
    dataset: Dataset,
    settings: Settings,
    prepared: Prepared,
    images: Path,
    jobs: int,
    progress: Callable[[str], object],
    safe_point: SafePoint,
) -> PrepareReport:
    """Make the superpixels that are missing or of files that have changed, and the record."""
    report = PrepareReport(prepared.folder, failed=dict(dataset.problems))
    cases = dict(prepared.cases)
    todo = []
    for ref in dataset.refs:
        known = cases.get(ref.id)
        up_to_date = known is not None and known.files == mark_of(images, ref.id)
        if up_to_date and prepared.path(ref.id).is_file():
            report.kept.append(ref.id)
        else:
            cases.pop(ref.id, None)
            todo.append((dataset, ref, settings, prepared.path(ref.id)))
    replace(prepared, cases=dict(cases)).save()
    try:
        for name, done in run(_prepare_case, todo, jobs, safe_point):
            if isinstance(done, str):
                report.failed[name] = done
            else:
                cases[name] = done
                report.computed.append(name)
            progress(name)
    finally:  # what is done counts, also when the run is stopped
        replace(prepared, cases=cases).save()
    return report


def _for_patches(settings: Settings, configuration: Configuration) -> Settings:
    """The settings for patches of a configuration, which are of slices or of volumes."""
    if settings.method != "superpixel" or settings.superpixels not in ("slic", "grid"):
        raise UsageError(
            f"nnU-Net's patches are softened by the method superpixel with superpixels of slic or "
            f"grid; got {settings.method} with {settings.superpixels}. Leave both out."
        )
    if settings.preprocessing:
        raise UsageError(
            "nnU-Net has preprocessed its cases already; leave the steps before superpixels out."
        )
    if configuration.of_slices:
        if settings.checked_method_options()["in_plane"]:
            raise UsageError(
                f"The configuration {configuration.name} is one of slices, in which every distance "
                "is in the plane; leave in_plane out."
            )
        return replace(settings, slic_dims="slice", slice_axis=0)
    axis = coarsest_axis(configuration.spacing_mm)
    return replace(
        settings, slice_axis=axis if settings.slice_axis is None else settings.slice_axis
    )


def _refuse_regions(root: Path) -> None:
    """Refuse what nnU-Net trains as regions: several values under one name.

    Raises
    ------
    UsageError
        Naming the first region.
    """
    path, content = load_dataset_json(root)
    labels = content.get("labels")
    for name, value in labels.items() if isinstance(labels, dict) else ():
        if isinstance(value, list) and len(value) > 1:
            raise UsageError(
                f"{path} has the region {name!r} of the values {value}, which nnU-Net trains by a "
                "sigmoid of its own; expected classes of one value each, which exclude each other: "
                "soft labels share a pixel among classes. Give each value an entry of its own."
            )


def _present(images: Path, settings: Settings, configuration: Configuration) -> Prepared:
    """What is there of these settings; a record of others counts for none."""
    spacing = configuration.spacing_mm[1:] if configuration.of_slices else configuration.spacing_mm
    record = json.dumps(json.loads(settings.as_json({})), sort_keys=True)
    try:
        found = load_prepared(images)
    except (UsageError, SourceError):
        found = None
    cases = found.cases if found is not None and found.settings == record else {}
    return Prepared(prepared_folder(images), record, tuple(spacing), cases)


def _prepare_case(
    dataset: Dataset, ref: CaseRef, settings: Settings, path: Path
) -> Iterator[tuple[str, PreparedCase | str]]:
    """Superpixels of one case into their file, or why there are none."""
    try:
        # before they are read: files that change meanwhile are made again
        mark = mark_of(dataset.root / str(dataset.options["configuration"]), ref.id)
        case = READERS[READER_FORMAT].read_case(dataset, ref, None)
        ids, _ = make_superpixels(case, settings)
        _write_ids(ids if ids.ndim == 3 else ids[None], path)
        yield ref.id, _described(case, ids, mark)
    except (CaseError, ValueError) as error:
        yield ref.id, str(error)


def _described(case: Case, ids: Array, mark: str) -> PreparedCase:
    values, counts = np.unique(case.labels, return_counts=True)
    pixels = dict(zip(values.tolist(), counts.tolist(), strict=True))
    return PreparedCase(mark, int(ids.max()), pixels)


def _write_ids(ids: Array, path: Path) -> None:
    """Write ids as a Blosc2 array, in pieces that a patch is read from without the rest."""
    import blosc2

    def write(temporary: Path) -> None:
        blosc2.asarray(
            np.ascontiguousarray(ids, dtype=np.int32),
            urlpath=str(temporary),
            chunks=_chunks(ids.shape),
            cparams={"codec": blosc2.Codec.ZSTD, "clevel": 5, "nthreads": 1},
        )

    publish_by(path, write)


SIDE = 128
"""Pixels along the sides of a piece in the plane; nnU-Net's patches are about that wide."""

SLICES = 8


def _chunks(shape: Iterable[int]) -> tuple[int, ...]:
    slices, rows, columns = shape
    return min(slices, SLICES), min(rows, SIDE), min(columns, SIDE)


def _require_blosc2() -> None:
    try:
        import blosc2  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise missing_extra("softlabel nnunet prepare", "blosc2", "nnunet") from error
