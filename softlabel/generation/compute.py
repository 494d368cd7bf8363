"""Steps before superpixels, superpixels and soft maps of one case."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from softlabel.cache import (
    CaseResult,
    Header,
    InputFile,
    Statistics,
)
from softlabel.device import DeviceUnusable
from softlabel.errors import CaseError, plural
from softlabel.generation.case_preprocessing import preprocess_case
from softlabel.generation.case_superpixels import make_superpixels, slice_axis_of
from softlabel.generation.device_server import DeviceProcess
from softlabel.generation.preset import resolution_record
from softlabel.generation.settings import Settings, require_same_plugin
from softlabel.interrupt import SafePoint, no_safe_point
from softlabel.preprocess import DnCNN
from softlabel.softening import SoftenRequest, method_named, soften_by
from softlabel.softening.given import given_maps
from softlabel.softening.raters import majority
from softlabel.softmaps.class_index import class_index_map
from softlabel.softmaps.maps import SoftMaps
from softlabel.superpixels import whole_pieces
from softlabel.types import Array, Case, ClassTable, class_table

EXACT = 1 << 53
"""Whole numbers up to this one are exact in float64, whatever the order of a sum."""

BLOCK = 1 << 20


def compute(
    case: Case,
    header: Header,
    settings: Settings,
    inputs: tuple[InputFile, ...] = (),
    superpixels: Array | None = None,
    device: DeviceProcess | None = None,
    safe_point: SafePoint = no_safe_point,
    networks: Mapping[str, DnCNN] | None = None,
) -> CaseResult:
    """Steps before superpixels, superpixels and soft maps of one case.

    Parameters
    ----------
    case : Case
        As it was read.
    header : Header
        Its class table and ignored value hold for the whole cache.
    settings : Settings
    inputs : tuple of InputFile
        Recorded in the part.
    superpixels : ndarray of int, shape (*spatial), optional
        For ``settings.superpixels == "file"``.
    device : DeviceProcess, optional
        Where it is softened; what it cannot do is done here, on the CPU, and noted in the result.
    safe_point : callable
        Called between the steps; what it raises passes through.
    networks : mapping of str to DnCNN, optional
        Networks that the steps need, by the SHA-256 of their weights.

    Raises
    ------
    CaseError
        When this case cannot be computed with these settings.
    """
    try:
        require_same_plugin(header.settings, settings.method)
        _check_channels(case, header)
        case, before, step_seconds = preprocess_case(case, header, settings, hard_labels, networks)
        safe_point()
        asked, ids = 0, None
        chosen = resolution_record(settings, case.shape)
        if method_named(settings.method).needs_superpixels:
            ids, asked = make_superpixels(case, settings, superpixels, device)
            if header.format_version > 1:  # a cache of format 1 goes on as it was begun
                ids = in_whole_pieces(ids, case, settings)
        safe_point()
        soft, note = soften_case(case, ids, header, settings, device)
        safe_point()
        labels, label_maps = hard_labels(case, header)
        statistics = measure(case, soft, labels, ids, asked, header)
    except ValueError as error:
        raise CaseError(f"{case.name}: {error}") from error
    return CaseResult(
        case, labels, ids, soft, label_maps, statistics, inputs, note, before, step_seconds, chosen
    )  # fmt: skip


def header_of(
    case: Case, classes: ClassTable | Mapping[int, str] | Sequence[int] | None = None
) -> Header:
    """Classes and ignored value of a case by itself, as the functions here want them.

    Parameters
    ----------
    case : Case
    classes : ClassTable, {value: name}, or values, optional
        Those of the data set; default those of the case, or the values that it shows.
    """
    table = case.classes if classes is None else class_table(classes)
    if table is None:
        table = ClassTable.from_values(set(np.unique(case.labels).tolist()) - {case.ignore})
    return Header("", "", table, case.ignore, case.channels)


def in_whole_pieces(ids: Array, case: Case, settings: Settings) -> Array:
    """Superpixels as a cache has them: those of masked SLIC, which may be scattered, in pieces."""
    masked_slic = settings.superpixels == "slic" and settings.mask_mode == "slic"
    return whole_pieces(ids) if masked_slic and case.mask is not None else ids


def soften_case(
    case: Case,
    ids: Array | None,
    header: Header,
    settings: Settings,
    device: DeviceProcess | None,
) -> tuple[SoftMaps, str]:
    """Soft maps of a case, and why its device did not make them."""
    if method_named(settings.method).takes_soft_labels != (case.soft is not None):
        held = "hard" if case.soft is None else "soft"
        raise ValueError(f"the method {settings.method} does not take {held} labels.")
    if case.soft is not None:
        return given_maps(
            case.soft, case.labels, header.classes, header.ignore, settings.normalize
        ), ""
    request = request_of(case, header, settings)
    method = method_named(settings.method)
    image = case.image if method.needs_image else None
    mask = case.mask if method.uses_mask else None
    if device is not None:
        try:
            return soften_by(request, case.labels, ids, backend=device.soften), ""
        except DeviceUnusable as error:
            return soften_by(request, case.labels, ids), str(error)
    return soften_by(request, case.labels, ids, image=image, mask=mask), ""


def request_of(case: Case, header: Header, settings: Settings) -> SoftenRequest:
    """What the settings ask for in a case.

    Raises
    ------
    ValueError
        When distances are to be in mm and the case has no spacing.
    """
    in_mm = settings.distance_unit == "mm" and method_named(settings.method).uses_spacing
    if in_mm and case.spacing_mm is None:
        raise ValueError(
            "the case has no pixel spacing, so distances cannot be in mm; use --distance-unit "
            "pixel, or give the spacing with --spacing-mm where the format takes it."
        )
    options = dict(settings.method_options)
    if options.get("in_plane"):
        # never left to the spacing: in pixels it is the same along all axes
        options["slice_axis"] = slice_axis_of(case, settings)
    return SoftenRequest(
        method=settings.method,
        classes=header.classes,
        spacing=case.spacing_mm if in_mm else None,
        boundary=settings.boundary,
        scale=settings.scale,
        normalize=settings.normalize,
        ignore=header.ignore,
        rater_axis=case.rater_axis,
        fuse=settings.fuse,
        method_options=options,
    )


def hard_labels(case: Case, header: Header) -> tuple[Array, dict[str, Array]]:
    """The hard label map, of several raters their majority, and further maps by name."""
    maps = dict(case.label_maps)
    if case.rater_axis is None:
        return case.labels, maps
    maps |= dict(zip(case.rater_names, case.labels, strict=True))
    return _majority_labels(case.labels, header), maps


def measure(
    case: Case, soft: SoftMaps, labels: Array, ids: Array | None, asked: int, header: Header
) -> Statistics:
    """Statistics of a computed case."""
    image = case.image.reshape(len(case.image), -1)
    inside = image if case.mask is None else image[:, case.mask.ravel()]
    if inside.shape[1] == 0:
        inside = image
    sums = np.array([_sums(channel) for channel in inside])
    index = class_index_map(labels, header.classes, header.ignore)
    return Statistics(
        class_pixels=_class_pixels(index, len(header.classes)),
        pixels=inside.shape[1],
        intensity_sum=sums[:, 0],
        intensity_sum_squares=sums[:, 1],
        intensity_min=inside.min(axis=1).astype(np.float64),
        intensity_max=inside.max(axis=1).astype(np.float64),
        softened_pixels=int(np.count_nonzero(soft.band)),
        soft_sum=soft.total(),
        own_class_sum=soft.own_class_sums(index),
        n_superpixels=0 if ids is None else int(ids.max()) + 1,
        n_superpixels_asked=asked,
    )


def _sums(channel: Array) -> tuple[float, float]:
    """Sum of the intensities and of their squares, in float64."""
    if np.issubdtype(channel.dtype, np.integer):
        largest = max(abs(int(channel.min())), abs(int(channel.max())))
        if len(channel) * largest**2 <= EXACT:  # in any order the same, so by blocks
            sums = np.zeros(2, np.int64)
            for block in _blocks(channel):
                wide = block.astype(np.int64)
                sums += wide.sum(), wide @ wide
            return float(sums[0]), float(sums[1])
    values = channel.astype(np.float64)
    return float(values.sum()), float(np.dot(values, values))


def _class_pixels(index: Array, n_classes: int) -> Array:
    counts = np.zeros(n_classes, np.uint64)
    for block in _blocks(index.reshape(-1)):
        counts += np.bincount(block, minlength=n_classes)[:n_classes].astype(np.uint64)
    return counts


def _blocks(flat: Array) -> Iterator[Array]:
    """Pixels that are widened to 64 bits at a time."""
    return (flat[start : start + BLOCK] for start in range(0, len(flat), BLOCK))


def _majority_labels(raters: Array, header: Header) -> Array:
    votes = majority([class_index_map(m, header.classes, header.ignore) for m in raters])
    lookup = np.full(int(np.iinfo(votes.dtype).max) + 1, header.ignore or 0, np.int64)
    lookup[: len(header.classes)] = header.classes.values
    return lookup[votes]


def _check_channels(case: Case, header: Header) -> None:
    if header.channels and len(case.image) != len(header.channels):
        raise ValueError(
            f"the image has {plural(len(case.image), 'channel')}, most images of the data set "
            f"have {len(header.channels)} ({', '.join(header.channels)}); give all images the same "
            "channels."
        )
