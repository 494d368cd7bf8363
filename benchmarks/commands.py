"""Whole commands against an earlier revision of softlabel: processor, clock and memory.

Run with ``python -m benchmarks.commands [REVISION] [--size 512x512x300]``. Each command runs in a
process of its own with one thread, so that all that starting takes is counted, and the revisions
take turns. A first turn, which is not counted, compiles the kernels and lets the check of the data
sets remember what it read; what is "not looked at before", and the CT, do without that. The CT is
also measured with an eighth of its voxels, and the study of OCT against the script that everybody
writes (``python -m benchmarks.usual``).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import before, data
from benchmarks.measure import show

SMALL_CT = "256x256x152"
"""An eighth of the voxels of the CT that the targets name, which takes minutes."""

REMEMBERED = "SOFTLABEL_CACHE_DIR"
"""Variable that names the folder of what the check of a data set remembers."""

MEASURE = """
import json, resource, subprocess, sys, time
started = time.perf_counter()
command = [sys.executable, "-m", *sys.argv[1:]]
done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
wall, used = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({
    "wall": wall, "cpu": used.ru_utime + used.ru_stime, "kB": used.ru_maxrss,
    "failed": done.returncode, "said": done.stderr.decode(errors="replace")[-2000:],
}))
"""
"""A process that runs one command: its children are those of the command alone."""


class Work(NamedTuple):
    """One command line.

    Attributes
    ----------
    name : str
    arguments : list of str
        A module and its arguments; CACHE stands for a new cache, or the one that was made first.
    fresh : bool
        The check of the data set remembers nothing.
    """

    name: str
    arguments: list[str]
    fresh: bool = False


GENERATE = ["softlabel", "generate", "-o", "CACHE", "--jobs", "1", "--quiet"]


def small_works() -> list[Work]:
    """Short commands; the first of all makes the cache that ``info`` describes."""
    one = [*GENERATE, str(data.oct_folder()), "--limit", "1"]
    return [
        Work("generate, one B-scan", one),
        Work("info", ["softlabel", "info", "CACHE"]),
        Work("generate, one B-scan, not looked at before", one, fresh=True),
        _study(),
    ]


def _study() -> Work:
    return Work("generate, 33 B-scans from .mat", [*GENERATE, str(data.oct_study_folder())])


def ct_work(size: str) -> Work:
    """A CT of so many voxels."""
    arguments = [*GENERATE, str(data.ct_folder(size)), "--superpixel-size", "1000"]
    return Work(
        f"generate, CT {size.replace('x', '×')}, not looked at before", arguments, fresh=True
    )


class Runner:
    """Runs commands with the softlabel of a folder, in a folder of its own."""

    def __init__(self, source: Path, folder: Path) -> None:
        self._environment = before.environment(source) | {REMEMBERED: str(folder / "remembered")}
        # installed packages have their byte code; without it Python compiles all modules every time
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self._folder = folder
        folder.mkdir()

    def __call__(self, work: Work) -> before.Answer:
        """Seconds by the clock and of the processor, and kB of memory at the most."""
        cache = self._folder / "cache.h5"
        if work.fresh:
            shutil.rmtree(self._folder / "remembered", ignore_errors=True)
        if "generate" in work.arguments:
            cache.unlink(missing_ok=True)
            shutil.rmtree(cache.with_suffix(".parts"), ignore_errors=True)
        arguments = [str(cache) if a == "CACHE" else a for a in work.arguments]
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, *arguments], env=self._environment, cwd=self._folder,
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        found: dict[str, Any] = json.loads(done.stdout)
        if found["failed"]:
            raise AssertionError(f"{' '.join(arguments)}: {found['said']}")
        return {name: float(found[name]) for name in ("wall", "cpu", "kB")}

    def parts(self) -> dict[str, bytes]:
        """The parts of the cache, by name."""
        folder = self._folder / "cache.parts"
        return {path.name: path.read_bytes() for path in sorted(folder.glob("*.h5"))}


def measure(work: Work, runners: dict[str, Runner], repeats: int) -> dict[str, Any]:
    """Medians of both revisions in turns."""
    found = before.in_turns({n: partial(run, work) for n, run in runners.items()}, repeats)
    (cpu, wall, kb) = (
        [before.median(found[name], key) for name in ("before", "now")]
        for key in ("cpu", "wall", "kB")
    )
    return {
        "work": work.name,
        "CPU s before": cpu[0],
        "CPU s": cpu[1],
        "times as fast": cpu[0] / cpu[1],
        "by the clock": wall[0] / wall[1],
        "MB before": kb[0] / 1e3,
        "MB": kb[1] / 1e3,
        "parts": _compared(runners),
    }


def _compared(runners: dict[str, Runner]) -> str:
    """Whether both made the same files; a newer format or generator may change them."""
    earlier, now = (run.parts() for run in runners.values())
    return "the same bytes" if earlier == now else "other bytes"


def against_usual(runner: Runner, folder: Path, repeats: int) -> list[dict[str, Any]]:
    """The study of OCT by the script that everybody writes, and by softlabel, in turns."""
    ours = _study()
    usual = Work("", ["benchmarks.usual", str(data.oct_study_folder()), str(folder / "usual")])
    runs = {"the usual script": partial(runner, usual), "softlabel": partial(runner, ours)}
    found = before.in_turns(runs, repeats)
    rows = []
    for by, answers in found.items():
        cpu, wall = before.median(answers, "cpu"), before.median(answers, "wall")
        rows.append(
            {
                "work": ours.name,
                "by": by,
                "CPU s": cpu,
                "times as fast": before.median(found["the usual script"], "cpu") / cpu,
                "by the clock": before.median(found["the usual script"], "wall") / wall,
                "MB": before.median(answers, "kB") / 1e3,
            }
        )
    return rows


def eightfold(small: dict[str, Any], large: dict[str, Any]) -> dict[str, Any]:
    """How many times the processor time and the memory grow with 8 times the voxels."""
    columns = ("CPU s before", "CPU s", "MB before", "MB")
    grown = {f"{name}, times": large[name] / small[name] for name in columns}
    return {"from": small["work"], "to": large["work"]} | grown


def main(
    repeats: int = 3, revision: str = before.FIRST, ct_size: str = SMALL_CT
) -> list[dict[str, Any]]:
    """Print the tables and return their rows."""
    load = f"load at the start {os.getloadavg()[0]:.1f}"
    half = "x".join(str(int(side) // 2) for side in ct_size.split("x"))
    with before.source_of(revision) as source, tempfile.TemporaryDirectory() as folder:
        now = Runner(before.ROOT, Path(folder, "now"))
        runners = {"before": Runner(source, Path(folder, "before")), "now": now}
        rows = [measure(work, runners, repeats) for work in small_works()]
        rows += [measure(ct_work(size), runners, repeats) for size in (half, ct_size)]
        usual = against_usual(now, Path(folder), repeats)
    grown = [eightfold(*rows[-2:])]
    show(f"Whole commands against revision {revision}, one core", rows, note=load)
    show("The same against the usual script", usual, note=load)
    show("8 times the voxels", grown, note=load)
    return rows + usual + grown


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("revision", nargs="?", default=before.FIRST)
    parser.add_argument("--size", default=SMALL_CT, help="voxels of the CT")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    main(options.repeats, options.revision, options.size)
