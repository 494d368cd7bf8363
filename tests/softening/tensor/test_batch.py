"""Soft labels on the fly are the dense ones, and what is refused before anything is softened."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from scenes import blobs, method_options, scenes, soften_scene

import softlabel

torch = pytest.importorskip("torch")
torch.set_num_threads(1)
from softlabel.device import DoesNotFit  # noqa: E402

BOUNDARIES = ("inner", "outer", "edge", "symmetric")


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(scene=scenes(), chosen=method_options)
def test_a_batch_on_the_fly_is_the_dense_soft_labels(scene, chosen):
    if scene.labels.ndim == 1:
        chosen = {**chosen, "in_plane": False}
    labels = torch.from_numpy(np.ascontiguousarray(scene.labels).astype(np.int64))
    ids = torch.from_numpy(np.ascontiguousarray(scene.superpixels))
    soft = softlabel.soften_batch(
        torch.stack([labels, labels.flip(0)]), torch.stack([ids, ids.flip(0)]), scene.classes,
        ignore=scene.ignore, **chosen,
    )  # fmt: skip
    dense = soft.dense().numpy()
    assert dense.shape == soft.shape and dense.dtype == np.float32
    first = soften_scene(scene, "cpu", **chosen)
    np.testing.assert_array_equal(dense[0], first.dense())
    np.testing.assert_array_equal(soft.class_index[0].numpy() < 0, ~first.known)


def test_a_batch_that_is_not_contiguous():
    labels, ids = (torch.from_numpy(a)[None] for a in blobs())
    soft = softlabel.soften_batch(labels, ids, range(4), ignore=99).dense()
    turned = softlabel.soften_batch(labels.mT, ids.mT, range(4), ignore=99).dense()
    torch.testing.assert_close(turned.mT, soft, rtol=0, atol=0)


def test_on_the_fly_in_half_precision():
    labels, ids = (torch.from_numpy(a)[None] for a in blobs())
    soft = softlabel.soften_batch(labels, ids, range(4), ignore=99)
    half = soft.dense(torch.float16)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half, soft.dense().half(), rtol=0, atol=0)


def test_a_batch_that_does_not_fit_is_said():
    labels, ids = (torch.from_numpy(a)[None].repeat(5, 1, 1) for a in blobs())
    with pytest.raises(DoesNotFit, match=r"a batch of 5 images of 2080 pixels .* 1 MiB .* 3 fit"):
        softlabel.soften_batch(labels, ids, range(4), ignore=99, memory=1 << 20)
    with pytest.raises(DoesNotFit, match="an image of 2080 pixels"):
        softlabel.soften_batch(labels, ids, range(4), ignore=99, memory=1 << 10)


ROW, ONE = torch.tensor([[1, 1, 0, 0]]), torch.zeros((1, 4), dtype=torch.int64)


REFUSED = {
    "floats": ((ROW.float(), ONE), {}, "labels must be integers; got torch.float32"),
    "float ids": ((ROW, ONE.float()), {}, "superpixels must be integers"),
    "no batch": ((ROW[0], ONE[0]), {}, r"labels must have shape \(B, \*spatial\)"),
    "shapes": ((ROW, ONE[:, :3]), {}, r"superpixels must have the shape .* got \(1, 3\)"),
    "normalize": ((ROW, ONE), {"normalize": "max"}, "normalize must be one of none, sum"),
    "scale": ((ROW, ONE), {"scale": -1.0}, "scale must be a positive number; got -1.0"),
    "boundary": ((ROW, ONE), {"boundary": "mid"}, "boundary must be one of"),
    "strange": ((ROW + 4, ONE), {}, r"The labels hold \[4, 5\], which are not among the classes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_batches_that_cannot_be_softened(name):
    (labels, ids), kwargs, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        softlabel.soften_batch(labels, ids, (0, 1), **kwargs)
