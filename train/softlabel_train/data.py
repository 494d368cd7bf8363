"""From a cache to batches on the training device.

Loader processes read cases in compact form (:mod:`softlabel_train.compact`), cut and mirror them,
and send these few bytes; :meth:`Batch.expand` makes dense float maps of them on
the device. A dense map would be eight times as much to move, which is what limits a loader.

A training sample is named by (epoch, index): what is drawn for it depends on nothing else.
"""

from __future__ import annotations

import math
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from softlabel.cache import Cache, CachedCase, open_cache
from softlabel.errors import UsageError
from softlabel.softmaps import ignored_index, index_dtype
from softlabel.types import Array
from softlabel_train.augment import Change, apply_intensity, apply_places, draw_change
from softlabel_train.compact import CompactCase, nth_position, read_compact, window
from softlabel_train.config import AugmentConfig
from softlabel_train.kept import KeptCases

KEEP_MB = 4096
"""Compact cases that are kept for all loader processes, so that each case is decoded once."""
LONGEST_TEMPORARY = 70
"""Characters; sockets below it have names of about 34 more, and may have 107."""
KEEP_DENSE_MB = 1024
"""Cases whose dense soft maps are larger are never read whole, only patch by patch."""


@dataclass(frozen=True)
class Intensity:
    """Mean and deviation of each channel; images are normalised to (image − mean) / deviation.

    Attributes
    ----------
    mean, deviation : tuple of float
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def of(cls, statistics: Sequence[Mapping[str, Any]]) -> Intensity:
        """From ``pixels``, ``intensity_sum`` and ``intensity_sum_squares`` of cases or groups."""
        n = sum(float(s["pixels"]) for s in statistics)
        total = sum(np.asarray(s["intensity_sum"], np.float64) for s in statistics)
        squares = sum(np.asarray(s["intensity_sum_squares"], np.float64) for s in statistics)
        mean = np.asarray(total) / max(n, 1)
        variance = np.maximum(np.asarray(squares) / max(n, 1) - mean**2, 0)
        deviation = np.sqrt(variance)
        # a channel without contrast is left at zero instead of being blown up
        deviation[deviation < 1e-6 * np.maximum(1, np.abs(mean))] = 1
        return cls(tuple(map(float, mean)), tuple(map(float, deviation)))


@dataclass(frozen=True, eq=False)
class Sample:
    """One image, cut and mirrored, with its labels in compact form.

    Attributes
    ----------
    id : str
    image : ndarray, shape (C, *spatial)
        In the type of the cache.
    labels : ndarray of uint8 or uint16, shape (*spatial)
        Class indices; the largest value of the type where ignored.
    n_classes : int
    on, off : float
        Soft label of a pixel without entries in its own class and in the others.
    entries : ndarray of int32 or int64
        Positions in the flattened dense soft map (K, *spatial) …
    values : ndarray of float32
        … and the soft labels there.
    intensity : Intensity
    change : Change
    """

    id: str
    image: Array
    labels: Array
    n_classes: int
    on: float
    off: float
    entries: Array
    values: npt.NDArray[np.float32]
    intensity: Intensity
    change: Change


def require_axes(key: str, size: Sequence[float] | None, dims: int, images: str) -> None:
    """Refuse a size for more or fewer axes than the images have.

    Raises
    ------
    UsageError
    """
    if size is not None and len(size) != dims:
        raise UsageError(
            f"{key} is {list(size)} and {images} have {dims} spatial axes; give {dims} numbers."
        )


class CacheDataset(Dataset[Sample]):
    """Cases of a cache as training samples.

    Parameters
    ----------
    cache : path or Cache
    ids : sequence of str
    crop : sequence of int, optional
        Size of random crops; None gives whole images. Beyond the image's border pixels are
        ignored.
    balance : float, optional
        Share of crops that are centred on a pixel of a class drawn with equal chance among those
        of the case.
    augment : AugmentConfig, optional
    seed : int
    intensity : Intensity, optional
        Normalisation of every case; by default each case has its own.
    keep_mb : int
        Size of the compact cases that are kept in the system's temporary folder for all
        processes that load (:mod:`softlabel_train.kept`); 0 decodes every case anew every time.
    verify : bool
        Compare what is read with its digests, see :func:`softlabel.open_cache`; a cache that is
        open already was opened with or without.
    raters : sequence of str, optional
        Label maps of which one is drawn for every sample: its hard labels take the place of the
        hard and of the soft labels. Default: those of the cache.

    Attributes
    ----------
    kept : KeptCases
        The compact cases that are kept.

    Raises
    ------
    UsageError
        When a crop has another number of axes than the images.

    Notes
    -----
    ``dataset[i]`` is sample ``i`` of epoch 0, ``dataset[epoch, i]`` that of another epoch. Files
    are opened on first use in every process; the object can be pickled and survives forks.
    """

    def __init__(
        self,
        cache: str | os.PathLike[str] | Cache,
        ids: Sequence[str],
        *,
        crop: Sequence[int] | None = None,
        balance: float | None = None,
        augment: AugmentConfig | None = None,
        seed: int = 0,
        intensity: Intensity | None = None,
        keep_mb: int = KEEP_MB,
        verify: bool = True,
        raters: Sequence[str] = (),
    ) -> None:
        self.cache = cache if isinstance(cache, Cache) else open_cache(Path(cache), verify=verify)
        self.ids = tuple(ids)
        self.crop = None if crop is None else tuple(int(n) for n in crop)
        self.balance = float(balance or 0)
        self.augment = augment or AugmentConfig()
        self.seed = int(seed)
        self.intensity = intensity
        self.kept = KeptCases(keep_mb)
        self.raters = tuple(raters)
        if self.ids:
            dims = len(self.cache[self.ids[0]].shape)
            require_axes("data.crop", self.crop, dims, f"the images of {self.cache.path}")

    @property
    def ignore_index(self) -> int:
        """Value of ignored pixels in the labels of a sample; padding is ignored too."""
        return ignored_index(index_dtype(len(self.cache.classes)))

    def as_dicts(self) -> DictDataset:
        """The same samples as dictionaries, for loops of others."""
        return DictDataset(self)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, key: int | tuple[int, ...]) -> Sample:
        epoch, index, *again = key if isinstance(key, tuple) else (0, key)
        if not -len(self) <= index < len(self):
            raise IndexError(f"There are {len(self)} samples; got {index}.")
        case = self.cache[self.ids[index]]
        rng = np.random.default_rng([self.seed, epoch, index % len(self), *again])
        start, shape = self._place(case, rng)
        change = draw_change(self.augment, shape, rng, case.slice_axis)
        # drawn last, so that everything else is as it is without raters
        rater = self.raters[rng.integers(len(self.raters))] if self.raters else None
        compact, offset = self._compact(case, start, shape, rater)
        return self._sample(case, compact, [s - o for s, o in zip(start, offset, strict=True)],
                            shape, change)  # fmt: skip

    def _place(
        self, case: CachedCase, rng: np.random.Generator
    ) -> tuple[list[int], tuple[int, ...]]:
        """First pixel and size of the patch."""
        full = case.shape
        if self.crop is None:
            return [0] * len(full), full
        if rng.random() < self.balance and (centre := self._pixel_of_a_class(case, rng)):
            # the pixel is in the middle, as far as the image reaches
            start = [c - m // 2 for c, m in zip(centre, self.crop, strict=True)]
            start = [
                min(max(s, min(0, n - m)), max(0, n - m))
                for s, n, m in zip(start, full, self.crop, strict=True)
            ]
        else:
            start = [
                int(rng.integers(min(0, n - m), max(0, n - m) + 1))
                for n, m in zip(full, self.crop, strict=True)
            ]
        return start, self.crop

    def _pixel_of_a_class(
        self, case: CachedCase, rng: np.random.Generator
    ) -> tuple[int, ...] | None:
        present = np.flatnonzero(case.statistics["class_pixels"])
        if not len(present):
            return None
        k = rng.choice(present)
        kept = self.kept.get(case.id)
        values, value = (
            (case.labels[...], self.cache.classes.values[k]) if kept is None else (kept.index, k)
        )
        nth = int(rng.integers(np.count_nonzero(values == value)))
        place = np.unravel_index(nth_position(values, value, nth), case.shape)
        return tuple(int(i) for i in place)

    def _compact(
        self, case: CachedCase, start: Sequence[int], shape: Sequence[int], rater: str | None
    ) -> tuple[CompactCase, list[int]]:
        """The case or the part of it around a patch, and where that part begins."""
        origin = [0] * len(shape)
        key = case.id if rater is None else f"{case.id}\n{rater}"  # no id has a line break
        if (kept := self.kept.get(key)) is not None:
            return kept, origin
        classes, ignore = self.cache.classes, self.cache.ignore
        small = 4 * math.prod(case.soft.shape) <= KEEP_DENSE_MB << 20
        if small and self.kept.has_room():
            whole = read_compact(case, classes, ignore, rater=rater)
            return self.kept.keep(key, whole), origin
        low = [max(0, s) for s in start]
        high = [min(n, s + m) for n, s, m in zip(case.shape, start, shape, strict=True)]
        where = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        return read_compact(case, classes, ignore, where, rater), low

    def _sample(
        self,
        case: CachedCase,
        compact: CompactCase,
        start: Sequence[int],
        shape: Sequence[int],
        change: Change,
    ) -> Sample:
        entries, values = compact.entries(start, shape, change.flip)
        return Sample(
            case.id,
            window(compact.image, start, shape, "edge", change.flip),
            window(compact.index, start, shape, self.ignore_index, change.flip),
            compact.n_classes,
            compact.on,
            compact.off,
            entries,
            values,
            self.intensity or Intensity.of([case.statistics]),
            change,
        )


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples of a batch in compact form, ready to be moved.

    Attributes
    ----------
    ids : tuple of str
    image : Tensor, shape (B, C, *spatial)
        In the type of the cache.
    labels : Tensor of uint8 or int32, shape (B, *spatial)
        Class indices; ``ignore`` where ignored.
    n_classes, ignore : int
    on, off : tuple of float
        One for each sample; see :class:`Sample`.
    entries : Tensor of int32 or int64
        Positions in the flattened dense soft maps (B, K, *spatial).
    values : Tensor of float32
    mean, deviation : Tensor of float32, shape (B, C)
    changes : tuple of Change
    """

    ids: tuple[str, ...]
    image: Tensor
    labels: Tensor
    n_classes: int
    ignore: int
    on: tuple[float, ...]
    off: tuple[float, ...]
    entries: Tensor
    values: Tensor
    mean: Tensor
    deviation: Tensor
    changes: tuple[Change, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def nbytes(self) -> int:
        """Bytes that are moved to the device."""
        return sum(t.nbytes for t in (self.image, self.labels, self.entries, self.values))

    def to(self, device: torch.device | str) -> Batch:
        """The batch on a device, still compact."""
        return self._each(lambda t: t.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory; a :class:`DataLoader` calls this."""
        return self._each(lambda t: t.pin_memory())

    def _each(self, function: Any) -> Batch:
        names = ("image", "labels", "entries", "values", "mean", "deviation")
        return replace(self, **{name: function(getattr(self, name)) for name in names})

    def expand(self, out: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Dense tensors for a training step, on the device that the batch is on.

        Parameters
        ----------
        out : Tensor of float32, shape (B, K, *spatial), optional
            Memory for the soft labels; on a CPU fresh pages cost more than writing them.

        Returns
        -------
        image : Tensor of float32, shape (B, C, *spatial)
            Normalised and changed.
        labels : Tensor, shape (B, *spatial)
            Class indices; ``ignore`` where ignored.
        soft : Tensor of float32, shape (B, K, *spatial)
            0 where ignored.
        """
        view = (*self.mean.shape, *[1] * (self.image.ndim - 2))
        image = (self.image.float() - self.mean.view(view)) / self.deviation.view(view)
        labels, soft = self.labels, self.expand_soft(out)
        image, labels, soft = apply_places(image, labels, soft, self.changes, self.ignore)
        return apply_intensity(image, self.changes), labels, soft

    def expand_soft(self, out: Tensor | None = None) -> Tensor:
        """The dense soft labels, float32 (B, K, *spatial), before any warp."""
        shape = (len(self), self.n_classes, *self.labels.shape[1:])
        if out is None or out.shape != shape or out.device != self.labels.device:
            out = torch.empty(shape, dtype=torch.float32, device=self.labels.device)
        classes = torch.arange(self.n_classes, dtype=self.labels.dtype, device=out.device)
        classes = classes.view(1, -1, *[1] * (len(shape) - 2))
        torch.eq(self.labels.unsqueeze(1), classes, out=out)
        if any(self.off):
            view = (-1, *[1] * (len(shape) - 1))
            on = torch.tensor(self.on, dtype=torch.float32).to(out.device).view(view)
            off = torch.tensor(self.off, dtype=torch.float32).to(out.device).view(view)
            known = (self.labels != self.ignore).unsqueeze(1)
            out.copy_(torch.where(out > 0, on, off) * known)
        out.view(-1)[self.entries.long()] = self.values
        return out


def collate(samples: Sequence[Sample]) -> Batch:
    """Put samples together; smaller ones are padded at their end with ignored pixels."""
    shapes = {s.labels.shape for s in samples}
    if len(shapes) > 1:
        largest = tuple(max(n) for n in zip(*shapes, strict=True))
        samples = [_padded(s, largest) for s in samples]
    first = samples[0]
    size = first.n_classes * math.prod(first.labels.shape)
    wide = size * len(samples) >= 2**31
    entries = [s.entries.astype(np.int64 if wide else np.int32) + i * size
               for i, s in enumerate(samples)]  # fmt: skip
    labels = np.stack([s.labels for s in samples])
    return Batch(
        ids=tuple(s.id for s in samples),
        image=torch.from_numpy(_torch_ready(np.stack([s.image for s in samples]))),
        labels=torch.from_numpy(labels if labels.dtype == np.uint8 else labels.astype(np.int32)),
        n_classes=first.n_classes,
        ignore=ignored_index(labels.dtype),
        on=tuple(s.on for s in samples),
        off=tuple(s.off for s in samples),
        entries=torch.from_numpy(np.concatenate(entries)),
        values=torch.from_numpy(np.concatenate([s.values for s in samples])),
        mean=torch.tensor([s.intensity.mean for s in samples], dtype=torch.float32),
        deviation=torch.tensor([s.intensity.deviation for s in samples], dtype=torch.float32),
        changes=tuple(s.change for s in samples),
    )


def _padded(sample: Sample, shape: tuple[int, ...]) -> Sample:
    old = sample.labels.shape
    start, flip = [0] * len(shape), [False] * len(shape)
    where = np.unravel_index(sample.entries, (sample.n_classes, *old))
    return replace(
        sample,
        image=window(sample.image, start, shape, "edge", flip),
        labels=window(sample.labels, start, shape, ignored_index(sample.labels.dtype), flip),
        entries=np.ravel_multi_index(where, (sample.n_classes, *shape)),
    )


def _torch_ready(image: Array) -> Array:
    """The array in a type that every torch device knows."""
    if image.dtype in (np.uint16, np.uint32, np.uint64) or image.dtype.kind not in "uif":
        return image.astype(np.float32)
    return image.astype(image.dtype.newbyteorder("="), copy=False)


class DictDataset(Dataset[dict[str, Any]]):
    """Samples as dictionaries of dense tensors, which the default collate functions of torch and
    MONAI put together. :func:`make_loader` moves less, and changes images on the device.

    Parameters
    ----------
    samples : CacheDataset
        With a crop, or of images of one size: batches need it.

    Notes
    -----
    A sample has ``id``; ``image`` float32 (C, *spatial), normalised and augmented; ``label`` int64
    (1, *spatial), class indices and ``ignore_index`` of the data set; ``soft`` float32
    (K, *spatial), 0 where ignored. Keys are those of :class:`CacheDataset`.
    """

    def __init__(self, samples: CacheDataset) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: int | tuple[int, ...]) -> dict[str, Any]:
        sample = self.samples[key]
        image, labels, soft = collate([sample]).expand()
        return {"id": sample.id, "image": image[0], "label": labels.long(), "soft": soft[0]}


class StepSampler(Sampler[list[tuple[int, ...]]]):
    """The batches of a whole run as lists of (epoch, index), from any step on.

    An epoch here is a pass over the samples, however long ``train.epoch_steps`` is: batches do not
    depend on when a run validates. Every epoch is a new permutation, drawn from (seed, epoch). The
    last batch of an epoch is filled up with the first samples of the same permutation, drawn
    differently, so that all batches are full. With several processes each one takes its share of
    every batch.

    Parameters
    ----------
    n : int
        Samples of an epoch.
    batch_size : int
        Over all processes.
    steps : int
        Of the whole run.
    seed : int
    first_step : int
        Steps that are done.
    rank, world : int
        This process and their number.

    Raises
    ------
    UsageError
        When there is nothing to draw from, or nothing to draw.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        steps: int,
        *,
        seed: int = 0,
        first_step: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        for name, number in (("n", n), ("batch_size", batch_size), ("world", world)):
            if number < 1:
                raise UsageError(
                    f"{name} of a StepSampler must be at least 1; got {number}"
                    + ("; give a data set that holds samples." if name == "n" else ".")
                )
        if batch_size % world:
            raise UsageError(
                f"data.batch_size is {batch_size}, which {world} processes cannot share evenly; "
                f"use a multiple of {world}."
            )
        self.n, self.batch_size, self.steps, self.seed = n, batch_size, steps, seed
        self.first_step, self.rank, self.world = first_step, rank, world

    @property
    def steps_per_epoch(self) -> int:
        """Batches until every sample was seen."""
        return -(-self.n // self.batch_size)

    def __len__(self) -> int:
        return max(0, self.steps - self.first_step)

    def __iter__(self) -> Iterator[list[tuple[int, ...]]]:
        for step in range(self.first_step, self.steps):
            yield self.batch(step)[self.rank :: self.world]

    def batch(self, step: int) -> list[tuple[int, ...]]:
        """All samples of a step, over all processes."""
        epoch, position = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(self.n)
        first = position * self.batch_size
        keys = []
        for i in range(first, first + self.batch_size):
            rounds, place = divmod(i, self.n)
            keys.append((epoch, int(order[place]), *([rounds] if rounds else [])))
        return keys


def _leave_signals_to_the_parent(worker: int) -> None:
    """Ctrl-C and requests to terminate may reach every process; the training process decides
    when its loaders stop."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def make_loader(
    dataset: CacheDataset, sampler: StepSampler, *, workers: int = 0, pin_memory: bool = False
) -> DataLoader[Batch]:
    """Load the sampler's batches, in order, in ``workers`` processes (0: in this one).

    Raises
    ------
    UsageError
        When the path of the temporary folder is too long for the sockets of several processes.
    """
    temporary = tempfile.gettempdir()
    if workers and os.name == "posix" and len(os.fsencode(temporary)) > LONGEST_TEMPORARY:
        # a batch would be lost, and the loader wait for it for ever
        raise UsageError(
            f"The path of the temporary folder {temporary} is too long for processes to share "
            "batches; set TMPDIR to a shorter one, or data.workers=0."
        )
    return DataLoader(
        dataset,  # type: ignore[arg-type]  # collate_fn turns its samples into batches
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=_leave_signals_to_the_parent,
        pin_memory=pin_memory,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
        # Its own, since starting an iterator draws from the generator that dropout uses too, and
        # a run that goes on starts one more.
        generator=torch.Generator(),
    )
