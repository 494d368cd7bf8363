"""Run every benchmark and write ``benchmarks/RESULTS.md``: what ``make bench`` calls.

Each benchmark runs in a process of its own, so that thread limits and memory are its own. One that
fails leaves its error in place of its table; the sections from the GPU's on, which other runs
filled, are kept.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.measure import machine, markdown

RESULTS = Path(__file__).with_name("RESULTS.md")
GPU_START = "## GPU"

BENCHMARKS = {
    "slic": "Superpixels: the labels of scikit-image, one core",
    "preprocess": "Preprocessing of OCT and MRI, on phantoms",
    "soften": "Distances and softening, one core",
    "generate": "A whole case, one core, from memory to a file",
    "scaling": "Workers, number of cases, memory",
    "metrics": "Metrics against MedPy",
    "loader": "Training batches from a cache",
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


def kept_gpu_section() -> str:
    """The section of an earlier run on a machine with a GPU."""
    if not RESULTS.exists() or GPU_START not in RESULTS.read_text():
        return ""
    text = RESULTS.read_text()
    return text[text.index(GPU_START) :]


def main() -> None:
    """Run the chosen benchmarks and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=list(BENCHMARKS), action="append")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    sections = []
    for name in options.only or BENCHMARKS:
        tables, error = run_one(name, options.repeats)
        body = error or "\n\n".join(markdown(table) for table in tables)
        sections.append(f"## {BENCHMARKS[name]}\n`python -m benchmarks.{name}`\n\n{body}")
    if options.only:
        print("Some benchmarks only: RESULTS.md is left as it is.")
        return
    head = "\n".join(f"* {what}: {value}" for what, value in machine())
    RESULTS.write_text(
        "# Results\nWritten by `make bench`. Times are medians; peers ran in turns with softlabel "
        f"in the same process, so the ratios matter more than the times.\n\n{head}\n\n"
        + "\n\n".join(sections)
        + "\n\n"
        + kept_gpu_section()
    )
    print(f"Written: {RESULTS}")


if __name__ == "__main__":
    main()
