"""Which devices a run softens on: those that were named, or the fastest of those measured.

Only paths with identical bytes are compared, so that a cache never depends on the choice.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from softlabel.device import AUTO, CPU, cuda_devices, likely_cuda_devices, torch_device
from softlabel.errors import UsageError
from softlabel.generation.compute import soften_case
from softlabel.generation.device_server import DeviceProcess, device_processes
from softlabel.generation.plan import Plan
from softlabel.softening import method_named
from softlabel.types import Array, Case

START_SECONDS = 15.0
"""What starting a device's process may take: a shorter gain is not worth it."""

TRIALS = 3

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Sample:
    """A case of the run that was computed on the CPU.

    Attributes
    ----------
    case : Case
    superpixels : ndarray of int32, shape (*spatial), or None
    seconds : float
        Reading and computing it took.
    """

    case: Case
    superpixels: Array | None
    seconds: float


@contextlib.contextmanager
def chosen_devices(
    decided: Plan, device: str, jobs: int, sample: Callable[[], Sample | None], say: Say
) -> Iterator[tuple[DeviceProcess, ...]]:
    """Processes of the devices that a run shall use; none for the CPU.

    Parameters
    ----------
    decided : Plan
    device : str
        ``cpu``; ``cuda`` for all cards, or another device by name; ``auto`` to measure.
    jobs : int
        Worker processes.
    sample : callable () -> Sample or None
        Computes a case of the plan; called only when something is measured.
    say : callable
        Receives one sentence: what was chosen and why.

    Raises
    ------
    UsageError
        When there is no such device, or the method does not run on it.
    MissingExtraError
        When it needs torch and that is not installed.
    """
    names = named_devices(decided, device)
    if not names or not decided.todo:
        yield ()
        return
    if device != AUTO or decided.settings.slic_code == "device":
        with device_processes(names) as processes:
            say(f"Softening on {', '.join(names)}.")
            yield processes
        return
    first = sample()
    cpu = _seconds_of(decided, first, None) if first is not None else 0.0
    if first is None or len(decided.todo) * cpu / jobs < START_SECONDS:
        say(f"Softening on the CPU: starting {names[0]} would take longer than it saves.")
        yield ()
        return
    with contextlib.ExitStack() as stack:
        try:
            processes = stack.enter_context(device_processes(names))
        except UsageError as error:
            say(f"Softening on the CPU: {error}")
            yield ()
            return
        seconds = _seconds_of(decided, first, processes[0])
        compared = f"{names[0]} softens a case in {seconds:.4f} s, the CPU in {cpu:.4f} s"
        if device_is_faster(cpu, first.seconds - cpu, seconds / len(names), jobs):
            say(f"Softening on {', '.join(names)}: {compared}.")
            yield processes
            return
    say(f"Softening on the CPU: {compared}, {jobs} at a time.")
    yield ()


def named_devices(decided: Plan, device: str) -> tuple[str, ...]:
    """Names of the devices that are meant; none for the CPU.

    Raises
    ------
    UsageError, MissingExtraError
        As for :func:`chosen_devices`.
    """
    if device == CPU:
        return ()
    on_device = method_named(decided.settings.method).on_device
    if device == AUTO:
        return likely_cuda_devices() if on_device else ()
    if not on_device:
        raise UsageError(
            f"The method {decided.settings.method} runs on the CPU only; leave --device out."
        )
    try:
        torch_device(device)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return cuda_devices() if device == "cuda" else (device,)


def device_is_faster(cpu: float, rest: float, device: float, jobs: int) -> bool:
    """Whether workers that share a device finish more cases than workers without one.

    A worker needs ``rest + cpu`` seconds a case, or ``rest + device``; a device's cases come one
    after the other, which is a limit of its own.

    Parameters
    ----------
    cpu, device : float
        Seconds that softening a case takes on each.
    rest : float
        Seconds of a worker for everything except softening.
    jobs : int
        Workers.

    Examples
    --------
    >>> device_is_faster(cpu=0.1, rest=0.1, device=0.004, jobs=16)
    True
    >>> device_is_faster(cpu=0.1, rest=0.1, device=0.02, jobs=16)
    False
    """
    return device < cpu and device * jobs < rest + cpu


def _seconds_of(decided: Plan, sample: Sample, device: DeviceProcess | None) -> float:
    """Least time of a few trials, after one that does not count; infinite when it cannot."""
    least = float("inf")
    for trial in range(TRIALS + 1):
        started = time.perf_counter()
        _, unusable = soften_case(
            sample.case, sample.superpixels, decided.header, decided.settings, device
        )
        if unusable:
            return float("inf")
        if trial:
            least = min(least, time.perf_counter() - started)
    return least
