"""Training samples read by many processes: every one is the sample that it should be."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import factories

CASES = tuple(f"s{i}" for i in range(16))


def rows(reads: int = 10_000, workers: tuple[int, ...] = (0, 2, 4)) -> list[dict[str, Any]]:
    """So many reads over the numbers of workers and the ways to start them."""
    from softlabel_train.data import CacheDataset

    ways = [(0, "this process")]
    ways += [(n, way) for n in workers if n for way in ("fork", "spawn", "forkserver")]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        cache = factories.make_cache(Path(folder), CASES)
        for keep_mb in (0, 64):
            dataset = CacheDataset(cache, CASES, crop=(24, 24), seed=3, keep_mb=keep_mb)
            expected = {key: _digest(dataset[key]) for key in _keys(64)}
            for n, way in ways:
                count = -(-reads // (2 * len(ways)))
                wrong = sum(d != expected[k] for k, d in _read(dataset, n, way, count))
                kept = "decoded once" if keep_mb else "read every time"
                found.append(
                    {"samples": kept, "workers": n, "started by": way, "reads": count,
                     "wrong": wrong}
                )  # fmt: skip
                assert not wrong, found[-1]
    return found


def _keys(n: int) -> list[tuple[int, int]]:
    return [(i // len(CASES), i % len(CASES)) for i in range(n)]


def _digest(sample: Any) -> str:
    arrays = (sample.image, sample.labels, sample.entries, sample.values)
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()


def _named(samples: list[Any]) -> list[str]:
    return [_digest(sample) for sample in samples]


def _read(dataset: Any, workers: int, way: str, count: int) -> Iterator[tuple[Any, str]]:
    from torch.utils.data import DataLoader

    keys = [_keys(64)[i % 64] for i in range(count)]
    loader = DataLoader(
        dataset, sampler=keys, batch_size=8, num_workers=workers, collate_fn=_named,
        multiprocessing_context=way if workers else None,
    )  # fmt: skip
    yield from zip(keys, (digest for batch in loader for digest in batch), strict=True)
