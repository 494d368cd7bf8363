"""Caches in pipelines of TorchIO: a case as a Subject, and padding that keeps soft maps whole.

>>> from softlabel.torchio import pad_with_background, to_subject  # doctest: +SKIP
>>> cache = softlabel.open_cache("brains.h5")  # doctest: +SKIP
>>> subjects = [to_subject(case) for case in cache.values()]  # doctest: +SKIP
>>> transform = tio.Compose([  # doctest: +SKIP
...     pad_with_background(tio.RandomAffine(degrees=15)),
...     tio.RandomNoise(exclude=["soft"]),
... ])
>>> dataset = tio.SubjectsDataset(subjects, transform)  # doctest: +SKIP

Nothing else in softlabel imports TorchIO.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from softlabel.bridges import Classes, affine_of, dense_array, swap_background, swap_ids
from softlabel.cache import CachedCase
from softlabel.errors import missing_extra
from softlabel.types import Array

try:
    import torchio as tio
except ModuleNotFoundError as error:
    # an import that fails raises ImportError, whoever asks for it
    raise ImportError(str(missing_extra("softlabel.torchio", "torchio", "torchio"))) from error

__all__ = ["pad_with_background", "to_subject"]


def to_subject(case: CachedCase, *, superpixels: bool = False) -> Any:
    """A cached case as a Subject of TorchIO.

    Parameters
    ----------
    case : CachedCase
    superpixels : bool
        Take their ids along.

    Returns
    -------
    torchio.Subject
        ``image``, a ScalarImage (C, *spatial) of float32; ``label``, a LabelMap (1, *spatial) of
        class *indices*, 255 where ignored (of 255 classes and more 65535); ``soft``, a
        ScalarImage (K, *spatial) of float32, 0 where ignored; ``superpixels``, a LabelMap of
        int32, −1 where there is none; ``case`` and ``patient``, their ids. Images have a third
        axis of length 1, which TorchIO wants.

    Raises
    ------
    CacheError
        When the case is damaged, or has no superpixels.

    Notes
    -----
    A soft map is a ScalarImage since TorchIO interpolates LabelMaps by the nearest pixel. So
    transforms of intensities would change it too: give them ``exclude=["soft"]``. Spatial ones
    belong into :func:`pad_with_background`.
    """
    header = case.header
    classes = Classes(header.classes, header.ignore)
    affine = affine_of(case)
    kinds = {"image": tio.ScalarImage, "label": tio.LabelMap, "soft": tio.ScalarImage}
    if superpixels:
        kinds["superpixels"] = tio.LabelMap
    images = {
        name: kind(tensor=_in_space(dense_array(case, name, classes)), affine=affine)
        for name, kind in kinds.items()
    }
    return tio.Subject(case=case.id, patient=case.group, **images)


def _in_space(array: Array) -> Array:
    """The array with three spatial axes."""
    return array.reshape(*array.shape, *[1] * (4 - array.ndim))


def pad_with_background(
    *transforms: Any,
    soft: Sequence[str] = ("soft",),
    superpixels: Sequence[str] = ("superpixels",),
    background: int = 0,
) -> Any:
    """Spatial transforms such that what they pad is background in soft maps.

    TorchIO pads every channel of a ScalarImage with one number, 0 or by default its least value:
    of a soft map that would be a pixel of no class at all.

    Parameters
    ----------
    *transforms : torchio.Transform
        Spatial ones. They must pad with 0 or with the least value (``default_pad_value="minimum"``
        or 0; ``padding_mode=0``). The least value is 0 as long as each class is absent, and the
        background sure, in one pixel at least.
    soft, superpixels : sequence of str
        Their names in a Subject; it may lack them. Superpixels are padded with −1, "none".
    background : int
        Index of the class outside of the image.

    Returns
    -------
    torchio.Compose
    """
    # every transform of TorchIO passes over names that a subject lacks
    swaps = [
        tio.Lambda(partial(swap_background, background=background), include=list(soft)),
        tio.Lambda(swap_ids, include=list(superpixels)),
    ]
    return tio.Compose([*swaps, *transforms, *swaps])
