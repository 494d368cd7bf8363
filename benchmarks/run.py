"""Run every benchmark and write ``benchmarks/RESULTS.md``: what ``make bench`` calls.

Each benchmark runs in a process of its own, so that thread limits and memory are its own. One that
fails leaves its error in place of its table. Sections of benchmarks that are not run, and those
that other machines filled, stay as they are.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.measure import machine, markdown

RESULTS = Path(__file__).with_name("RESULTS.md")
HEAD = (
    "# Results\nWritten by `make bench`. Times are medians; peers ran in turns with softlabel, so "
    "ratios matter more than times. Where a machine is shared, processor time is the steadier.\n\n"
)

BENCHMARKS = {
    "slic": "Superpixels: the labels of scikit-image, one core",
    "preprocess": "Preprocessing of OCT and MRI, on phantoms",
    "steps": "What the steps for OCT change: superpixels, time of generation and of training",
    "volumes": "Superpixels and distances in volumes: thick slices, brains, CT",
    "presets": "The preset auto: superpixels of OCT, MRI, CT and small images",
    "softness": "What settings do to soft labels, and controls that are as soft",
    "labels": "How near soft labels come to the truth when the annotator erred",
    "soften": "Distances and softening, one core",
    "methods": "Every softening method against its formula in NumPy and SciPy, one core",
    "versions": "Superpixels and softening against 0.1.0: the same values, one core",
    "generate": "A whole case, one core, from memory to a file",
    "commands": "Whole commands against 0.1.0, start-up and memory included, one core",
    "scaling": "Workers, number of cases, memory",
    "many": "Many small cases end to end",
    "reports": "Reports: time, size, and a browser",
    "metrics": "Metrics against MedPy",
    "conventions": "Surface distances by convention and unit",
    "resoftening": "Soft labels after random changes: made anew or interpolated",
    "loader": "Training batches from a cache",
    "patches": "Training patches of volumes against a MONAI pipeline",
}


def run_one(name: str, repeats: int) -> tuple[list[list[dict[str, Any]]], str]:
    """Tables of one benchmark, and its error when it failed."""
    code = (
        "import json, sys; from benchmarks.run import tables_of; "
        f"print('\\n' + json.dumps(tables_of({name!r}, {repeats})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False
    )
    *shown, last = done.stdout.rstrip("\n").split("\n")
    print("\n".join(shown), flush=True)
    if done.returncode:
        return [], f"It failed with exit status {done.returncode}: {last}"
    return json.loads(last), ""


def tables_of(name: str, repeats: int) -> list[list[dict[str, Any]]]:
    """Run a benchmark here; its rows, grouped into tables of equal columns."""
    rows = import_module(f"benchmarks.{name}").main(repeats=repeats)
    tables: list[list[dict[str, Any]]] = []
    for row in rows:
        if not tables or list(tables[-1][0]) != list(row):
            tables.append([])
        tables[-1].append(row)
    return tables


def sections_of(text: str) -> dict[str, str]:
    """Sections of a file of results, by their titles."""
    sections = text.split("\n## ")[1:]
    return {section.split("\n", 1)[0]: f"## {section.rstrip()}\n" for section in sections}


def section(name: str, repeats: int) -> str:
    """Run a benchmark; its section, with when and under which load it ran."""
    tables, error = run_one(name, repeats)
    body = error or "\n\n".join(markdown(table) for table in tables)
    when, load = datetime.now(UTC).strftime("%Y-%m-%d"), os.getloadavg()[0]
    said = f"`python -m benchmarks.{name}`, {when}, load {load:.1f} at the end"
    return f"## {BENCHMARKS[name]}\n{said}\n\n{body}\n"


def main() -> None:
    """Run the chosen benchmarks and write their sections; all others stay."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=list(BENCHMARKS), action="append")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    for name in options.only or BENCHMARKS:
        new = section(name, options.repeats)
        sections = sections_of(RESULTS.read_text() if RESULTS.exists() else "")
        sections[BENCHMARKS[name]] = new
        order = [title for title in BENCHMARKS.values() if title in sections]
        order += [title for title in sections if title not in order]
        RESULTS.write_text(HEAD + about() + "\n".join(sections[title] for title in order))
    print(f"Written: {RESULTS}")


def about() -> str:
    """Where and with what the last of the benchmarks ran."""
    return "\n".join(f"* {what}: {value}" for what, value in machine()) + "\n\n"


if __name__ == "__main__":
    main()
