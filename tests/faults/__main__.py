"""``python -m tests.faults``: the long form, with its figures into ``benchmarks/RESULTS.md``."""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from benchmarks.measure import markdown, show  # noqa: E402
from benchmarks.run import RESULTS, sections_of  # noqa: E402

FAULTS = {
    "kills": "Runs that a signal stops",
    "disks": "Disks that fill up",
    "flips": "Bytes that change in a finished cache",
    "collisions": "Two runs that write one output",
    "inputs": "Damaged and hostile inputs",
    "reads": "Training samples read by many processes",
}
TITLE = "Faults on purpose"


def main() -> None:
    """Run the chosen faults; the section of the results keeps the others."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=list(FAULTS), action="append")
    options = parser.parse_args()
    for name in options.only or FAULTS:
        started = time.perf_counter()
        rows = import_module(f"faults.{name}").rows()
        minutes = (time.perf_counter() - started) / 60
        show(FAULTS[name], rows)
        when = datetime.now(UTC).strftime("%Y-%m-%d")
        write(name, f"`python -m tests.faults --only {name}`, {when}, {minutes:.1f} min\n\n"
              + markdown(rows))  # fmt: skip


def write(name: str, body: str) -> None:
    """Put the figures of one kind of fault into the results."""
    text = RESULTS.read_text(encoding="utf-8")
    sections = sections_of(text)
    old = sections.get(TITLE, "").split("\n### ")
    parts = {part.split("\n", 1)[0]: part.rstrip() for part in old[1:]}
    parts[FAULTS[name]] = f"{FAULTS[name]}\n{body}"
    order = [title for title in FAULTS.values() if title in parts]
    sections[TITLE] = f"## {TITLE}\n" + "".join(f"\n### {parts[title]}\n" for title in order)
    head = text.split("\n## ", 1)[0]
    RESULTS.write_text(head + "\n" + "\n".join(sections.values()), encoding="utf-8")


if __name__ == "__main__":
    main()
