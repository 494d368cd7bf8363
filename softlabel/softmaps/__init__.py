"""Soft maps that stay sparse: hard labels, one off-class constant, and the values of the band."""

from softlabel.softmaps.class_index import (
    class_index_map,
    ignored_index,
    index_dtype,
    translate_labels,
)
from softlabel.softmaps.entropy import entropy_bits
from softlabel.softmaps.from_dense import from_class_maps
from softlabel.softmaps.maps import Regions, SoftMaps, hard_maps

__all__ = [
    "Regions",
    "SoftMaps",
    "class_index_map",
    "entropy_bits",
    "from_class_maps",
    "hard_maps",
    "ignored_index",
    "index_dtype",
    "translate_labels",
]
