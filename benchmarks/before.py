"""An earlier revision of softlabel, to measure the present one against in the same run.

The revision is taken out of the repository's history into a temporary folder, and runs there in a
process of its own with the same Python and the same libraries.
"""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import THREADS

FIRST = "00d64c7"
"""softlabel 0.1.0."""

ROOT = Path(__file__).parents[1]

SERVER = """
import hashlib, json, sys, time
import numpy as np
import softlabel

def arrays_of(found):
    if isinstance(found, np.ndarray):
        return [found]
    return [found.values, found.block_class.astype(np.int64)]

for line in sys.stdin:
    request = json.loads(line)
    arrays = [np.load(path) for path in request["arrays"]]
    call = getattr(softlabel, request["name"])
    wall, cpu = time.perf_counter(), time.process_time()
    found = call(*arrays, **request["options"])
    times = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    digest = hashlib.sha256()
    for array in arrays_of(found):
        digest.update(np.ascontiguousarray(array).tobytes())
    print(json.dumps(times | {"digest": digest.hexdigest()}), flush=True)
"""


@contextmanager
def source_of(revision: str) -> Iterator[Path]:
    """A folder with the source of a revision, as long as it is needed.

    Raises
    ------
    LookupError
        The repository does not have the revision: a copy without history, for one.
    """
    made = subprocess.run(
        ["git", "-C", str(ROOT), "archive", "--format=tar", revision, "softlabel"],
        capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        raise LookupError(f"git has no revision {revision}: {made.stderr.decode().strip()}")
    with tempfile.TemporaryDirectory(prefix="softlabel-before-") as folder:
        with tarfile.open(fileobj=io.BytesIO(made.stdout)) as archive:
            archive.extractall(folder, filter="data")
        yield Path(folder)


def environment(source: Path) -> dict[str, str]:
    """Variables for a process that imports softlabel from ``source``, on one core."""
    return os.environ | {"PYTHONPATH": str(source)} | dict.fromkeys(THREADS, "1")


Answer = dict[str, Any]
"""What a run says of itself: ``wall`` and ``cpu`` in seconds, and what else it has to say."""


def in_turns(
    runs: Mapping[str, Callable[[], Answer]], repeats: int, enough_s: float = math.inf
) -> dict[str, list[Answer]]:
    """Answers of each run, after a first turn that compiles or loads what was compiled.

    Parameters
    ----------
    runs : {name: function}
    repeats : int
    enough_s : float
        Seconds after which there is no further turn.
    """
    for run in runs.values():
        run()
    started = time.perf_counter()
    found: dict[str, list[Answer]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            found[name].append(run())
        if time.perf_counter() - started > enough_s:
            break
    return found


def median(answers: Sequence[Answer], key: str) -> float:
    """Median of a number that answers hold."""
    return float(np.median([answer[key] for answer in answers]))


class Build:
    """A process that calls functions of the softlabel in a folder."""

    def __init__(self, source: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER], env=environment(source), cwd=source, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def __call__(self, name: str, arrays: list[Path], options: dict[str, Any]) -> Answer:
        """Wall and CPU seconds of one call, and a digest of the arrays that it returned."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"name": name, "arrays": [str(path) for path in arrays], "options": options}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: Answer = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.communicate()
