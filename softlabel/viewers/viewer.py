"""A case in a viewer of napari: its layers made, or changed in place from those of another case."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softlabel.cache import Cache
from softlabel.viewers.layers import (
    KEY,
    NO_SUPERPIXEL,
    SUPERPIXEL_COLOUR,
    TRANSPARENT,
    WINDOW,
    ViewerLayer,
    case_layers,
    soft_role,
)

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


def made(layer: ViewerLayer) -> Layer:
    """A layer of napari."""
    from napari.layers import Layer
    from napari.utils.colormaps import DirectLabelColormap

    result = Layer.create(*layer.as_tuple())
    if layer.contour:
        result.contour = layer.contour
        # unless told so, napari takes 0 for the background, which is a superpixel
        result.colormap = DirectLabelColormap(
            color_dict={NO_SUPERPIXEL: TRANSPARENT, None: SUPERPIXEL_COLOUR},
            background_value=NO_SUPERPIXEL,
        )
    return result


def show_case(
    viewer: ViewerModel,
    cache: Cache,
    case_id: str,
    *,
    class_index: int | None = None,
    window: tuple[float, float] | None = None,
) -> None:
    """Show a case in the layers of the case of this cache that is shown, or in new ones.

    What the user chose stays: which layers are visible or were deleted, their opacity and
    colours, a window of their own. Layers of others, and of other caches, stay as they are.

    Parameters
    ----------
    class_index : int, optional
        Show the soft label of this class.
    window : (float, float), optional
        Intensities shown as black and white.

    Raises
    ------
    CacheError
        When the case is damaged; the viewer is left as it was.
    """
    before = layers_of(viewer, cache.path)
    wanted = {soft_role(cache, class_index)} if class_index is not None else set()
    classes = [k for k in range(len(cache.classes)) if soft_role(cache, k) in {*before, *wanted}]
    offered = case_layers(cache, case_id, classes=classes, window=window)
    deleted = _offered_before(before) - set(before) - wanted
    new = [layer for layer in offered if layer.role not in deleted]
    for role, layer in before.items():
        if role not in {layer.role for layer in new}:
            viewer.layers.remove(layer)
    for layer in new:
        shown = before.get(layer.role)
        if shown is not None and shown.data.ndim == layer.data.ndim:
            _change(shown, layer)
            continue
        if shown is not None:
            viewer.layers.remove(shown)
        viewer.layers.insert(_place_of(viewer, layer, new, cache.path), made(layer))
    for role in wanted:
        layers_of(viewer, cache.path)[role].visible = True
    if not before:  # the layer whose values the status bar tells
        viewer.layers.selection.active = layers_of(viewer, cache.path)["labels"]


def layers_of(viewer: ViewerModel, cache: Path) -> dict[str, Layer]:
    """The layers of a viewer that show a case of a cache, by their roles."""
    return {
        about["role"]: layer
        for layer in viewer.layers
        if (about := _about(layer)) and about["cache"] == str(cache.absolute())
    }


def shown_case(viewer: ViewerModel) -> tuple[Path, str] | None:
    """Cache and id of the case that a viewer shows, the topmost; None without any."""
    for layer in reversed(viewer.layers):
        if about := _about(layer):
            return Path(about["cache"]), about["case"]
    return None


def _about(layer: Layer) -> Mapping[str, Any]:
    about = layer.metadata.get(KEY, {})
    return about if isinstance(about, Mapping) else {}


def _change(shown: Layer, new: ViewerLayer) -> None:
    """Let a layer show another case."""
    options = new.options
    own_window = shown.metadata[KEY].get(WINDOW)
    untouched = own_window is not None and tuple(shown.contrast_limits) == tuple(own_window)
    shown.data = new.data
    shown.scale, shown.translate = options["scale"], options["translate"]
    shown.units, shown.axis_labels = options["units"], options["axis_labels"]
    shown.metadata = options["metadata"]
    if untouched:
        shown.contrast_limits = options[WINDOW]


def _offered_before(before: Mapping[str, Layer]) -> set[str]:
    """Roles of all layers that the case before had, those that the user deleted included."""
    return {role for layer in before.values() for role in layer.metadata[KEY].get("roles", ())}


def _place_of(viewer: ViewerModel, layer: ViewerLayer, new: list[ViewerLayer], cache: Path) -> int:
    """Where a layer belongs: above the next lower one of its case, else below the next higher."""
    there = layers_of(viewer, cache)
    number = new.index(layer)
    for lower in reversed(new[:number]):
        if lower.role in there:
            return int(viewer.layers.index(there[lower.role])) + 1
    for higher in new[number:]:
        if higher.role in there:
            return int(viewer.layers.index(there[higher.role]))
    return len(viewer.layers)
