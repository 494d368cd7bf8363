"""Data sets and ``softlabel generate`` as processes of their own, shared by the faults."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import factories

from softlabel.cache import parts_folder
from softlabel.cache.damage import damage
from softlabel.files.atomic import TEMPORARY_PREFIX
from softlabel.generation.settings import Settings

SETTINGS = Settings(n_segments=150)
SHAPE = (150, 160)

ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}


def data_set(folder: Path, n_cases: int = 12) -> Path:
    """Cases that take long enough for a run to be met in the middle of its work."""
    return factories.write_scenes(
        folder / "data", [f"case-{i:02d}" for i in range(n_cases)], shape=SHAPE
    )


def start(
    data: Path, out: Path, jobs: int = 1, n_segments: int = SETTINGS.n_segments, *options: str
) -> subprocess.Popen[str]:
    """Start ``softlabel generate``."""
    command = [*factories.COMMAND, "generate", data, "-o", out, "--quiet", "--jobs", jobs]
    return subprocess.Popen(
        [*map(str, command), "--n-segments", str(n_segments), *options],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, encoding="utf-8",
        env=os.environ | ONE_THREAD,
        preexec_fn=_obey_ctrl_c,
    )  # fmt: skip


def _obey_ctrl_c() -> None:
    """What a shell starts in the background ignores Ctrl-C, and so do all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit status of a process, and what it said."""
    _, said = process.communicate(timeout=factories.PATIENCE)
    return process.returncode, said


def wrong_files(out: Path) -> list[str]:
    """Parts that bear their final name and are not as they were written."""
    parts = sorted(parts_folder(out).glob("*.h5"))
    return [f"{path.name}: {problem}" for path in parts if (problem := damage(path))]


def stray_files(out: Path) -> list[Path]:
    """Temporary files and claims that no run removed."""
    return [*out.parent.rglob(f"{TEMPORARY_PREFIX}*"), *out.parent.glob("*.lock")]
