"""Compiling, or loading, every kernel before workers start."""

from __future__ import annotations

import time

import numpy as np


def warm_up(method: str = "superpixel") -> float:
    """Compile, or load, every kernel that generation uses with a method of softlabel.

    Call it once before worker processes start: they load the code instead of compiling it.

    Returns
    -------
    float
        Seconds that it took.
    """
    from softlabel.softening import METHODS, soften
    from softlabel.superpixels.quality import box_fill
    from softlabel.superpixels.slic_cpu import compile_kernels

    started = time.perf_counter()
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
    return time.perf_counter() - started
