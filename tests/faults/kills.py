"""Runs that are killed, interrupted and asked to end, at any moment."""

from __future__ import annotations

import random
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import factories

from faults import runs
from softlabel.cache import parts_folder
from softlabel.cache.verify import verify

STATUS = {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}
"""Exit status of a run that a signal ends. One that is only starting, before it listens to signals,
ends by the signal itself."""


def rows(
    kills: int = 200, signals: int = 30, workers: tuple[int, ...] = (1, 2, 4), n_cases: int = 12
) -> list[dict[str, Any]]:
    """Stop runs until so many were met alive; a row for each signal and number of workers."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        calm = Path(folder, "calm.h5")
        data = runs.data_set(Path(folder), n_cases)
        assert runs.ended(runs.start(data, calm))[0] == 0
        for number in STATUS:
            wanted = kills if number == signal.SIGKILL else signals
            for jobs in workers:
                out = Path(folder, f"{number.name}-{jobs}", "c.h5")
                out.parent.mkdir()
                found.append(_stopped(data, out, calm, number, jobs, -(-wanted // len(workers))))
    return found


def _stopped(
    data: Path, out: Path, calm: Path, number: signal.Signals, jobs: int, wanted: int
) -> dict[str, Any]:
    """Stop so many runs of one kind, then let one end and compare it with an undisturbed one."""
    rng = random.Random(f"{number.name} {jobs}")
    started = time.perf_counter()
    assert runs.ended(runs.start(data, out, jobs))[0] == 0
    took = time.perf_counter() - started
    met = whole = wrong = 0
    while met < wanted:
        for path in sorted(parts_folder(out).glob("*.h5")):
            if rng.random() < 0.5:
                path.unlink()  # so that there is always something to do
        process = runs.start(data, out, jobs)
        time.sleep(rng.uniform(0.2, 0.9) * took)
        process.send_signal(number)
        status, said = runs.ended(process)
        met += status in (STATUS[number], -number)
        whole += status == 0
        assert status in (0, STATUS[number], -number), (status, said)
        wrong += len(runs.wrong_files(out))
    assert runs.ended(runs.start(data, out, jobs))[0] == 0
    other_bytes = factories.files_of(out) != factories.files_of(calm)
    assert not wrong and not other_bytes and not verify(out) and not runs.stray_files(out)
    return {
        "signal": number.name, "workers": jobs, "runs stopped": met, "ended before": whole,
        "damaged parts": wrong, "other bytes than undisturbed": int(other_bytes),
        "stray files": len(runs.stray_files(out)),
    }  # fmt: skip
