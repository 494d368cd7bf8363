"""Networks of the steps before superpixels, read from files of weights.

A cache records the SHA-256 of the file and not its place, so that whoever has the same file gets
the same images.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from softlabel.errors import UsageError
from softlabel.files.regular import open_regular
from softlabel.generation.settings import Settings
from softlabel.preprocess import (
    LARGEST_WEIGHTS,
    SHIPPED_WEIGHTS,
    DnCNN,
    Plan,
    require_torch,
    unpack_network,
    weights_needed,
)

SHIPPED = Path(__file__).with_name("dncnn_oct.safetensors")
"""The weights that come with softlabel; their SHA-256 is :data:`SHIPPED_WEIGHTS`."""

TOLD_DIGITS = 12


def read_network(path: Path) -> tuple[str, DnCNN]:
    """SHA-256 and network of a file of weights; the file need not be trusted.

    Raises
    ------
    UsageError
        When it is no file of weights, too large, damaged, or of a network that cannot be.
    MissingExtraError
        Without the safetensors library.
    """
    try:
        state = path.stat()
        if not path.is_file():
            raise UsageError(f"The weights {path} are no file; {_EXPECTED}.")
        return _read(path, state.st_mtime_ns, state.st_size)
    except OSError as error:
        raise UsageError(
            f"The weights {path} cannot be read ({error.strerror or error}); {_EXPECTED}."
        ) from error


_EXPECTED = "give a file that softlabel-train denoiser wrote"


@lru_cache(maxsize=4)
def _read(path: Path, mtime_ns: int, size: int) -> tuple[str, DnCNN]:
    """A file is read once in a process for all its cases."""
    with open_regular(path) as file:
        data = file.read(LARGEST_WEIGHTS + 1)
    try:
        network = unpack_network(data)
    except ValueError as error:
        raise UsageError(f"The file {path} {error}; {_EXPECTED}.") from error
    return hashlib.sha256(data).hexdigest(), network


def with_weights(settings: Settings, weights: Path | None) -> Settings:
    """Settings that name the weights of a file.

    Raises
    ------
    UsageError
        When the file cannot be read, or no step takes weights.
    """
    if weights is None:
        return settings
    sha256, _ = read_network(weights)
    options = {**settings.preprocess_options, "weights": sha256}
    return replace(settings, preprocess_options=options)


def networks_for(plan: Plan, weights: Path | None = None) -> dict[str, DnCNN]:
    """The networks that the steps of a plan need, by the SHA-256 of their weights.

    Parameters
    ----------
    plan : tuple of PlannedStep
    weights : Path, optional
        The file of those that do not come with softlabel.

    Raises
    ------
    UsageError
        When a file cannot be read, or is not the one that the steps name.
    MissingExtraError
        Without torch or the safetensors library.
    """
    needed = weights_needed(plan)
    if not needed:
        return {}
    require_torch()
    networks = {}
    for sha256 in needed:
        path = weights if sha256 != SHIPPED_WEIGHTS else SHIPPED
        named = f"the weights {sha256[:TOLD_DIGITS]}… (SHA-256)"
        if path is None:
            raise UsageError(f"The denoiser dncnn needs {named}; give their file as --weights.")
        found, network = read_network(path)
        if found != sha256:
            raise UsageError(
                f"The denoiser dncnn needs {named}, and {path} has {found[:TOLD_DIGITS]}…; give "
                "the file that was named first."
            )
        networks[sha256] = network
    return networks
