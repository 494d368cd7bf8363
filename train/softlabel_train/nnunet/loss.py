"""nnU-Net's loss with a further term: CE (or WCE) + Dice + β · KL, at every resolution.

Dice, the weights of the resolutions and what is ignored are nnU-Net's own objects; cross-entropy
and KL are those of :class:`softlabel_train.losses.SoftLabelLoss`. With β = 0 and no class weights
the value is that of nnU-Net's loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from torch import Tensor, nn
from torch.nn.functional import interpolate

from softlabel_train.losses import SoftLabelLoss


class SoftLabelSupervision(nn.Module):
    """CE + Dice + β · KL of logits at one or several resolutions.

    nnU-Net's steps hand it outputs and labels only, so that the soft labels of a batch are set as
    :attr:`soft` beforehand.

    Parameters
    ----------
    stock : DeepSupervisionWrapper of DC_and_CE_loss, or DC_and_CE_loss
        nnU-Net's loss; its cross-entropy is switched off.
    kl_weight : float
        β.
    ignore : int or None
        Label value of pixels that count nowhere.
    """

    soft: Tensor | None
    dice: Any
    entropies: SoftLabelLoss
    resolution_weights: tuple[float, ...]

    def __init__(self, stock: Any, kl_weight: float, ignore: int | None) -> None:
        super().__init__()
        wrapped = isinstance(stock, DeepSupervisionWrapper)
        self.resolution_weights = tuple(stock.weight_factors) if wrapped else (1.0,)
        self.dice = stock.loss if wrapped else stock
        self.dice.weight_ce = 0
        self.kl_weight, self.ignore = kl_weight, ignore
        self.soft = None
        self.set_class_weights(None)

    def set_class_weights(self, weights: Sequence[float] | npt.NDArray[np.floating] | None) -> None:
        """Weigh the cross-entropy by class; None is the plain one."""
        self.entropies = SoftLabelLoss(
            alpha=0.0, beta=self.kl_weight, class_weights=weights, ignore=self.ignore
        )

    def forward(self, outputs: Tensor | list[Tensor], labels: Tensor | list[Tensor]) -> Tensor:
        """The loss of a batch.

        Parameters
        ----------
        outputs : tensor (B, K, *spatial), or a list of such, the finest first
        labels : tensor (B, 1, *spatial), or a list of such

        Raises
        ------
        ValueError
            When the soft labels are missing, or of another batch.
        """
        outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
        labels = labels if isinstance(labels, list | tuple) else [labels]
        if self.kl_weight and (self.soft is None or self.soft.shape != outputs[0].shape):
            found = None if self.soft is None else tuple(self.soft.shape)
            raise ValueError(
                f"the soft labels have shape {found}, the finest logits {tuple(outputs[0].shape)}; "
                "set those of the batch before its loss is computed."
            )
        total = outputs[0].new_zeros((), dtype=torch.float32)
        for weight, output, label in zip(self.resolution_weights, outputs, labels, strict=True):
            if weight:
                soft = None if self.soft is None else at_resolution(self.soft, label.shape[2:])
                entropies, _ = self.entropies.to(output.device)(output, label[:, 0], soft)
                total = total + weight * (entropies + self.dice(output, label))
        return total


def at_resolution(soft: Tensor, shape: Sequence[int]) -> Tensor:
    """Soft labels of the pixels that nnU-Net's deep supervision takes the labels of.

    Its DownsampleSegForDSTransform takes single pixels by ``nearest-exact``; the same pixels' soft
    labels go with them, so that hard and soft labels agree at every resolution.
    """
    if tuple(soft.shape[2:]) == tuple(shape):
        return soft
    return interpolate(soft, tuple(shape), mode="nearest-exact")
