"""Train a segmentation network on a softlabel cache, and score it.

It reads top to bottom: :mod:`~softlabel_train.config` (recipes), :mod:`~softlabel_train.data`
(batches), :mod:`~softlabel_train.models`, :mod:`~softlabel_train.losses`,
:mod:`~softlabel_train.loop`; then :mod:`~softlabel_train.evaluate`,
:mod:`~softlabel_train.predict` and :mod:`~softlabel_train.sweep`.

In a loop of your own::

    from softlabel_train import CacheDataset, SoftLabelLoss, StepSampler, make_loader

    dataset = CacheDataset("oct.h5", ids, crop=(256, 256), seed=0)
    loader = make_loader(dataset, StepSampler(len(dataset), batch_size=16, steps=4000), workers=2)
    loss = SoftLabelLoss(beta=1.0, ignore=dataset.ignore_index)
    for batch in loader:
        image, labels, soft = batch.to("cuda").expand()
        total, terms = loss(model(image), labels, soft)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from softlabel_train.config import load_recipe as load_recipe
    from softlabel_train.data import CacheDataset as CacheDataset
    from softlabel_train.data import StepSampler as StepSampler
    from softlabel_train.data import make_loader as make_loader
    from softlabel_train.evaluate import evaluate_run as evaluate_run
    from softlabel_train.loop import fit as fit
    from softlabel_train.losses import SoftLabelLoss as SoftLabelLoss
    from softlabel_train.losses import enet_weights as enet_weights
    from softlabel_train.models import build_model as build_model
    from softlabel_train.predict import predict_images as predict_images

# Public names and where they live: imported on first use, since torch takes seconds.
_PUBLIC = {
    "CacheDataset": "data",
    "SoftLabelLoss": "losses",
    "StepSampler": "data",
    "build_model": "models",
    "enet_weights": "losses",
    "evaluate_run": "evaluate",
    "fit": "loop",
    "load_recipe": "config",
    "make_loader": "data",
    "predict_images": "predict",
}

__all__ = list(_PUBLIC)


_MODULES = ("config", "data", "evaluate", "losses", "loop", "metrics", "models", "predict", "sweep")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"softlabel_train.{name}")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'softlabel_train' has no attribute {name!r}")
    value = getattr(import_module(f"softlabel_train.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
