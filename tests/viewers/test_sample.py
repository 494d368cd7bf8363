"""Phantoms as sample data: what napari opens is a softened case with its true labels."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari", reason="needs napari: pip install '.[napari]'")

import npe2
from napari.components import ViewerModel


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "ndim", "unit"), [("bscan", 2, "micrometer"), ("brain", 3, "millimeter")]
)
def test_a_sample_opens_with_labels_that_were_softened(key, ndim, unit):
    npe2.PluginManager.instance().discover()
    viewer = ViewerModel()
    viewer.open_sample("softlabel", key)
    names = [layer.name for layer in viewer.layers]
    assert names[-1] == "entropy" and {"labels", "true labels", "superpixels"} <= set(names)
    labels, entropy = (np.asarray(viewer.layers[name].data) for name in ("labels", "entropy"))
    assert labels.ndim == ndim and len(np.unique(labels)) > 4
    assert 0.01 < (entropy > 0).mean() < 0.9
    assert not viewer.layers["superpixels"].visible  # areas, which would hide the image
    assert {str(u) for layer in viewer.layers for u in layer.units} == {unit}
