"""Thumbnails of what a network predicted of a cached case, beside its labels."""

from __future__ import annotations

import numpy as np

from softlabel.cache import Cache, CachedCase
from softlabel.errors import UsageError
from softlabel.render.picture import Section
from softlabel.render.sections import Plane
from softlabel.reports.layers import label_layer, mask_layer
from softlabel.reports.pictures import (
    LABELS,
    CasePictures,
    Cut,
    Rung,
    Size,
    largest,
    pictures_on,
    require_drawable,
    turned,
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

    def overlays(section: Section, cut: Cut, plane: Plane, size: Size) -> dict[str, str]:
        plain = prediction if cut is None else prediction.take(cut, plane.across)
        step = plane.rows.step
        predicted = turned(plain[::step, ::step], plane)
        wrong = (section.labels >= 0) & (predicted != section.labels)
        return {
            PREDICTION: label_layer(predicted, size),
            LABELS: label_layer(section.labels, size),
            ERRORS: mask_layer(wrong, size, ERROR_COLOUR),
        }

    def draw(rung: Rung) -> CasePictures:
        return pictures_on(
            cache, case, rung,
            lambda across: worst_slices(cache, case, prediction, across, rung.slices), overlays,
        )  # fmt: skip

    return largest(case_id, characters, draw)


def worst_slices(
    cache: Cache, case: CachedCase, prediction: Array, across: int, most: int
) -> list[Cut]:
    """The slices with the most wrong pixels, in the order of the volume."""
    places = {value: k for k, value in enumerate(cache.classes.values)}
    labels = translate_labels(case.labels[...], places, -1, np.int64)
    wrong = (labels >= 0) & (prediction != labels)
    counts = np.moveaxis(wrong, across, 0).reshape(wrong.shape[across], -1).sum(axis=1)
    chosen = np.argsort(-counts, kind="stable")[:most]
    return [int(number) for number in np.sort(chosen)]
