"""One process a device, which softens for all workers of a run.

Reading, superpixels and writing are the work of many CPU processes; a card serves them all. Its
process holds the only CUDA context, so that the card's memory has one owner, and the workers are
its clients: the card works for one while the others read and compress. Two requests are in
the process at a time, on streams of their own, so that one is copied while the other is computed.

A worker sends label map and superpixels and gets the band's values back. When the process cannot
do it (its memory is too small, it died), the worker gets :class:`DeviceUnusable` and does it on
the CPU.

The process runs START with device and socket: it reads a secret from its standard input,
prints the address at which it listens, and ends when its standard input does.

multiprocessing.managers is no substitute: its spawned server runs the caller's script again, which
fails without ``if __name__ == "__main__"`` and for scripts from standard input; loky's workers
cannot load its proxies; it outlives a parent that is killed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np

from softlabel.device import (
    DeviceUnusable,
    memory_budget,
    on_borrowed_stream,
    streams_of,
    torch_device,
)
from softlabel.errors import SoftlabelError, UsageError
from softlabel.softening.superpixel import SuperpixelOptions
from softlabel.softmaps.maps import SoftMaps
from softlabel.superpixels.front import slic
from softlabel.types import Array, ClassTable

if TYPE_CHECKING:
    import torch

AT_ONCE = 2
"""Requests that a device works on at a time, each within its share of the memory."""

THREADS = 2
"""Cores that the process copies and converts with: the workers have the others."""

LONGEST_TEMPORARY = 70
"""Bytes of the temporary folder's path to which a socket's name can be added."""

START = "from softlabel.generation.device_server import main; main()"
ANNOUNCEMENT = "softlabel listens at "
DONE, REFUSED, UNUSABLE = "done", "refused", "unusable"


@dataclass(frozen=True)
class DeviceProcess:
    """Where a device's process listens; can be sent to workers.

    Attributes
    ----------
    device : str
    address : str
    authkey : bytes
        The secret that every client must know.
    """

    device: str
    address: str
    authkey: bytes = field(repr=False)

    def soften(
        self,
        indices: list[Array],
        table: ClassTable,
        superpixels: list[Array],
        spacing: tuple[float, ...],
        scale: float,
        options: SuperpixelOptions,
    ) -> list[SoftMaps]:
        """As :func:`softlabel.softening.tensor.images.soften_images`, there.

        Raises
        ------
        DeviceUnusable
            When it cannot.
        """
        found = self._ask("soften", (indices, table, superpixels, spacing, scale, options))
        return [replace(maps, index=index) for maps, index in zip(found, indices, strict=True)]

    def slic(self, *arguments: Any, **options: Any) -> Array:
        """As :func:`softlabel.slic` with this device, there."""
        return np.asarray(self._ask("slic", (arguments, options)))

    def _ask(self, request: str, arguments: tuple[Any, ...]) -> Any:
        try:
            connection = _connected(self)
            connection.send((request, arguments))
            outcome, answer = connection.recv()
        except (EOFError, OSError, AuthenticationError) as error:
            _connected.cache_clear()
            raise DeviceUnusable(f"the process of {self.device} is gone") from error
        if outcome == REFUSED:
            raise ValueError(answer)
        if outcome == UNUSABLE:
            raise DeviceUnusable(answer)
        return answer


@lru_cache(maxsize=16)
def _connected(process: DeviceProcess) -> Any:
    """This process's connection to a device's; made once."""
    return Client(process.address, authkey=process.authkey)


@contextlib.contextmanager
def device_processes(devices: Sequence[str]) -> Iterator[tuple[DeviceProcess, ...]]:
    """Start a process for each device, and stop them at the end.

    Raises
    ------
    UsageError
        When one does not start.
    """
    started: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(
        prefix="softlabel-", dir=_folder_of_sockets(), ignore_cleanup_errors=True
    ) as folder:
        try:
            keys = [secrets.token_hex(32) for _ in devices]
            for number, (device, key) in enumerate(zip(devices, keys, strict=True)):
                started.append(_start(device, key, Path(folder) / str(number)))
            yield tuple(
                DeviceProcess(device, _address_of(device, process), key.encode())
                for device, process, key in zip(devices, started, keys, strict=True)
            )
        finally:
            _connected.cache_clear()
            for process in started:
                _stop(process)


def _folder_of_sockets() -> str:
    """The temporary folder, or a shorter one: the path of a socket has about 100 bytes."""
    temporary = tempfile.gettempdir()
    if os.name == "posix" and len(os.fsencode(temporary)) > LONGEST_TEMPORARY:
        if not os.access("/tmp", os.W_OK | os.X_OK):
            raise UsageError(
                f"The path of the temporary folder {temporary} is too long for a device's process "
                "to be reached in it; set TMPDIR to a shorter one, or use the device cpu."
            )
        return "/tmp"
    return temporary


def _start(device: str, key: str, socket: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", START, device, str(socket)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C in a terminal is for the parent to act on
    )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it died: reading its address reports that
        process.stdin.write(f"{key}\n".encode())
        process.stdin.flush()
    return process


def _address_of(device: str, process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        text = line.decode(errors="replace").rstrip("\n")
        if text.startswith(ANNOUNCEMENT):
            return text.removeprefix(ANNOUNCEMENT)
    raise UsageError(
        f"The process of the device {device} did not start (status {process.wait()}); see its "
        "messages above, or use the device cpu."
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


# --- in the process -------------------------------------------------------------------------------


def serve(device: str, socket: str) -> None:
    """Answer requests until the standard input ends; the process's whole life.

    Parameters
    ----------
    device : str
    socket : str
        Path of the socket to listen at; Windows has pipes instead, with names of their own.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    authkey = sys.stdin.readline().strip().encode()
    listener = Listener(socket if os.name == "posix" else None, authkey=authkey)
    threading.Thread(target=_end_with_input, args=(listener,), daemon=True).start()
    target = torch_device(device)
    if target is None:
        raise UsageError(f"The device {device} needs no process of its own.")
    work = _requests(device, target)
    streams = streams_of(target, AT_ONCE)
    print(f"{ANNOUNCEMENT}{listener.address}", flush=True)
    while True:
        with contextlib.suppress(AuthenticationError, OSError, EOFError):
            connection = listener.accept()
            threading.Thread(
                target=_answer_all, args=(connection, device, work, streams), daemon=True
            ).start()


def _end_with_input(listener: Listener) -> None:
    folder = Path(str(listener.address)).parent
    sys.stdin.read()
    listener.close()
    with contextlib.suppress(OSError):  # the parent does it, unless it was killed
        folder.rmdir()
    os._exit(0)


def _requests(device: str, target: torch.device) -> dict[str, Callable[..., Any]]:
    """What can be asked for; imports torch and tries the device once, so that later is quick."""
    import torch

    from softlabel.softening.tensor.images import soften_images

    if target.type == "cuda":
        torch.cuda.set_device(target)  # so that no context is made on another card
    torch.set_num_threads(THREADS)
    try:
        share = memory_budget(target) // AT_ONCE
    except DeviceUnusable as error:
        raise UsageError(f"The device {device} was asked for, but {error}.") from error

    run = partial(soften_images, device=target, memory=share)

    def soften(*arguments: Any) -> list[SoftMaps]:
        nothing = np.zeros(0, np.uint8)  # the label map need not travel back
        found = run(*arguments)
        return [replace(maps, index=nothing) for maps in found]

    table = ClassTable.from_values(range(2))
    trial = [np.array([[0, 1, 1], [0, 0, 1]], np.uint8)]
    ids = [np.zeros((2, 3), np.int32)]
    try:
        soften(trial, table, ids, (1.0, 1.0), 1.0, SuperpixelOptions())
    except DeviceUnusable as error:
        raise UsageError(f"The device {device} was asked for, but {error}.") from error
    return {
        "soften": soften,
        "slic": lambda arguments, options: slic(*arguments, **options, device=device, memory=share),
    }


def _answer_all(
    connection: Connection[Any, Any],
    device: str,
    work: dict[str, Callable[..., Any]],
    streams: SimpleQueue[Any],
) -> None:
    """Answer one client until it leaves."""
    with contextlib.suppress(EOFError, OSError), connection:
        while True:
            request, arguments = connection.recv()
            try:
                with on_borrowed_stream(streams):
                    answer = DONE, work[request](*arguments)
            except ValueError as error:
                answer = REFUSED, str(error)
            except DeviceUnusable as error:
                answer = UNUSABLE, str(error)
            except Exception as error:  # the CPU does it instead, and the report gives this reason
                answer = UNUSABLE, f"{type(error).__name__} on {device}: {error}"
            connection.send(answer)


def main() -> None:
    """Run the process: ``START DEVICE SOCKET``."""
    try:
        serve(sys.argv[1], sys.argv[2])
    except SoftlabelError as problem:
        sys.exit(f"Error: {problem}")
