"""Read damaged and hostile inputs of every kind, and count what becomes of them.

An input is read, or refused in a sentence (:class:`~softlabel.errors.SoftlabelError`); anything
else is a fault: another error, a crash of a library, more time or memory than a small file may
take. ``python -m tests.faults.inputs --count 1000`` prints a table; the status is 1 where there are
faults. Inputs depend on their kind and number alone, so that one can be read again:
``--only png --first 17 --count 1``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

TESTS = Path(__file__).parents[1]
RESULTS = ("refused", "read", "fault")
SECONDS, MEMORY_MB = 30, 1500
"""What reading one input may take: far more than it does, on a busy machine."""


@dataclass(frozen=True)
class Outcome:
    """What became of one input.

    Attributes
    ----------
    kind : str
    number : int
    result : {"read", "refused", "fault"}
    seconds : float
    mb : float
        Largest memory of the process so far.
    text : str
        Of the error.
    """

    kind: str
    number: int
    result: str
    seconds: float
    mb: float
    text: str = ""


# --- in the process that reads --------------------------------------------------------------------


def read_all(kind: str, first: int, count: int, folder: Path) -> Iterator[Outcome]:
    """Read inputs one after another; each is the small original with one file changed."""
    from faults.mutations import mutated
    from faults.subjects import subjects

    subject = subjects()[kind]
    _lift_limit()
    folder.mkdir()
    subject.make(folder)
    subject.read(folder)  # the original is sound, and libraries are loaded
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    _limit_memory()
    for number in range(first, first + count):
        print(f"# {kind} {number}", flush=True)  # should a library crash
        dice = random.Random(f"{kind} {number}")
        path = dice.choice(files)
        content = path.read_bytes()
        path.write_bytes(mutated(content, path.name, dice))
        started = time.monotonic()
        result, text = _result(subject.read, folder)
        seconds = time.monotonic() - started
        path.write_bytes(content)
        yield Outcome(kind, number, result, seconds, _largest_mb(), text)


def _result(read, folder: Path) -> tuple[str, str]:
    from softlabel.errors import SoftlabelError

    signal.alarm(SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(folder)
    except SoftlabelError as error:
        text = str(error)
        return ("fault" if "\n" in text else "refused"), text
    except Exception:
        return "fault", traceback.format_exc()
    finally:
        signal.alarm(0)
    return "read", ""


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + (MEMORY_MB << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _lift_limit() -> None:
    """The next kind may load a library."""
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _largest_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _ring(number: int, frame: FrameType | None) -> None:
    raise RuntimeError(f"took more than {SECONDS} s")


def _serve(arguments: argparse.Namespace) -> None:
    signal.signal(signal.SIGALRM, _ring)
    with tempfile.TemporaryDirectory() as folder:
        for number, kind in enumerate(arguments.only):
            for outcome in read_all(
                kind, arguments.first, arguments.count, Path(folder) / str(number)
            ):
                print(json.dumps(asdict(outcome)), flush=True)


# --- in the process that counts -------------------------------------------------------------------


def outcomes(kinds: Sequence[str], first: int, count: int) -> list[Outcome]:
    """Read inputs of some kinds in a process with bounds; a crash is the fault of its input."""
    found: list[Outcome] = []
    jobs = [(list(kinds), first, count)]
    while jobs:
        some, start, number = jobs.pop()
        lines, reason = _run(some, start, number)
        found += [Outcome(**json.loads(line)) for line in lines if not line.startswith("#")]
        if not reason:
            continue
        began = [line[2:].rpartition(" ") for line in lines if line.startswith("#")]
        kind, _, at = began[-1] if began else (some[0], "", str(start))
        found.append(Outcome(kind, int(at), "fault", 0.0, 0.0, reason))
        after = some[some.index(kind) + 1 :]
        if after:
            jobs.append((after, start, number))
        if began and int(at) + 1 < start + number:
            jobs.append(([kind], int(at) + 1, start + number - int(at) - 1))
    return found


def _run(kinds: Sequence[str], first: int, count: int) -> tuple[list[str], str]:
    """The lines that a process printed, and why it ended early."""
    command = [
        sys.executable, "-m", "faults.inputs", "--serve", "--first", str(first), "--count",
        str(count), "--only", *kinds,
    ]  # fmt: skip
    paths = [str(TESTS), str(TESTS.parent), str(TESTS.parent / "train")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONFAULTHANDLER": "1"}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        limit = 120 + SECONDS + 2 * count * len(kinds)
        process = subprocess.Popen(command, stdout=out, stderr=err, env=environment, cwd=TESTS)
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            status = f"more than {limit} s"
        out.seek(0)
        err.seek(0)
        told = err.read().decode("utf-8", "replace")[-3000:]
        lines = out.read().decode().splitlines()
        return lines, f"ended with {status}: {told}" if status else ""


def rows(count: int = 1000) -> list[dict[str, Any]]:
    """A row for each kind of input, of so many inputs in all.

    Raises
    ------
    AssertionError
        When one of them is a fault.
    """
    kinds = possible_kinds()
    found = [o for kind in kinds for o in outcomes([kind], 0, -(-count // len(kinds)))]
    faults = [f"{o.kind} {o.number}: {o.text}" for o in found if o.result == "fault"]
    assert not faults, "\n".join(faults)
    return by_kind(found)


def possible_kinds() -> list[str]:
    """Kinds of input that can be written and read here."""
    from faults.subjects import subjects

    return [name for name, subject in subjects().items() if subject.is_possible]


def by_kind(found: Sequence[Outcome]) -> list[dict[str, Any]]:
    """For each kind: inputs, how many were refused and read, faults, the slowest, memory."""
    table = []
    for kind in dict.fromkeys(outcome.kind for outcome in found):
        mine = [outcome for outcome in found if outcome.kind == kind]
        numbers = {result: sum(o.result == result for o in mine) for result in RESULTS}
        table.append(
            {"format": kind, "inputs": len(mine), "errors": numbers["refused"],
             "successes": numbers["read"], "faults": numbers["fault"],
             "slowest s": max(o.seconds for o in mine), "largest MB": max(o.mb for o in mine)}
        )  # fmt: skip
    return table


def table(found: Sequence[Outcome]) -> str:
    """The same as text."""
    cells = [list(by_kind(found)[0])] if found else []
    for row in by_kind(found):
        cells.append([f"{v:.2f}" if isinstance(v, float) else str(v) for v in row.values()])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    )


def main() -> None:
    """Read inputs and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.inputs", description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="inputs of each format")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--only", nargs="+", help="formats; all when not given")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        _serve(arguments)
        return
    sys.path.insert(0, str(TESTS))
    kinds = arguments.only or possible_kinds()
    found: list[Outcome] = []
    for kind in kinds:  # a process each: memory is told by process
        found += outcomes([kind], arguments.first, arguments.count)
        print(table([o for o in found if o.kind == kind]).splitlines()[-1], file=sys.stderr)
    print(table(found))
    faults = [outcome for outcome in found if outcome.result == "fault"]
    for fault in faults[:50]:
        print(f"\n{fault.kind} {fault.number}: {fault.text}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
