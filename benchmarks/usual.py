"""The script that everybody writes, from MATLAB files to HDF5: ``python -m benchmarks.usual``.

It reads the three variables that it needs of a data set in the layout of Duke OCT-DME, takes the
annotated B-scans, and does to each what :mod:`benchmarks.peer` does to a case.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.measure import one_thread

one_thread()

import numpy as np  # noqa: E402
from scipy.io import loadmat  # noqa: E402

from benchmarks import peer  # noqa: E402

SPACING = (1.0, 0.01133 / 0.00387)
N_CLASSES = 10
FLUID = 9
NEEDED = ["images", "manualLayers1", "manualFluid1"]


def main(source: Path, out: Path) -> None:
    """One file for each annotated B-scan of ``source``."""
    out.mkdir(exist_ok=True)
    for path in sorted(source.glob("Subject_*.mat")):
        found = loadmat(path, variable_names=NEEDED)
        images, boundaries, fluid = (found[name] for name in NEEDED)
        rows = np.arange(1, images.shape[0] + 1)[:, None]
        for b in range(images.shape[2]):
            drawn = boundaries[:, :, b]
            if np.isnan(drawn).all():
                continue
            labels = (rows[None] >= drawn[:, None]).sum(axis=0).astype(np.uint8)
            labels[fluid[:, :, b] > 0] = FLUID
            image = images[None, :, :, b]
            ids = peer.superpixels(peer.scaled(image), SPACING)
            soft = peer.soften(labels, ids, N_CLASSES)
            peer.write(out / f"{path.stem}_{b}.h5", image, labels, ids, soft)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
