"""nnU-Net's trainer with soft labels.

Everything is nnU-Net's own except the targets: labels and superpixels go through its augmentation,
the labels of the augmented patch are softened inside the superpixels of the augmented patch, on the
device, and the loss has KL against them. So the soft labels are exactly those of the labels that
the network sees, and none lie on the disk.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import Tensor, nn

import softlabel
from softlabel.bridges import Prepared, load_prepared
from softlabel.errors import UsageError
from softlabel_train.losses import enet_weights
from softlabel_train.nnunet.loss import SoftLabelSupervision
from softlabel_train.nnunet.superpixels import DatasetWithSuperpixels, joined_ids
from softlabel_train.nnunet.transforms import with_superpixels


class nnUNetTrainerSoftLabel(nnUNetTrainer):
    """nnU-Net's trainer with the loss CE + Dice + β · KL against soft labels.

    Needs the superpixels that ``softlabel nnunet prepare`` makes. A trainer of one's own sets the
    attributes::

        class nnUNetTrainerSoftLabelStrong(nnUNetTrainerSoftLabel):
            kl_weight = 2.0

    Attributes
    ----------
    kl_weight : float
        β.
    weigh_classes : bool
        Whether the cross-entropy is weighted by class, as ENet's weights of the training cases
        (:func:`softlabel_train.enet_weights`).
    """

    kl_weight = 1.0
    weigh_classes = False
    prepared: Prepared | None = None

    def on_train_start(self) -> None:
        """Find the superpixels before anything is started, and weigh the classes.

        Raises
        ------
        UsageError
            For a data set with regions, and for superpixels that are missing or of other images.
        """
        if self.label_manager.has_regions:
            raise UsageError(
                f"{self.plans_manager.dataset_name} has regions, which nnU-Net trains by a sigmoid "
                f"each; expected classes that exclude each other for {type(self).__name__}. Give "
                "each value an entry of its own in dataset.json, or train with nnUNetTrainer."
            )
        images = Path(self.preprocessed_dataset_folder)
        self.prepared = load_prepared(images)
        training, validation = self.do_split()
        self.prepared.require([*training, *validation], images)
        super().on_train_start()
        if self.weigh_classes:
            pixels = self.prepared.pixels(training)
            weights = enet_weights([pixels[value] for value in self.label_manager.all_labels])
            self.loss.set_class_weights(weights)
            self.print_to_log_file(f"Class weights: {weights.round(3).tolist()}")

    def get_tr_and_val_datasets(self) -> tuple[DatasetWithSuperpixels, DatasetWithSuperpixels]:
        """nnU-Net's data sets, with superpixels as channels of their segmentations."""
        assert self.prepared is not None, "on_train_start comes first"
        training, validation = super().get_tr_and_val_datasets()
        return (
            DatasetWithSuperpixels(training, self.prepared),
            DatasetWithSuperpixels(validation, self.prepared),
        )

    @staticmethod
    def get_training_transforms(
        *args: Any, is_cascaded: bool = False, **options: Any
    ) -> ComposeTransforms:
        """nnU-Net's transforms, with the nearest neighbour for superpixels."""
        stock = nnUNetTrainer.get_training_transforms(*args, is_cascaded=is_cascaded, **options)
        return with_superpixels(stock, label_channels=2 if is_cascaded else 1)

    def _build_loss(self) -> nn.Module:
        stock = super()._build_loss()
        if self.label_manager.has_regions:  # prediction builds a loss as well; training is refused
            return stock
        return SoftLabelSupervision(stock, self.kl_weight, self.label_manager.ignore_label)

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """nnU-Net's step, with soft labels in the loss."""
        return super().train_step(self._with_soft_labels(batch))

    def validation_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """nnU-Net's step, with soft labels in the loss."""
        return super().validation_step(self._with_soft_labels(batch))

    def _with_soft_labels(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch with the labels alone as its target; the loss gets the soft labels."""
        target = batch["target"]
        several = isinstance(target, list)
        finest = (target[0] if several else target).to(self.device, non_blocking=True)
        if self.kl_weight:
            self.loss.soft = self.soft_labels(finest)
        labels = [t[:, :1] for t in target[1:]] if several else []
        return {**batch, "target": [finest[:, :1], *labels] if several else finest[:, :1]}

    def soft_labels(self, channels: Tensor) -> Tensor:
        """Soft labels of augmented patches.

        Parameters
        ----------
        channels : tensor of int16, shape (B, 1 + channels of ids, *spatial)
            Labels and superpixels after augmentation.

        Returns
        -------
        tensor of float32, shape (B, K, *spatial)
        """
        assert self.prepared is not None, "on_train_start comes first"
        with torch.no_grad(), torch.autocast(channels.device.type, enabled=False):
            return softlabel.soften_batch(
                channels[:, 0],
                joined_ids(channels[:, 1:]),
                [int(value) for value in self.label_manager.all_labels],
                ignore=self.label_manager.ignore_label,
                **self.prepared.soften_options(),
            ).dense()


class nnUNetTrainerSoftLabelWCE(nnUNetTrainerSoftLabel):
    """The same with the loss WCE + Dice + β · KL."""

    weigh_classes = True
