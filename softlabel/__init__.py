"""Soft labels for medical image segmentation, where the image says that a boundary is uncertain.

>>> import numpy as np, softlabel
>>> softlabel.soften(np.array([1, 1, 0, 0]), np.zeros(4, int)).dense()[1].tolist()
[0.75, 0.5, 0.25, 0.1666666716337204]
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from softlabel._version import __version__

if TYPE_CHECKING:
    from softlabel.cache import CachedCase as CachedCase
    from softlabel.cache import open_cache as open_cache
    from softlabel.cache import pack_cache as pack_cache
    from softlabel.cache import unpack_cache as unpack_cache
    from softlabel.generation import Report as Report
    from softlabel.generation import Settings as Settings
    from softlabel.generation import generate as generate
    from softlabel.softening import soften as soften
    from softlabel.softening.tensor.batch import soften_batch as soften_batch
    from softlabel.softmaps import SoftMaps as SoftMaps
    from softlabel.superpixels import slic as slic
    from softlabel.types import Case as Case
    from softlabel.types import ClassTable as ClassTable

# Public names and where they live: imported on first use, so that `softlabel --help` is quick.
_PUBLIC = {
    "CachedCase": "softlabel.cache",
    "Case": "softlabel.types",
    "ClassTable": "softlabel.types",
    "Report": "softlabel.generation",
    "Settings": "softlabel.generation",
    "SoftMaps": "softlabel.softmaps",
    "generate": "softlabel.generation",
    "open_cache": "softlabel.cache",
    "pack_cache": "softlabel.cache",
    "slic": "softlabel.superpixels",
    "soften": "softlabel.softening",
    "soften_batch": "softlabel.softening.tensor.batch",
    "unpack_cache": "softlabel.cache",
}

# `from softlabel import *` and help() work without torch, so they leave out what needs it.
_NEEDS_TORCH = {"soften_batch"}

__all__ = ["__version__", *(name for name in _PUBLIC if name not in _NEEDS_TORCH)]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'softlabel' has no attribute {name!r}")
    try:
        value = getattr(import_module(_PUBLIC[name]), name)
    except ModuleNotFoundError as error:
        if name not in _NEEDS_TORCH or error.name != "torch":
            raise
        from softlabel.errors import missing_extra

        raise missing_extra(f"softlabel.{name}", "torch", "gpu") from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
