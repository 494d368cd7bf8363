"""An earlier revision of softlabel, to measure the present one against in the same run.

The revision is taken out of the repository's history into a temporary folder, and runs there in a
process of its own with the same Python and the same libraries.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measure import THREADS

FIRST = "00d64c7"
"""softlabel 0.1.0."""

ROOT = Path(__file__).parents[1]

SERVER = """
import hashlib, json, sys, time
import numpy as np
import softlabel

for line in sys.stdin:
    request = json.loads(line)
    labels, ids = np.load(request["labels"]), np.load(request["ids"])
    wall, cpu = time.perf_counter(), time.process_time()
    maps = softlabel.soften(labels, ids, **request["options"])
    found = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    values = hashlib.sha256(np.ascontiguousarray(maps.values).tobytes())
    values.update(np.ascontiguousarray(maps.block_class, np.int64).tobytes())
    print(json.dumps(found | {"digest": values.hexdigest()}), flush=True)
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


class Softening:
    """A process that softens what it is asked to, with the softlabel of a folder."""

    def __init__(self, source: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER], env=environment(source), cwd=source, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def __call__(self, labels: Path, ids: Path, options: dict[str, Any]) -> dict[str, Any]:
        """Wall and CPU seconds of one call of ``soften``, and a digest of its values."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"labels": str(labels), "ids": str(ids), "options": options}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.communicate()
