"""Timing and tables, shared by the benchmarks."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def one_thread() -> None:
    """Limit numerical libraries to one thread; call before they are imported."""
    for name in THREADS:
        os.environ[name] = "1"


def alternate(
    functions: dict[str, Callable[[], Any]], repeats: int, warm: bool = True
) -> dict[str, float]:
    """Median seconds of each function, run in turns so that a busy moment hits all alike.

    Parameters
    ----------
    functions : {name: function}
    repeats : int
    warm : bool
        Call each once before, so that compiling and caches are not counted.
    """
    return {name: wall for name, (wall, _) in alternate_with_cpu(functions, repeats, warm).items()}


def alternate_with_cpu(
    functions: dict[str, Callable[[], Any]], repeats: int, warm: bool = True
) -> dict[str, tuple[float, float]]:
    """As :func:`alternate`: median seconds by the clock, and of the processor.

    On a machine that others use as well, the processor's are the steadier ones.
    """
    if warm:
        for function in functions.values():
            function()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            wall, cpu = time.perf_counter(), time.process_time()
            function()
            times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    medians = {name: np.median(values, axis=0).tolist() for name, values in times.items()}
    return {name: (wall, cpu) for name, (wall, cpu) in medians.items()}


def show(
    title: str,
    rows: Sequence[dict[str, Any]],
    console: Console | None = None,
    note: str = "",
) -> None:
    """Print rows of equal keys as a table."""
    table = Table(title=title, title_justify="left", caption=note or None, caption_justify="left")
    for column in rows[0] if rows else ():
        table.add_column(column, justify="left" if isinstance(rows[0][column], str) else "right")
    for row in rows:
        table.add_row(*(_text(value) for value in row.values()))
    (console or Console()).print(table)


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of equal keys as a Markdown table."""
    if not rows:
        return ""
    head = "| " + " | ".join(rows[0]) + " |"
    rule = (
        "|"
        + "|".join("---" if isinstance(value, str) else "---:" for value in rows[0].values())
        + "|"
    )
    body = ["| " + " | ".join(_text(value) for value in row.values()) + " |" for row in rows]
    return "\n".join([head, rule, *body])


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "–" if value != value else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)


def machine() -> list[tuple[str, str]]:
    """Where and with what was measured."""
    packages = (
        "softlabel", "numpy", "scipy", "scikit-image", "numba", "h5py", "hdf5plugin", "edt",
        "opencv-contrib-python-headless", "SimpleITK", "MedPy", "torch",
    )  # fmt: skip
    found = []
    for name in packages:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    return [
        ("date", datetime.now(UTC).strftime("%Y-%m-%d")),
        ("processor", f"{_processor()}, {os.cpu_count()} cores"),
        ("system", f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"),
        ("versions", ", ".join(found)),
    ]


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown processor"
