"""How generation scales: workers, number of cases, memory.

Run with ``python -m benchmarks.scaling``. Each figure comes from a process of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import data
from benchmarks.measure import THREADS, show

RUN = """
import json, resource, sys, time
import softlabel
source, out, jobs = sys.argv[1], sys.argv[2], int(sys.argv[3])
from softlabel.generation import generate
from softlabel.generation.settings import Settings
settings = Settings(superpixel_size=190)
generate(source, out.replace(".h5", "-warm.h5"), settings, jobs=jobs, limit=jobs)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.perf_counter()
report = generate(source, out, settings, jobs=jobs)
seconds = time.perf_counter() - started
assert report.complete, report
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"cases": report.cases, "seconds": seconds, "parent": after / 1024,
                  "grown": (after - before) / 1024}))
"""

VORONOI = """
import json, resource, sys, time
import numpy as np
import softlabel
from softlabel.generation.warm_up import warm_up
warm_up()
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
labels, ids = np.load(sys.argv[1]), np.load(sys.argv[2])
started = time.perf_counter()
soft = softlabel.soften(labels, ids, classes=range(117))
seconds = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"seconds": seconds, "peak": (peak - base) / 1024,
                  "band": float(soft.band.mean()), "kept": soft.nbytes / 2**20}))
"""


def run(code: str, *arguments: str) -> dict[str, Any]:
    """Result of a Python process that prints JSON."""
    environment = os.environ | dict.fromkeys(THREADS, "1")
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return dict(json.loads(done.stdout.splitlines()[-1]))


def small_pairs(folder: Path, count: int) -> Path:
    """``count`` small image/label pairs."""
    rng = np.random.default_rng(0)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    y, x = np.indices((128, 128))
    for number in range(count):
        label = (np.hypot(y - 64, x - 64) < 20 + number % 30).astype(np.uint8)
        image = (90 * label + rng.normal(80, 15, label.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / "images" / f"case{number:04}.png")
        Image.fromarray(label).save(folder / "labels" / f"case{number:04}.png")
    return folder


def workers(folder: Path) -> list[dict[str, Any]]:
    """One and two workers on 24 B-scans of 496 × 768."""
    from softlabel.phantom import write_oct_dataset

    source = folder / "oct"
    write_oct_dataset(source, n_subjects=2, seed=2, shape=(496, 768, 12), n_annotated=12)
    rows: list[dict[str, Any]] = []
    for jobs in (1, 2):
        result = run(RUN, str(source), str(folder / f"jobs{jobs}.h5"), str(jobs))
        rate = result["cases"] / result["seconds"]
        first = rows[0]["cases/s"] if rows else rate
        rows.append({"workers": jobs, "cases/s": rate, "speed-up": rate / first})
    show("Workers: B-scans of 496×768, reading and writing included", rows)
    return rows


def cases(folder: Path) -> list[dict[str, Any]]:
    """Time a case and memory of the parent from 10 to 1000 cases."""
    rows = []
    for count in (10, 100, 1000):
        source = small_pairs(folder / f"pairs{count}", count)
        result = run(RUN, str(source), str(folder / f"cases{count}.h5"), "2")
        rows.append(
            {
                "cases": count,
                "ms a case": 1e3 * result["seconds"] / count,
                "parent MB": result["parent"],
                "parent grew by MB": result["grown"],
            }
        )
        shutil.rmtree(source)
    show("Number of cases: 128×128, 2 workers", rows)
    return rows


def memory(folder: Path) -> list[dict[str, Any]]:
    """117 Voronoi labels in 256 × 256 × 192 with 4000 supervoxels."""
    shape = (256, 256, 192)
    labels, ids = folder / "labels.npy", folder / "ids.npy"
    np.save(labels, data.voronoi(shape, 117).astype(np.uint8))
    np.save(ids, data.voronoi(shape, 4000, seed=1))
    result = run(VORONOI, str(labels), str(ids))
    rows = [
        {
            "work": "soften 256×256×192, 117 classes",
            "seconds": result["seconds"],
            "peak MB": result["peak"],
            "result MB": result["kept"],
            "softened": f"{100 * result['band']:.0f} %",
            "dense float32 MB": 117 * 256 * 256 * 192 * 4 / 2**20,
        }
    ]
    show("Memory above the imports, inputs included", rows)
    return rows


def main(repeats: int = 1) -> list[dict[str, Any]]:
    """Print the tables and return all rows."""
    with tempfile.TemporaryDirectory() as folder:
        return [*workers(Path(folder)), *cases(Path(folder)), *memory(Path(folder))]


if __name__ == "__main__":
    main()
