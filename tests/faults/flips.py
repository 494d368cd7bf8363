"""Bytes of parts and index that change after they were written.

A fault counts as silent when reading gives other values than before without an error. Bytes that
nothing reads (gaps in the file) change nothing, and are counted as that.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import factories
import h5py

from softlabel.cache import parts_folder
from softlabel.cache.damage import damage
from softlabel.cache.verify import verify
from softlabel.errors import CacheError


def flip_byte(content: bytearray, rng: random.Random) -> bytearray:
    """Change one byte, by one bit or wholly."""
    place = rng.randrange(len(content))
    content[place] ^= rng.choice([1 << rng.randrange(8), rng.randrange(1, 256)])
    return content


def exchange_words(content: bytearray, rng: random.Random) -> bytearray:
    """Turn a word of zeros into one of ones or back, which a Fletcher checksum does not see.

    Where there is none, two neighbouring words change places.
    """
    zero, ones = b"\x00\x00", b"\xff\xff"
    found = [i for i in range(0, len(content) - 1, 2) if content[i : i + 2] in (zero, ones)]
    place = rng.choice(found or range(0, len(content) - 3, 2))
    word = bytes(content[place : place + 2])
    if word in (zero, ones):
        content[place : place + 2] = ones if word == zero else zero
    else:
        content[place : place + 4] = content[place + 2 : place + 4] + word
    return content


def truncate(content: bytearray, rng: random.Random) -> bytearray:
    """Lose the end of a file."""
    return content[: rng.randrange(len(content))]


FAULTS: dict[str, tuple[Callable[[bytearray, random.Random], bytearray], float]] = {
    "a byte": (flip_byte, 0.5),
    "exchanged words": (exchange_words, 0.5),
    "truncated": (truncate, 0.1),
}
"""What is done, and the share of the number of faults that are asked for."""


def rows(count: int = 1000) -> list[dict[str, Any]]:
    """So many flips, and a tenth as many truncations, in parts and in the index."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        cache = factories.make_cache(Path(folder))
        good, bytes_ = factories.read_everything(cache), _files(cache)
        for where in ("a part", "the index"):
            for name, (fault, share) in FAULTS.items():
                rng = random.Random(f"{where} {name}")
                row = {"file": where, "fault": name, "faults": max(1, round(count * share / 2))}
                counts = [
                    _one(cache, good, bytes_, where, fault, rng) for _ in range(row["faults"])
                ]
                found.append(row | {key: sum(c[key] for c in counts) for key in counts[0]})
    for row in found:
        assert row["silent"] == 0 and row["not found by verify"] == 0, row
        assert row["right after a rerun"] == row["faults"], row
    return found


def _files(cache: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in [cache, *sorted(parts_folder(cache).iterdir())]}


def _one(
    cache: Path,
    good: dict[str, Any],
    bytes_: dict[Path, bytes],
    where: str,
    fault: Callable[[bytearray, random.Random], bytearray],
    rng: random.Random,
) -> dict[str, int]:
    """Break one file, look what readers make of it, run again, and put the cache back."""
    path = cache if where == "the index" else rng.choice([p for p in bytes_ if p != cache])
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_bytes(fault(bytearray(bytes_[path]), rng))
    unseen = rng.random() < 0.5  # what a disk does changes no time
    if unseen:
        os.utime(path, ns=times)
    try:
        harmless = factories.same(factories.read_everything(cache), good)
        outcome = "no effect" if harmless else "silent"
    except (CacheError, KeyError):
        outcome = "an error on reading"
    plain = _read_by_h5py(path)
    named = bool(_verified(cache))
    factories.again(cache, check_parts=unseen)
    right = factories.same(factories.read_everything(cache), good) and not verify(cache)
    _put_back(cache, bytes_)
    return {
        "no effect": outcome == "no effect",
        "an error on reading": outcome == "an error on reading",
        "an error by h5py alone": plain,
        "silent": outcome == "silent",
        "found by verify": named,
        "not found by verify": outcome != "no effect" and not named,
        "right after a rerun": right,
    }


def _verified(cache: Path) -> list[object]:
    try:
        return list(verify(cache))
    except CacheError as error:
        return [error]


def _read_by_h5py(path: Path) -> bool:
    """Whether HDF5 itself refuses to read a file."""
    try:
        with h5py.File(path) as file:
            file.visititems(_read_node)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, UnicodeDecodeError):
        return True
    return False


def _read_node(name: str, node: h5py.HLObject) -> None:
    list(node.attrs.values())
    if isinstance(node, h5py.Dataset):
        node[...]


def _put_back(cache: Path, bytes_: dict[Path, bytes]) -> None:
    shutil.rmtree(cache.with_suffix(".parts"))
    for path in bytes_:
        path.parent.mkdir(exist_ok=True)
    parts = [path for path in bytes_ if path != cache]
    for path in (*parts, cache):  # the index last: parts that are younger are looked at
        path.write_bytes(bytes_[path])
    assert not any(damage(path) for path in parts)
