"""nnU-Net's own augmentation, which turns and scales superpixel ids by the nearest neighbour.

Its SpatialTransform interpolates each value of a segmentation on its own and takes the largest,
which is right for a handful of labels and takes seconds for thousands of superpixels. Everything
else that it does to segmentations (cropping, mirroring, sampling for deep supervision) takes single
pixels already, and what it does to intensities (noise, blur, low resolution) leaves segmentations
alone.
"""

from __future__ import annotations

from copy import copy
from typing import Any

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from torch import Tensor


class SpatialTransformOfSuperpixels(BasicTransform):
    """nnU-Net's SpatialTransform, with the nearest neighbour for channels of superpixel ids.

    Parameters
    ----------
    spatial : SpatialTransform
        As nnU-Net has it, for the image and the label channels.
    label_channels : int
        The first channels of a segmentation, which are no ids.
    """

    def __init__(self, spatial: SpatialTransform, label_channels: int) -> None:
        super().__init__()
        self.spatial, self.label_channels = spatial, label_channels
        self.nearest = copy(spatial)
        self.nearest.mode_seg = "nearest"

    def get_parameters(self, **data: Any) -> dict[str, Any]:
        """Those of the SpatialTransform, drawn once for image, labels and ids."""
        segmentation = data["segmentation"]
        # nnU-Net takes slices of anisotropic volumes as channels, and says how many there were.
        channels = data.get("nchannels_seg", len(segmentation))
        planes = len(segmentation) // channels
        own = {"first_of_ids": self.label_channels * planes}
        return self.spatial.get_parameters(**data) | own

    def _apply_to_image(self, img: Tensor, **params: Any) -> Tensor:
        return self.spatial._apply_to_image(img, **params)

    def _apply_to_segmentation(self, segmentation: Tensor, **params: Any) -> Tensor:
        first = params["first_of_ids"]
        labels = self.spatial._apply_to_segmentation(segmentation[:first], **params)
        ids = self.nearest._apply_to_segmentation(segmentation[first:], **params)
        return torch.cat((labels, ids))


def with_superpixels(transforms: ComposeTransforms, label_channels: int) -> ComposeTransforms:
    """The transforms of training, for segmentations with channels of superpixel ids.

    Raises
    ------
    ValueError
        When there is not exactly one SpatialTransform among them, which another version of nnU-Net
        may have changed.
    """
    found = [t for t in transforms.transforms if isinstance(t, SpatialTransform)]
    if len(found) != 1:
        raise ValueError(
            f"nnU-Net's training has {len(found)} SpatialTransforms; expected one, as in nnunetv2 "
            "2.8. Install that version: pip install '.[nnunet]' in the clone of softlabel."
        )
    return ComposeTransforms(
        [
            SpatialTransformOfSuperpixels(t, label_channels) if t is found[0] else t
            for t in transforms.transforms
        ]
    )
