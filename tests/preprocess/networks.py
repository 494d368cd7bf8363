"""Small networks with weights that mean nothing."""

from __future__ import annotations

import numpy as np

from softlabel.preprocess import DnCNN, DnCNNSettings


def small_network(depth=4, channels=5, scaling="range", seed=0):
    settings = DnCNNSettings(depth, channels, None, scaling, "nothing")
    rng = np.random.default_rng(seed)
    layers = tuple(
        (
            rng.normal(0, 0.25, shape).astype(np.float32),
            rng.normal(0, 0.1, shape[:1]).astype(np.float32),
        )
        for shape in settings.kernel_shapes
    )
    return DnCNN(settings, layers)
