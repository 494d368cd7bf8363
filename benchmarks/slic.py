"""Superpixels against scikit-image (the same labels), OpenCV and SimpleITK (others), one core.

Run with ``python -m benchmarks.slic [--repeats 5]``. Every row is timed in turns with scikit-image
on the same image; where labels should be the same they are compared first.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

from benchmarks.measure import alternate_with_cpu, one_thread, show

one_thread()

import numpy as np  # noqa: E402
from skimage.segmentation import slic  # noqa: E402

from benchmarks import data  # noqa: E402
from softlabel.superpixels.front import scale_channels  # noqa: E402
from softlabel.superpixels.slic_cpu import compile_kernels, slic_labels  # noqa: E402
from softlabel.types import Array  # noqa: E402

N_SEGMENTS, COMPACTNESS, ROUNDS = 2000, 0.1, 10

Run = Callable[[], Any]
Row = dict[str, Any]


def opencv(image: Array) -> Run | None:
    """SLIC of OpenCV's contrib modules, 2D only; None where they are not installed."""
    try:
        import cv2
    except ImportError:
        return None
    ximgproc = getattr(cv2, "ximgproc", None)  # not in every build of OpenCV
    if ximgproc is None:
        return None
    cv2.setNumThreads(1)
    pixels = np.ascontiguousarray(np.moveaxis(255 * image, 0, -1)).astype(np.uint8)
    region = round((image[0].size / N_SEGMENTS) ** 0.5)

    def run() -> Array:
        superpixels = ximgproc.createSuperpixelSLIC(pixels, ximgproc.SLIC, region, 10.0)
        superpixels.iterate(ROUNDS)
        superpixels.enforceLabelConnectivity()
        return superpixels.getLabels()

    return run


def simpleitk(image: Array, spacing: tuple[float, ...]) -> Run | None:
    """SLIC of SimpleITK; None where it is not installed."""
    try:
        import SimpleITK as sitk
    except ImportError:
        return None
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    pixels = sitk.GetImageFromArray(np.moveaxis(image, 0, -1), isVector=True)
    pixels.SetSpacing(spacing[::-1])
    cell = round((image[0].size / N_SEGMENTS) ** (1 / len(spacing)))
    segment = sitk.SLICImageFilter()
    segment.SetSuperGridSize([cell] * len(spacing))
    segment.SetMaximumNumberOfIterations(ROUNDS)
    segment.SetSpatialProximityWeight(COMPACTNESS)
    segment.SetEnforceConnectivity(True)
    return lambda: segment.Execute(pixels)


def measure(
    what: str, image: Array, spacing: tuple[float, ...], sigma: float, connected: bool, repeats: int
) -> list[Row]:
    """Rows of one image: scikit-image, softlabel, and the peers with other labels."""

    def skimage() -> Array:
        return slic(
            image, n_segments=N_SEGMENTS, compactness=COMPACTNESS, max_num_iter=ROUNDS,
            sigma=sigma, spacing=spacing, convert2lab=False, enforce_connectivity=connected,
            start_label=0, channel_axis=0,
        )  # fmt: skip

    def ours() -> Array:
        return slic_labels(
            image, N_SEGMENTS, COMPACTNESS, sigma, spacing, ROUNDS, enforce_connectivity=connected
        )

    if not np.array_equal(skimage(), ours()):
        raise AssertionError(f"{what}: softlabel's labels differ from scikit-image's.")
    functions: dict[str, Run] = {"scikit-image": skimage, "softlabel": ours}
    missing = []
    if connected and sigma:
        others = {"SimpleITK, no smoothing": simpleitk(image, spacing)}
        if len(spacing) == 2:
            others["OpenCV ximgproc, 8 bit, no smoothing"] = opencv(image)
        functions |= {name: run for name, run in others.items() if run is not None}
        missing = [name for name, run in others.items() if run is None]
    seconds = alternate_with_cpu(functions, repeats, warm=False)
    wall, cpu = seconds["scikit-image"]
    rows: list[Row] = [row(what, name, w, c, wall, cpu) for name, (w, c) in seconds.items()]
    nan = float("nan")
    return rows + [row(what, f"{name}: not installed", nan, nan, nan, nan) for name in missing]


def row(what: str, by: str, wall: float, cpu: float, peer_wall: float, peer_cpu: float) -> Row:
    """Seconds by the clock and of the processor, beside those of scikit-image."""
    return {
        "work": what, "by": by, "ms": 1e3 * wall, "times as fast": peer_wall / wall,
        "CPU ms": 1e3 * cpu, "by CPU": peer_cpu / cpu,
    }  # fmt: skip


def main(repeats: int = 5) -> list[Row]:
    """Print the table and return its rows."""
    compiled = compile_kernels()
    rows = []
    for what, case in (("496×768", data.bscan()), ("240×240×48×3", data.brain())):
        assert case.spacing_mm is not None
        spacing = tuple(s / min(case.spacing_mm) for s in case.spacing_mm)
        image = scale_channels(np.asarray(case.image, np.float32))
        for sigma, connected in ((1.0, True), (1.0, False), (0.0, True)):
            detail = f"slic {what}, sigma {sigma:g}{'' if connected else ', not connected'}"
            rows += measure(detail, image, spacing, sigma, connected, repeats)
    show(
        f"Superpixels ({N_SEGMENTS}, compactness {COMPACTNESS:g}), one core",
        rows,
        note=f"Kernels compiled, or loaded from numba's cache, in {compiled:.1f} s. "
        f"Load of the machine: {os.getloadavg()[0]:.1f}.",
    )
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    main(parser.parse_args().repeats)
