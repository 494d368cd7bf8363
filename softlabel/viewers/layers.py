"""A cached case as layers of napari, which knows neither napari nor Qt.

Pixels are as they are stored. Axes are brought into the order that napari expects, across the
slices first, and lie as in the pictures of :mod:`softlabel.render`: upright where the affine says
how the patient lies.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from softlabel.cache import Cache, CachedCase, StoredArray
from softlabel.colours import class_colour, class_hex
from softlabel.render.figure import percentile_window
from softlabel.render.palette import soft_scale
from softlabel.render.sections import Plane, View, axis_across, shows_colours, slice_numbers
from softlabel.viewers import blocks
from softlabel.viewers.order import own_class_q

LayerData = tuple[Any, dict[str, Any], str]
"""What readers give to napari: data, arguments of the layer, type of the layer."""

KEY = "softlabel"
"""Entry of a layer's metadata that says of which case it is, and what of it."""

WINDOW = "contrast_limits"
"""Argument of a layer, kept in that entry too: the user may choose another."""

MOST_SOFT_LAYERS = 16
"""Classes whose soft labels become layers: each takes napari a tenth of a second or more."""

MICROSCOPIC_MM = 0.1
"""Pixels finer than this are measured in µm: napari rounds the coordinates that it shows."""

OUTLINED_PX = 12
"""Mean edge from which superpixels are shown at first: outlines are two pixels wide."""

NO_SUPERPIXEL = -1
TRANSPARENT = (0.0, 0.0, 0.0, 0.0)
SUPERPIXEL_COLOUR = (1.0, 1.0, 0.4, 1.0)
LABELS_OPACITY, SUPERPIXELS_OPACITY, ENTROPY_OPACITY = 0.35, 0.4, 0.6


@dataclass(frozen=True, eq=False)
class ViewerLayer:
    """One layer.

    Attributes
    ----------
    role : str
        What of the case it shows; the same for all cases of a cache.
    data : dask array, shape (*spatial) in the viewer's order, (*spatial, 3) in colours
    options : dict
        Arguments of the layer.
    kind : "image" or "labels"
    contour : int
        Width of the outlines that superpixels are drawn as, all in one colour; 0 for areas. No
        argument of a layer, but an attribute: see :func:`softlabel.viewers.viewer.made`.
    """

    role: str
    data: Any
    options: dict[str, Any]
    kind: Literal["image", "labels"]
    contour: int = 0

    def as_tuple(self) -> LayerData:
        """What ``napari.layers.Layer.create`` takes: superpixels as areas of many colours."""
        return self.data, dict(self.options), self.kind


def case_layers(
    cache: Cache,
    case_id: str,
    *,
    classes: Collection[int] = (),
    window: tuple[float, float] | None = None,
) -> list[ViewerLayer]:
    """Layers of a case, the lowest first. Only the image is read, and of a volume some slices.

    Parameters
    ----------
    cache : Cache
        It must stay open as long as somebody looks at the layers.
    case_id : str
    classes : collection of int
        Indices of classes whose soft labels are among the layers in any case.
    window : (float, float), optional
        Intensities shown as black and white; by default the 0.5th and 99.5th percentile.

    Returns
    -------
    list of ViewerLayer
        ``image`` (one a channel; in colours where it has them); ``labels``, ``labels of NAME`` of
        further annotators and ``true labels`` of phantoms; ``superpixels``, −1 where there is
        none; ``soft label of NAME``; ``entropy`` in bits. Visible are the image, the labels, and
        superpixels unless they are so small that outlines would cover them.

    Raises
    ------
    CacheError
        When the case is damaged.
    KeyError
        When the cache has no such case.
    """
    case = cache[case_id]
    view = View(window=window)
    across = axis_across(case, view)
    plane = Plane.of(case, across)
    shown = _Shown(cache, case, view, across, plane)
    layers = [
        *shown.images(),
        *shown.label_maps(),
        *shown.superpixels(),
        *shown.soft_labels(soft_classes(cache, case_id, classes)),
        shown.entropy(),
    ]
    for layer in layers:  # so that a layer that was deleted is known as such
        layer.options["metadata"][KEY]["roles"] = [one.role for one in layers]
    return layers


def soft_classes(cache: Cache, case_id: str, wanted: Collection[int] = ()) -> list[int]:
    """Classes whose soft labels become layers: all, or the softest of the case where there are
    more than :data:`MOST_SOFT_LAYERS`, and those that are wanted.
    """
    count = len(cache.classes)
    if count <= MOST_SOFT_LAYERS:
        return list(range(count))
    own_q = own_class_q(cache, case_id)
    present = [k for k in np.argsort(own_q, kind="stable") if np.isfinite(own_q[k])]
    return sorted({*map(int, present[:MOST_SOFT_LAYERS]), *wanted})


def soft_role(cache: Cache, class_index: int) -> str:
    """Role of the layer with the soft label of a class."""
    return f"soft label of {cache.classes.names[class_index]}"


@dataclass(frozen=True, eq=False)
class _Shown:
    """A case, and how it lies in the viewer."""

    cache: Cache
    case: CachedCase
    view: View
    across: int | None
    plane: Plane

    # --- layers ---

    def images(self) -> Iterator[ViewerLayer]:
        stored, names = self.case.image, self.cache.channels
        if shows_colours(self.case, self.view, names):
            yield self._layer("image", blocks.colours(stored, self._axes), "image", rgb=True)
            return
        for channel in range(len(stored)):
            name = names[channel] if channel < len(names) else str(channel)
            yield self._layer(
                "image" if len(stored) == 1 else f"image {name}",
                blocks.stored(stored, self._axes, channel),
                "image",
                rgb=False,
                colormap="gray",
                contrast_limits=self.view.window or self._window(stored, channel),
                visible=channel == 0,
            )

    def label_maps(self) -> Iterator[ViewerLayer]:
        yield self._label_map("labels", self.case.labels)
        for name, stored in self.case.label_maps.items():
            yield self._label_map(f"labels of {name}", stored, visible=False)
        if self.case.truth is not None:
            yield self._label_map("true labels", self.case.truth, visible=False)

    def superpixels(self) -> Iterator[ViewerLayer]:
        if self.case.superpixels is not None:
            count = max(1, self.cache.facts(self.case.id).superpixels)
            edge = (math.prod(self.case.shape) / count) ** (1 / len(self.case.shape))
            yield self._layer(
                "superpixels",
                # −1 must fit, which is not stored where every pixel has a superpixel
                blocks.stored(self.case.superpixels, self._axes, dtype=np.int32),
                "labels",
                contour=1,
                opacity=SUPERPIXELS_OPACITY,
                visible=edge >= OUTLINED_PX,
            )

    def soft_labels(self, classes: list[int]) -> Iterator[ViewerLayer]:
        for k in classes:
            yield self._layer(
                soft_role(self.cache, k),
                blocks.stored(self.case.soft, self._axes, k),
                "image",
                rgb=False,
                colormap=class_hex(k),  # from black to this
                blending="additive",
                contrast_limits=(0.0, 1.0),
                visible=False,
            )

    def entropy(self) -> ViewerLayer:
        _, most = soft_scale(False, len(self.cache.classes))
        return self._layer(
            "entropy",
            blocks.entropy(self.case.soft, self._axes),
            "image",
            rgb=False,
            colormap="inferno",
            blending="additive",
            opacity=ENTROPY_OPACITY,
            contrast_limits=(0.0, most),
            visible=False,
        )

    def _label_map(self, role: str, stored: StoredArray, visible: bool = True) -> ViewerLayer:
        colours: dict[int | None, Any] = {
            value: (*class_colour(k), 1.0) for k, value in enumerate(self.cache.classes.values)
        }
        names = dict(self.cache.classes)
        if self.cache.ignore is not None:
            names[self.cache.ignore] = "ignored"
        # 0 is mostly background, and what napari takes for it
        colours |= {0: TRANSPARENT, None: TRANSPARENT}
        return self._layer(
            role,
            blocks.stored(stored, self._axes),
            "labels",
            colormap=colours,
            features={"index": list(names), "class": list(names.values())},
            opacity=LABELS_OPACITY,
            visible=visible,
        )

    def _layer(
        self, role: str, data: Any, kind: Literal["image", "labels"], contour: int = 0,
        **options: Any,
    ) -> ViewerLayer:  # fmt: skip
        about = {"cache": str(self.cache.path.absolute()), "case": self.case.id, "role": role}
        about |= {WINDOW: options[WINDOW]} if WINDOW in options else {}
        options = {"name": role, "metadata": {KEY: about}, **self._place(), **options}
        return ViewerLayer(role, data, options, kind, contour)

    # --- how it lies ---

    @property
    def _axes(self) -> blocks.SpatialAxes:
        rows, columns = self.plane.axes
        order = (columns, rows) if self.plane.transposed else (rows, columns)
        return blocks.SpatialAxes(
            order if self.across is None else (self.across, *order), self.case.shape
        )

    def _place(self) -> dict[str, Any]:
        """Scale in physical units; an axis that is drawn from its end runs backwards."""
        order, shape = self._axes.order, self._axes.shape
        unit, spacing = physical_units(self.case.spacing_mm, len(shape))
        slices = [] if self.across is None else [False]
        backwards = [*slices, self.plane.rows.descending, self.plane.columns.descending]
        scale = [spacing[a] for a in order]
        return {
            "scale": [-s if back else s for s, back in zip(scale, backwards, strict=True)],
            "translate": [
                s * (shape[a] - 1) if back else 0.0
                for a, s, back in zip(order, scale, backwards, strict=True)
            ],
            "units": (unit,) * len(shape),
            "axis_labels": tuple(f"axis {a}" for a in order),
        }

    def _window(self, stored: StoredArray, channel: int) -> tuple[float, float]:
        """The intensities that a picture of the case shows."""
        step = self.plane.rows.step
        cuts: list[int | None] = [None]
        if self.across is not None:
            cuts = slice_numbers(self.cache, self.case, self.across, self.view)
        values = []
        for cut in cuts:
            key: list[Any] = [slice(None)] * len(self.case.shape)
            if self.across is not None:
                key[self.across] = cut
            section = stored[(channel, *key)][::step, ::step]
            mask = self.case.mask
            inside = None if mask is None else mask[tuple(key)][::step, ::step] > 0
            values.append(section[inside] if inside is not None and inside.any() else section)
        return percentile_window(np.concatenate([np.ravel(v) for v in values]))


def physical_units(
    spacing_mm: tuple[float, ...] | None, ndim: int
) -> tuple[str, tuple[float, ...]]:
    """Unit of length and the spacing in it; pixels where the spacing is not known.

    Examples
    --------
    >>> physical_units((1.0, 3.0), 2), physical_units((0.004, 0.012), 2), physical_units(None, 1)
    (('mm', (1.0, 3.0)), ('um', (4.0, 12.0)), ('pixel', (1.0,)))
    """
    if spacing_mm is None:
        return "pixel", (1.0,) * ndim
    if min(spacing_mm) < MICROSCOPIC_MM:
        return "um", tuple(1000 * s for s in spacing_mm)
    return "mm", tuple(spacing_mm)
