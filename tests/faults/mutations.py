"""Ways in which a file is damaged, or written by somebody who means harm."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HEAD_BYTES = 512
"""Headers lie there: half of the changes are made to them."""

EXTREMES = tuple(map(bytes.fromhex, ("00000000", "ffffffff", "7fffffff", "ffffff7f", "0000c07f")))
"""Zero, −1, the largest number in either byte order, and NaN."""

VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 10**30, 10**400, 1e308, float("nan"), float("inf"), "", "x" * 3000, "../x",
    "/dev/zero", "a\0b", "\ud800", "\x1b[2J\n", [], {}, [[]], [None], {"x": None}, "-1", "9" * 5000,
)  # fmt: skip
"""What somebody may write in place of any value of a JSON text."""


def mutated(content: bytes, name: str, random: random.Random) -> bytes:
    """A file with one to three changes; in JSON, YAML and checkpoints mostly of one value."""
    ending = Path(name).suffix
    if ending == ".h5" and random.random() < 0.75:  # else HDF5's checksums find nearly all
        return _other_hdf5(content, random)
    if ending in _STRUCTURED and random.random() < 0.75:
        read, write = _STRUCTURED[ending]
        return write(_other_value(read(content), random))
    if content[:2] == b"\x1f\x8b" and random.random() < 0.6:  # else its checksum finds them all
        return gzip.compress(mutated(gzip.decompress(content), "", random), 1)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        content = random.choice(CHANGES)(content, random)
    return content


def _read_yaml(content: bytes) -> Any:
    import yaml

    return yaml.safe_load(content)


def _write_yaml(content: Any) -> bytes:
    import yaml

    return yaml.safe_dump(content).encode()


def _read_torch(content: bytes) -> Any:
    import torch

    return torch.load(io.BytesIO(content), weights_only=True)


def _write_torch(content: Any) -> bytes:
    import torch

    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


_STRUCTURED: dict[str, tuple[Callable[[bytes], Any], Callable[[Any], bytes]]] = {
    ".json": (json.loads, lambda content: json.dumps(content).encode()),
    ".yaml": (_read_yaml, _write_yaml),
    ".pt": (_read_torch, _write_torch),
}


def _other_value(content: Any, random: random.Random) -> Any:
    """The content with one value exchanged, at any depth."""
    if not isinstance(content, dict | list) or not content or random.random() < 0.15:
        return random.choice(VALUES)
    if isinstance(content, dict):
        key = random.choice(list(content))
        if random.random() < 0.1:
            return {k: v for k, v in content.items() if k != key}
        return {**content, key: _other_value(content[key], random)}
    at = random.randrange(len(content))
    return [*content[:at], _other_value(content[at], random), *content[at + 1 :]]


def _other_hdf5(content: bytes, random: random.Random) -> bytes:
    """An attribute or a dataset exchanged, with its seal."""
    import h5py

    from softlabel.cache.digest import index_digest
    from softlabel.cache.files import DAMAGE, put_text
    from softlabel.cache.schema import DIGEST

    stream = io.BytesIO(content)
    with h5py.File(stream, "r+") as file:
        nodes = [file]
        file.visititems(lambda name, node: nodes.append(node))  # not through links to parts
        node = random.choice(nodes)
        if node.attrs and random.random() < 0.6:
            name = random.choice(sorted(node.attrs))
            value = _other_attribute(node.attrs[name], random)
            del node.attrs[name]
            if value is not None:
                node.attrs[name] = value
        elif isinstance(node, h5py.Dataset):
            _exchange(file, node, random)
        elif node.name != "/":
            del file[node.name]
        if "cases" in file and random.random() < 0.7:  # as a faulty writer would seal it
            with contextlib.suppress(*DAMAGE):
                put_text(file["cases"], DIGEST, index_digest(file))
    return stream.getvalue()


def _other_attribute(value: Any, random: random.Random) -> Any:
    texts = (b"", b"x" * 1000, b"{}", b"[" * 5000, b"9" * 5000, b"\xff\xfe", b'{"a": NaN}', b"../x")
    numbers = (-1, 0, 2**63 - 1, -(2**63), 10**6)
    if isinstance(value, bytes | str) and random.random() < 0.7:
        try:
            return json.dumps(_other_value(json.loads(value), random))[:60_000].encode()
        except ValueError:
            return np.bytes_(random.choice(texts) or b"\0")
    return random.choice(
        (None, np.int64(random.choice(numbers)), np.float64("nan"), np.zeros((3, 0)),
         np.full(np.shape(value) or (1,), np.inf), np.arange(5000), ["a", "b"] * 50,
         np.bytes_(random.choice(texts) or b"\0"))
    )  # fmt: skip


def _exchange(file: Any, dataset: Any, random: random.Random) -> None:
    """Another dataset in the place of one, sealed as ours are."""
    from softlabel.cache.files import create, seal, store

    name, shape, dtype = dataset.name.strip("/"), dataset.shape, dataset.dtype
    values = dataset[...]
    del file[name]
    change = random.choice(("none", "values", "type", "shape", "empty", "huge", "group"))
    if change == "values" and dtype.kind in "iuf":
        extreme = random.choice((0, 1, np.iinfo("i1").max, -1 if dtype.kind == "i" else 3))
        values = np.where(np.random.default_rng(0).random(shape) < 0.2, dtype.type(extreme), values)
    elif change == "values":
        values = np.full(shape, b"\xff\x1b[2J", dtype)
    elif change == "type":
        values = np.zeros(shape, random.choice(("f8", "i1", "u8", "S3", "c8", "?")))
    elif change == "shape":
        values = np.zeros(random.choice(((1,), (2, 3, 4), (1,) * 7, (5000,))), dtype)
    if change in ("empty", "huge"):
        size = 3 if change == "empty" else 1 << 30
        seal(
            create(
                file, name, (size,) * max(1, len(shape)), dtype, (2,) * max(1, len(shape)), "zstd"
            )
        )
    elif change == "group":
        file.create_group(name)
    elif change != "none":
        store(file, name, values, tuple(max(1, n) for n in values.shape), "zstd")


def _position(content: bytes, random: random.Random, length: int = 1) -> int:
    stop = len(content) if random.random() < 0.5 else min(len(content), HEAD_BYTES)
    return random.randrange(max(1, stop - length + 1))


def _cut(content: bytes, random: random.Random) -> bytes:
    return content[: _position(content, random)]


def _flip(content: bytes, random: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(random.choice((1, 2, 8, 64))):
        if changed:
            changed[_position(content, random)] ^= 1 << random.randrange(8)
    return bytes(changed)


def _swap(content: bytes, random: random.Random) -> bytes:
    length = random.choice((2, 4, 8, 64))
    a, b = sorted(_position(content, random, length) for _ in range(2))
    if a + length > b:
        return content
    return (
        content[:a] + content[b : b + length] + content[a + length : b]
        + content[a : a + length] + content[b + length :]
    )  # fmt: skip


def _extreme(content: bytes, random: random.Random) -> bytes:
    at = _position(content, random, 4) // 4 * 4
    return content[:at] + random.choice(EXTREMES) + content[at + 4 :]


def _repeat(content: bytes, random: random.Random) -> bytes:
    at, length = _position(content, random), random.choice((1, 16, 256))
    return content[: at + length] * random.choice((1, 2, 50)) + content[at:]


def _erase(content: bytes, random: random.Random) -> bytes:
    at, length = _position(content, random), random.choice((1, 4, 100, 4000))
    return content[:at] + b"\0" * len(content[at : at + length]) + content[at + length :]


def _digits(content: bytes, random: random.Random) -> bytes:
    """A number of a text made longer."""
    places = [at for at, byte in enumerate(content[: 1 << 16]) if byte in b"0123456789"]
    at = random.choice(places) if places else 0
    return content[:at] + b"9" * random.choice((1, 9, 20, 5000)) + content[at:]


CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _cut, _flip, _flip, _swap, _extreme, _extreme, _repeat, _erase, _digits,
)  # fmt: skip
