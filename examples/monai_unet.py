"""Train a 3D U-Net of MONAI with soft labels, on small synthetic brains: about a minute.

Run: ``python examples/monai_unet.py [FOLDER]``. It draws the data, computes the cache, trains on
patches with MONAI's transforms, data set, loader and network, and scores by MONAI's Dice.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import torch
from monai.data import CacheDataset, DataLoader
from monai.inferers import sliding_window_inference
from monai.losses import DiceCELoss
from monai.metrics import DiceMetric
from monai.networks.nets import UNet
from monai.networks.utils import one_hot
from monai.transforms import (
    Compose,
    NormalizeIntensityd,
    RandAffined,
    RandFlipd,
    RandSpatialCropd,
)
from monai.utils import set_determinism
from softlabel_train import SoftLabelLoss

import softlabel
from softlabel.monai import LoadSoftLabeld, data_list, pad_with_background
from softlabel.phantom import write_mri_dataset

KEYS, MODES = ("image", "label", "soft"), ("bilinear", "nearest", "bilinear")
PATCH = (48, 48, 16)
EPOCHS = 20


def make_cache(folder: Path) -> Path:
    """Five synthetic brains, and their soft labels."""
    write_mri_dataset(folder / "data", n_subjects=5, shape=(64, 64, 24), seed=1)
    settings = softlabel.Settings(superpixel_size=60)
    report = softlabel.generate(folder / "data", folder / "brains.h5", settings)
    assert report.complete, report
    return folder / "brains.h5"


def make_split(cache: Path, folder: Path) -> Path:
    """A file of splits as nnU-Net writes it; the last brain is not trained on."""
    with softlabel.open_cache(cache) as opened:
        cases = list(opened)
    path = folder / "splits_final.json"
    path.write_text(json.dumps([{"train": cases[:-1], "val": cases[-1:]}]), encoding="utf-8")
    return path


def make_transforms() -> tuple[Compose, Compose]:
    """For training and for validation."""
    load = [LoadSoftLabeld(KEYS), NormalizeIntensityd("image", channel_wise=True)]
    turn = RandAffined(
        KEYS, prob=0.5, rotate_range=(0, 0, 0.3), scale_range=(0.1, 0.1, 0),
        mode=MODES, padding_mode="zeros",
    )  # fmt: skip
    changes = [
        pad_with_background(turn),  # what zeros pad is background in the soft map too
        RandFlipd(KEYS, prob=0.5, spatial_axis=0),
        RandSpatialCropd(KEYS, PATCH, random_size=False),
    ]
    return Compose([*load, *changes]), Compose(load)


def train(network: UNet, loader: DataLoader, ignore: int) -> None:
    """MONAI's loss against the hard labels, and KL against the soft ones."""
    hard = DiceCELoss(to_onehot_y=True, softmax=True)
    soft = SoftLabelLoss(alpha=0, beta=1, ignore=ignore)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
    for epoch in range(EPOCHS):
        total = 0.0
        for batch in loader:
            logits = network(batch["image"])
            # MONAI's loss knows no ignored pixels: these brains have none
            loss = hard(logits, batch["label"]) + soft(logits, batch["label"], batch["soft"])[0]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch + 1}/{EPOCHS}: loss {total / len(loader):.3f}")


def score(network: UNet, loader: DataLoader, n_classes: int) -> float:
    """Mean Dice over classes but the background, of whole brains."""
    metric = DiceMetric(include_background=False)
    network.eval()
    with torch.no_grad():
        for batch in loader:
            logits = sliding_window_inference(batch["image"], PATCH, 4, network, overlap=0.25)
            predicted = one_hot(logits.argmax(1, keepdim=True), n_classes)
            metric(predicted, one_hot(batch["label"], n_classes))
    return float(metric.aggregate())


def main(folder: Path) -> None:
    """From nothing to a score."""
    folder.mkdir(exist_ok=True)
    set_determinism(0)
    cache = make_cache(folder)
    split = make_split(cache, folder)
    with softlabel.open_cache(cache) as opened:
        n_classes, n_channels = len(opened.classes), len(opened.channels)
        assert opened.ignore is None
    changed, plain = make_transforms()
    # loading is deterministic, so that CacheDataset keeps the loaded brains in memory
    training = CacheDataset(data_list(cache, split, "train") * 4, changed, progress=False)
    validation = CacheDataset(data_list(cache, split, "val"), plain, progress=False)
    network = UNet(3, n_channels, n_classes, channels=(12, 24, 48), strides=(2, 2), num_res_units=1)
    train(network, DataLoader(training, batch_size=2, shuffle=True), ignore=255)
    dice = score(network, DataLoader(validation), n_classes)
    print(f"Dice of a brain that was not trained on: {dice:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "folder", nargs="?", type=Path,
        help="where data and cache are written and stay; default: a temporary folder",
    )  # fmt: skip
    given = parser.parse_args().folder
    if given is not None:
        main(given)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
