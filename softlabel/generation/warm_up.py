"""Compiling, or loading, every kernel before workers start."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

SLOW_SECONDS = 2.0
"""Loading kernels takes less, compiling them more."""

COMPILING = "Compiling the kernels: once, about half a minute; the code is kept for the next runs."


def warm_up(method: str = "superpixel", say: Callable[[str], object] = lambda _: None) -> float:
    """Compile, or load, every kernel that generation uses with a method of softlabel.

    Call it once before worker processes start: they load the code instead of compiling it.

    Parameters
    ----------
    method : str
    say : callable
        Receives a sentence when there is so much to compile that somebody may wonder.

    Returns
    -------
    float
        Seconds that it took.
    """
    started = time.perf_counter()
    timer = threading.Timer(SLOW_SECONDS, say, [COMPILING])
    timer.daemon = True
    timer.start()
    try:
        _run_every_kernel(method)
    finally:
        timer.cancel()
    return time.perf_counter() - started


def _run_every_kernel(method: str) -> None:
    from softlabel.softening import METHODS, soften
    from softlabel.superpixels.quality import box_fill
    from softlabel.superpixels.slic_cpu import compile_kernels

    compile_kernels()
    box_fill(np.zeros((2, 2), np.int32))
    # distances are computed in one of three types of numbers: small, large, and in mm
    for shape, spacing in (((2, 4), 1.0), ((2, 2, 4), 1.0), ((2, 200), 1.0), ((2, 4), 0.5)):
        labels = np.arange(np.prod(shape)).reshape(shape) % 2
        steps = (spacing,) * len(shape)
        maps = soften(labels, np.zeros(shape, int), spacing=steps, normalize="sum")
        maps.patch((slice(0, 1),))
        assert maps.band.any()
        maps.total()
        maps.own_class_sums(maps.index)
    if method in METHODS and not METHODS[method].takes_soft_labels:
        for shape in ((2, 4), (2, 2, 4)):
            labels = np.indices(shape)[0]  # layers: every method takes them
            soften(labels, np.zeros(shape, int), image=labels, method=method)
