"""Which device a computation runs on: names, what is there, and how much memory it may take.

``cpu`` is the code without torch. Every other name is torch's: ``cuda``, ``cuda:1`` and so on;
``torch-cpu`` stands for the tensor code on torch's CPU device, which is there to test it.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from softlabel.errors import UsageError, missing_extra

if TYPE_CHECKING:
    import torch

CPU, AUTO, TORCH_CPU = "cpu", "auto", "torch-cpu"

MEMORY_SHARE = 0.5
"""Share of a card's free memory that a computation takes at most."""

CPU_MEMORY = 1 << 29
"""Bytes that the tensor code takes at most on torch's CPU device."""


TORCH_TYPES = ("cuda", "xpu", "mps")
"""Kinds of torch devices that the tensor code may be asked to run on."""


class DeviceUnusable(Exception):
    """A device cannot do a computation now; the CPU can do it instead."""


class DoesNotFit(DeviceUnusable):
    """The memory of a device is too small for a computation."""


@contextlib.contextmanager
def failing_makes_unusable(device: torch.device) -> Iterator[None]:
    """Turn what a device raises when it cannot compute into :class:`DeviceUnusable`.

    A driver that is too old, memory that runs out, a library without code for the card: torch has
    many errors for them, all of them RuntimeErrors.
    """
    import torch

    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise DoesNotFit(f"the memory of {device} ran out") from error
    except RuntimeError as error:
        if device.type == "cpu":
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DeviceUnusable(f"{device} cannot do it ({reason})") from error


def streams_of(device: torch.device, count: int) -> SimpleQueue[Any]:
    """Streams of a device to borrow; of one that has none, as many placeholders.

    Always the same few: torch keeps the memory of each stream for that stream alone.
    """
    import torch

    streams: SimpleQueue[Any] = SimpleQueue()
    for _ in range(count):
        streams.put(torch.cuda.Stream(device) if device.type == "cuda" else None)
    return streams


@contextlib.contextmanager
def on_borrowed_stream(streams: SimpleQueue[Any]) -> Iterator[None]:
    """Wait for a stream; what this thread starts on its device goes there until the end."""
    import torch

    stream = streams.get()
    try:
        if stream is None:
            yield
        else:
            with torch.cuda.device(stream.device), torch.cuda.stream(stream):
                yield
    finally:
        streams.put(stream)


def likely_cuda_devices() -> tuple[str, ...]:
    """:func:`cuda_devices`, without importing torch where there is no trace of a card."""
    return cuda_devices() if _card_likely() else ()


def cuda_devices() -> tuple[str, ...]:
    """Names of the CUDA devices that torch sees; none without torch.

    Examples
    --------
    >>> all(name.startswith("cuda:") for name in cuda_devices())
    True
    """
    try:
        import torch
    except ImportError:
        return ()
    return tuple(f"cuda:{i}" for i in range(torch.cuda.device_count()))


def _card_likely() -> bool:
    """Whether there are traces of a driver: importing torch to find none would take seconds."""
    traces = ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/kfd", "/dev/dxg")
    return any(Path(trace).exists() for trace in traces) or bool(shutil.which("nvidia-smi"))


def torch_device(name: str) -> torch.device | None:
    """The torch device of a name; None for the code without torch.

    Parameters
    ----------
    name : str
        ``cpu``, ``torch-cpu``, ``auto`` (the first CUDA device, else ``cpu``) or a device string
        of torch.

    Raises
    ------
    ValueError
        For a name that torch does not know.
    MissingExtraError
        When torch is needed and not installed.
    UsageError
        When the machine has no such device.

    Examples
    --------
    >>> torch_device("cpu") is None
    True
    """
    if name == CPU or (name == AUTO and not likely_cuda_devices()):
        return None
    kind, _, number = name.partition(":")
    if name not in (AUTO, TORCH_CPU) and (
        kind not in TORCH_TYPES or (":" in name and not number.isdecimal())
    ):
        raise ValueError(
            f"device must be cpu, auto, cuda, cuda:N or another device of torch "
            f"({', '.join(TORCH_TYPES)}); got {name!r}."
        )
    try:
        import torch
    except ImportError as error:
        raise missing_extra(f"device={name!r}", "torch", "gpu") from error
    if name == TORCH_CPU:
        return torch.device("cpu")
    device = torch.device("cuda" if name == AUTO else name)
    _check_present(device)
    return device


def _check_present(device: torch.device) -> None:
    import torch

    if device.type != "cuda":
        try:
            torch.empty(1, device=device)
        except (RuntimeError, NotImplementedError, AssertionError, ImportError) as error:
            raise UsageError(
                f"The device {device} was asked for, but torch {torch.__version__} cannot use it "
                "here; use the device cpu."
            ) from error
        return
    count = torch.cuda.device_count()
    if not count:
        build = "was built without CUDA" if torch.version.cuda is None else "sees no CUDA device"
        raise UsageError(
            f"The device {device} was asked for, but torch {torch.__version__} {build}; use the "
            "device cpu, or fix the driver or the installation of torch."
        )
    if device.index is not None and device.index >= count:
        raise UsageError(
            f"The device {device} was asked for, but this machine has {count} CUDA devices; use "
            f"cuda:0 to cuda:{count - 1}."
        )


def memory_budget(device: torch.device) -> int:
    """Bytes that a computation may take now: at most half of what is free on a card."""
    import torch

    if device.type != "cuda":
        return CPU_MEMORY
    with failing_makes_unusable(device):
        free, _ = torch.cuda.mem_get_info(device)
        # what torch keeps for itself without using it is as good as free
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int((free + kept) * MEMORY_SHARE)
