"""Sample data of the plugin: phantoms, made and softened when they are asked for."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from softlabel.cache import open_cache
from softlabel.generation import Settings, generate
from softlabel.phantom import write_mri_dataset, write_oct_dataset
from softlabel.viewers.layers import LayerData, case_layers

BSCAN_SHAPE = (248, 384, 3)
BRAIN_SHAPE = (96, 96, 24)


def bscan() -> list[LayerData]:
    """A B-scan of a synthetic retina."""
    return _layers("oct")


def brain() -> list[LayerData]:
    """A volume of a synthetic brain."""
    return _layers("mri")


def _layers(kind: str) -> list[LayerData]:
    opened = open_cache(_made(kind))
    layers = case_layers(opened, opened.chosen()[0])
    for layer in layers:
        if layer.contour:  # napari takes nothing but tuples here, which cannot ask for outlines
            layer.options["visible"] = False
    return [layer.as_tuple() for layer in layers]


@cache
def _folder() -> Any:
    """A folder for the caches, removed when Python ends: layers are read from them."""
    return tempfile.TemporaryDirectory(prefix="softlabel-")


@cache
def _made(kind: str) -> Path:
    """The cache of a phantom."""
    folder = Path(_folder().name)
    source, cache_path = folder / kind, folder / f"{kind}-phantom.h5"
    if kind == "oct":
        write_oct_dataset(source, n_subjects=1, shape=BSCAN_SHAPE, n_annotated=BSCAN_SHAPE[2])
    else:
        write_mri_dataset(source, n_subjects=1, shape=BRAIN_SHAPE)
    generate(source, cache_path, Settings(superpixel_size=190))
    return cache_path
