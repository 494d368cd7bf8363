"""Thumbnails of what a network predicted of a cached case, beside its labels."""

from __future__ import annotations

import numpy as np

from softlabel.cache import Cache, CachedCase
from softlabel.errors import UsageError
from softlabel.render.figure import intensity_window
from softlabel.render.panels import grey
from softlabel.render.sections import Plane, View, axis_across, read_section
from softlabel.reports.layers import PictureLayers, image_layer, label_layer, mask_layer
from softlabel.reports.pictures import (
    LABELS,
    CasePictures,
    Rung,
    largest,
    require_drawable,
    thumbnail_size,
    turned,
    upright,
)
from softlabel.softmaps.class_index import translate_labels
from softlabel.types import Array

PREDICTION, ERRORS = "prediction", "errors"
ERROR_COLOUR = "#ff2020"

LAYERS = ((PREDICTION, "prediction"), (LABELS, "labels"), (ERRORS, "where they differ"))
"""(Name in the data, name for people) of the layers."""


def prediction_thumbnails(
    cache: Cache, case_id: str, prediction: Array, characters: int
) -> CasePictures:
    """Image, prediction, labels and where they differ, as large as the room allows.

    Of a volume the slices with the most wrong pixels are shown.

    Parameters
    ----------
    cache : Cache
    case_id : str
    prediction : ndarray of int, shape (*spatial)
        Indices of classes, on the grid of the cache.
    characters : int
        Room in the page.

    Raises
    ------
    UsageError
        When the prediction has another shape than the case.
    CaseError
        When the case has neither 2 nor 3 spatial axes, or its pictures do not fit.
    CacheError
        When its file is damaged.
    """
    case = require_drawable(cache[case_id])
    if prediction.shape != case.shape:
        raise UsageError(
            f"The prediction of {case_id!r} has the shape {prediction.shape} and the case "
            f"{case.shape}; give it on the grid of the cache."
        )
    return largest(case_id, characters, lambda rung: _on_rung(cache, case, prediction, rung))


def _on_rung(cache: Cache, case: CachedCase, prediction: Array, rung: Rung) -> CasePictures:
    view = View()
    across = axis_across(case, view)
    plane = Plane.of(case, across)
    cuts = [None] if across is None else worst_slices(cache, case, prediction, across, rung.slices)
    sections = [
        upright(read_section(cache, case, view, plane, cut), plane) for cut in cuts
    ]  # fmt: skip
    window = intensity_window(sections)
    size, compressed = thumbnail_size(
        sections[0].labels.shape, plane.rows.spacing, plane.columns.spacing, rung.edge
    )
    step = plane.rows.step
    pictures = []
    for section, cut in zip(sections, cuts, strict=True):
        plain = prediction if cut is None or across is None else prediction.take(cut, across)
        predicted = turned(plain[::step, ::step], plane)
        wrong = (section.labels >= 0) & (predicted != section.labels)
        overlays = {
            PREDICTION: label_layer(predicted, size),
            LABELS: label_layer(section.labels, size),
            ERRORS: mask_layer(wrong, size, ERROR_COLOUR),
        }
        image = image_layer(grey(section.image, window), size)
        pictures.append(PictureLayers(section.name, image, overlays))
    slices = 0 if across is None else case.shape[across]
    ends = (plane.rows.ends, plane.columns.ends)
    return CasePictures(tuple(pictures), ends, size, slices, compressed)


def worst_slices(
    cache: Cache, case: CachedCase, prediction: Array, across: int, most: int
) -> list[int | None]:
    """The slices with the most wrong pixels, in the order of the volume."""
    places = {value: k for k, value in enumerate(cache.classes.values)}
    labels = translate_labels(case.labels[...], places, -1, np.int64)
    wrong = (labels >= 0) & (prediction != labels)
    counts = np.moveaxis(wrong, across, 0).reshape(wrong.shape[across], -1).sum(axis=1)
    chosen = np.argsort(-counts, kind="stable")[:most]
    return [int(number) for number in np.sort(chosen)]
