"""The reader of napari's plugin: a cache that is opened or dropped shows its first case."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softlabel.cache import open_cache, says_it_is_ours

if TYPE_CHECKING:
    from softlabel.viewers.layers import ViewerLayer

ReadFunction = Callable[[Any], list[Any]]


def get_reader(path: str | os.PathLike[str] | Sequence[str]) -> ReadFunction | None:
    """The function that reads a file, or None where it is not softlabel's.

    A file that claims to be softlabel's is taken though it be damaged: its reader says what is
    wrong with it. Several files at once are opened one by one, unless they shall become a stack.
    """
    if not isinstance(path, str | os.PathLike):
        return None
    return read_cache if says_it_is_ours(Path(path)) else None


def read_cache(path: str | os.PathLike[str]) -> list[Any]:
    """Layers of the first case of a cache.

    Returns
    -------
    list
        Tuples (data, arguments, type), and layers of napari where arguments do not suffice.

    Raises
    ------
    CacheError
        When the file is damaged, of a newer version, or a part of a cache.
    UsageError
        When the cache holds no case.
    """
    # the caches of matplotlib and dask need not be imported for files of others
    from softlabel.viewers.layers import case_layers

    cache = open_cache(path)
    case_id = cache.chosen()[0]
    if len(cache) > 1:
        _tell(
            f"This is {case_id}, the first of {len(cache)} cases of {cache.path.name}. Plugins, "
            "softlabel, Cases of a cache shows the others."
        )
    return [_given_to_napari(layer) for layer in case_layers(cache, case_id)]


def _given_to_napari(layer: ViewerLayer) -> Any:
    if not layer.contour:
        return layer.as_tuple()
    from softlabel.viewers.viewer import made

    return made(layer)


def _tell(text: str) -> None:
    """Show a sentence in napari, where it is running: npe2 may read without it."""
    if "napari" in sys.modules:
        from napari.utils.notifications import show_info

        show_info(text)
