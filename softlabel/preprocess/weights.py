"""The weights of a DnCNN as the bytes of a safetensors file, and back.

Tensors ``NUMBER.kernel`` and ``NUMBER.bias`` of each convolution, and ``softlabel_dncnn`` in the
metadata: a JSON object of ``format_version`` and the fields of :class:`DnCNNSettings`. It is the
only entry, since the library writes several in any order, and the same network shall have the same
bytes. Bytes of others are not trusted: the library checks that tensors lie within them, and every
shape and number is checked before a network is made of them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from importlib.util import find_spec
from typing import Any

import numpy as np

from softlabel.errors import missing_extra
from softlabel.preprocess.dncnn import DnCNN, DnCNNSettings
from softlabel.types import Array

ENTRY, FORMAT_VERSION = "softlabel_dncnn", 1

LARGEST_WEIGHTS = 64 << 20
"""Bytes of a file of weights at most; the largest network of the paper has 3 MB."""

LARGEST_HEADER = 1 << 20


def require_safetensors() -> None:
    """Refuse early what needs the library where it is not.

    Raises
    ------
    MissingExtraError
    """
    if find_spec("safetensors") is None:
        raise missing_extra("The denoiser dncnn", "safetensors", "dncnn")


def pack_network(network: DnCNN) -> bytes:
    """The bytes of a safetensors file of a network."""
    require_safetensors()
    from safetensors.numpy import save

    tensors: dict[str, Array] = {}
    for number, (kernel, bias) in enumerate(network.layers):
        # the library writes memory as it lies, whatever the strides are
        tensors[f"{number:02d}.kernel"] = np.ascontiguousarray(kernel)
        tensors[f"{number:02d}.bias"] = np.ascontiguousarray(bias)
    about = {"format_version": FORMAT_VERSION, **asdict(network.settings)}
    return bytes(save(tensors, {ENTRY: json.dumps(about, sort_keys=True)}))


def unpack_network(data: bytes) -> DnCNN:
    """The network of the bytes of a safetensors file.

    Parameters
    ----------
    data : bytes
        At most :data:`LARGEST_WEIGHTS`.

    Raises
    ------
    ValueError
        When they are no such file, in a clause that fits behind the name of the file.
    MissingExtraError
        Without the safetensors library.
    """
    require_safetensors()
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if len(data) > LARGEST_WEIGHTS:
        raise ValueError(f"has more than {LARGEST_WEIGHTS} bytes")
    settings = _settings(data)
    try:
        tensors = load(data)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ValueError(f"is damaged ({error})") from error
    names = [f"{n:02d}.{part}" for n in range(settings.depth) for part in ("kernel", "bias")]
    if set(tensors) != set(names):
        wrong = sorted(set(tensors) ^ set(names))[0][:40]
        raise ValueError(f"has not the tensors that its settings say, as for {wrong!r}")
    layers = tuple(zip(*(map(tensors.__getitem__, names[i::2]) for i in (0, 1)), strict=True))
    try:
        return DnCNN(settings, layers)
    except ValueError as error:
        raise ValueError(f"is of another network than it says: {error}") from error


def _settings(data: bytes) -> DnCNNSettings:
    """The settings in the metadata; the library gives tensors only."""
    about = _metadata(data)
    if ENTRY not in about:
        raise ValueError("is no file of softlabel's DnCNN weights")
    try:
        given = dict(json.loads(about[ENTRY]))
        version = given.pop("format_version", None)
        if version != FORMAT_VERSION:
            raise ValueError(
                f"their format version is {str(version)[:20]}, this version reads {FORMAT_VERSION}"
            )
        names = {f.name for f in fields(DnCNNSettings)}
        if set(given) != names:
            raise ValueError(f"they are not exactly {', '.join(sorted(names))}")
        return DnCNNSettings(**given)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"has settings that cannot be ({str(error)[:200]})") from error


def _metadata(data: bytes) -> dict[str, Any]:
    """Of a safetensors file: 8 bytes with the length of a JSON header, the header, the tensors."""
    length = int.from_bytes(data[:8], "little")
    if not 2 <= length <= min(LARGEST_HEADER, len(data) - 8):
        raise ValueError("is no safetensors file")
    try:
        about = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    except (ValueError, AttributeError, RecursionError) as error:
        raise ValueError("is no safetensors file") from error
    return about if isinstance(about, dict) else {}
