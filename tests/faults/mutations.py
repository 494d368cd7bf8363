"""Ways in which a file is damaged, or written by somebody who means harm."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from typing import Any

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
    """A file with one to three changes, in JSON mostly of its values."""
    if name.endswith(".json") and random.random() < 0.75:
        return json.dumps(_other_value(json.loads(content), random)).encode()
    if content[:2] == b"\x1f\x8b" and random.random() < 0.6:  # else its checksum finds them all
        return gzip.compress(mutated(gzip.decompress(content), "", random), 1)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        content = random.choice(CHANGES)(content, random)
    return content


def _other_value(content: Any, random: random.Random) -> Any:
    """The content with one value exchanged, at any depth."""
    if not content or not isinstance(content, dict | list) or random.random() < 0.15:
        return random.choice(VALUES)
    if isinstance(content, dict):
        key = random.choice(list(content))
        if random.random() < 0.1:
            return {k: v for k, v in content.items() if k != key}
        return {**content, key: _other_value(content[key], random)}
    at = random.randrange(len(content))
    return [*content[:at], _other_value(content[at], random), *content[at + 1 :]]


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
