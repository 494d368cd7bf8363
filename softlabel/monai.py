"""Caches in pipelines of MONAI: a list of cases, and transforms that load and pad them.

>>> from softlabel.monai import LoadSoftLabeld, data_list, pad_with_background  # doctest: +SKIP
>>> items = data_list("brains.h5", "splits_final.json", "train")  # doctest: +SKIP
>>> transform = Compose([  # doctest: +SKIP
...     LoadSoftLabeld(("image", "label", "soft")),
...     pad_with_background(RandAffined(
...         ("image", "label", "soft"), prob=1, rotate_range=0.3, padding_mode="zeros",
...         mode=("bilinear", "nearest", "bilinear"),
...     )),
... ])
>>> dataset = monai.data.CacheDataset(items, transform)  # doctest: +SKIP

Nothing else in softlabel imports MONAI.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from softlabel.bridges import ARRAYS, Classes, affine_of, dense_array, swap_background, swap_ids
from softlabel.bridges.cases import Split, chosen_cases
from softlabel.cache import Cache, CachedCase, open_cache
from softlabel.errors import CacheError, UsageError, missing_extra

try:
    from monai.data import MetaTensor
    from monai.transforms import Compose, InvertibleTransform, MapTransform
except ModuleNotFoundError as error:
    # an import that fails raises ImportError, whoever asks for it
    raise ImportError(str(missing_extra("softlabel.monai", "monai", "monai"))) from error

__all__ = ["LoadSoftLabeld", "SwapBackgroundd", "data_list", "pad_with_background"]


def data_list(
    cache: str | os.PathLike[str] | Cache,
    split: Split = None,
    part: str = "train",
    *,
    fold: int = 0,
) -> list[dict[str, Any]]:
    """The cases of a cache as items for MONAI's datasets; :class:`LoadSoftLabeld` loads them.

    Parameters
    ----------
    cache : path or Cache
    split : path, sequence of str, or None
        A file of splits: nnU-Net's ``splits_final.json``, or CSV with the columns ``case`` (or
        ``patient``), ``part``, and where there are several ``fold``. Or ids of cases and patients.
        None takes every case.
    part : {"train", "validation", "evaluation"}
        Of a file of splits; ``val`` and ``test`` are other names of the last two.
    fold : int
        Of a file of splits; the first is 0.

    Returns
    -------
    list of dict
        ``cache`` (its path), ``case`` and ``patient`` (ids), and ``digest`` of the case's
        contents, so that what ``PersistentDataset`` keeps on the disk is computed anew when a
        case changes.

    Raises
    ------
    UsageError
        When the split cannot be used, or names what the cache has not.
    CacheError
        When the cache cannot be read.
    """
    opened = cache if isinstance(cache, Cache) else open_cache(cache)
    path = str(Path(opened.path).resolve())
    return [
        {"cache": path, "case": case, "patient": patient, "digest": opened[case].content_digest()}
        for case, patient in chosen_cases(opened, split, part, fold).items()
    ]


class LoadSoftLabeld(MapTransform):  # type: ignore[misc]
    """Load arrays of a cached case as MetaTensors with the channel first.

    Parameters
    ----------
    keys : sequence of {"image", "label", "soft", "superpixels"}
        What is loaded.
    verify : bool
        Compare what is read with its digests, see :func:`softlabel.open_cache`.

    Raises
    ------
    UsageError
        For a key that a cache has not.

    Notes
    -----
    Of an item of :func:`data_list` it makes ``image`` float32 (C, *spatial); ``label`` uint8
    (1, *spatial) with class *indices*, 255 where ignored (of 255 classes and more int32 and
    65535); ``soft`` float32 (K, *spatial), 0 where ignored; ``superpixels`` int32 (1, *spatial),
    −1 where there is none. Files are opened on first use in every process: the transform can be
    pickled and survives forks.

    Soft maps and images are to be interpolated linearly, labels and superpixels by the nearest
    pixel: ``mode=("bilinear", "nearest", "bilinear")``.
    """

    def __init__(
        self, keys: Sequence[str] = ("image", "label", "soft"), *, verify: bool = True
    ) -> None:
        super().__init__(keys)
        if unknown := [key for key in self.keys if key not in ARRAYS]:
            raise UsageError(
                f"A cache has no array {unknown[0]!r} to load; expected {', '.join(ARRAYS)}."
            )
        self.verify = verify
        self._caches: dict[str, Cache] = {}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with the arrays of its case."""
        cache, case = self._case(data)
        classes = Classes(cache.classes, cache.ignore)
        affine = affine_of(case)
        # MONAI's writers name their files after it
        meta = {"filename_or_obj": case.id, "space": "RAS"}
        loaded = {
            key: MetaTensor(dense_array(case, str(key), classes), affine, dict(meta))
            for key in self.keys
        }
        return {**data, **loaded}

    def _case(self, data: Mapping[Hashable, Any]) -> tuple[Cache, CachedCase]:
        if not {"cache", "case"} <= data.keys():
            raise UsageError(
                "LoadSoftLabeld loads items with the keys cache and case, as softlabel.monai."
                f"data_list makes them; got {', '.join(map(str, data)) or 'no key'}."
            )
        path = str(data["cache"])
        if path not in self._caches:
            self._caches[path] = open_cache(path, verify=self.verify)
        case = self._caches[path][str(data["case"])]
        if data.get("digest", case.content_digest()) != case.content_digest():
            raise CacheError(f"{case.place} has changed since data_list was called; call it again.")
        return self._caches[path], case

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_caches": {}}


class SwapBackgroundd(MapTransform, InvertibleTransform):  # type: ignore[misc]
    """Swap soft maps such that zero means background; a second one swaps them back.

    The background's channel becomes 1 − q, and ids of superpixels −1 − id. Put one before and one
    after transforms that pad with 0, or let :func:`pad_with_background` do so.

    Parameters
    ----------
    keys : sequence of str
        Soft maps.
    ids : sequence of str
        Superpixels.
    background : int
        Index of the class outside of the image.

    Notes
    -----
    Keys that an item lacks are passed over.
    """

    def __init__(
        self, keys: Sequence[str] = ("soft",), ids: Sequence[str] = (), background: int = 0
    ) -> None:
        super().__init__((*keys, *ids), allow_missing_keys=True)
        self.ids, self.background = tuple(ids), background

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item, swapped."""
        swapped = dict(data)
        for key in self.key_iterator(swapped):
            value = swapped[key]
            is_ids = key in self.ids
            swapped[key] = swap_ids(value) if is_ids else swap_background(value, self.background)
        return swapped

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """As the transform itself: it undoes itself."""
        return self(data)


class _AtOnce(Compose):  # type: ignore[misc]
    """Transforms that are carried out at once, also in a lazy Compose around them.

    Lazy resampling of MONAI 1.6.1 drops the mode and the padding of transforms that it combines
    (its issue 6850), so that labels would be interpolated and nothing padded with zeros.
    """

    def __call__(
        self,
        input_: Any,
        start: int = 0,
        end: int | None = None,
        threading: bool = False,
        lazy: bool | None = None,
    ) -> Any:
        return super().__call__(input_, start, end, threading, lazy=False)


def pad_with_background(
    *transforms: Any,
    soft: Sequence[str] = ("soft",),
    superpixels: Sequence[str] = ("superpixels",),
    background: int = 0,
) -> Compose:
    """Transforms that pad with zeros, such that what they pad is background in soft maps.

    Without it, what ``padding_mode="zeros"`` or ``SpatialPadd`` adds has 0 in every class, and
    pixels at the border sum to less than before. Inside of the image nothing changes, and with
    ``padding_mode="border"`` or ``"reflection"`` nothing at all.

    Parameters
    ----------
    *transforms : MONAI transforms of dictionaries
        Spatial ones, whose interpolation is linear in the values.
    soft, superpixels : sequence of str
        Their keys; an item may lack them. Superpixels are padded with −1, "none".
    background : int
        Index of the class outside of the image. Labels are padded with 0 by MONAI: with another
        class, pad them yourself.

    Returns
    -------
    monai.transforms.Compose
        Random states and inversion work as of the transforms themselves. Lazy resampling ends
        before it, and begins again after it.
    """

    def swap() -> SwapBackgroundd:
        return SwapBackgroundd(soft, superpixels, background)

    return _AtOnce([swap(), *transforms, swap()])
