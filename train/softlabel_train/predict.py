"""From images to class probabilities: whole images, or windows that slide over them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from softlabel.types import Array
from softlabel_train.data import Intensity


def normalised(image: Array, intensity: Intensity) -> Tensor:
    """An image (C, *spatial) as the network sees it: float32 (1, C, *spatial)."""
    values = torch.from_numpy(image.astype("float32"))
    view = (-1, *[1] * (values.ndim - 1))
    mean = torch.tensor(intensity.mean).view(view)
    deviation = torch.tensor(intensity.deviation).view(view)
    return ((values - mean) / deviation).unsqueeze(0)


def predict_probabilities(
    model: nn.Module,
    image: Tensor,
    *,
    window: Sequence[int] | None = None,
    overlap: float = 0.5,
) -> Tensor:
    """Class probabilities of one image.

    Parameters
    ----------
    model : Module
        (1, C, *spatial) → logits (1, K, *spatial); used as it is, so put it into eval mode.
    image : Tensor, shape (1, C, *spatial)
        Normalised, on the model's device.
    window : sequence of int, optional
        Size of a sliding window; windows are blended with Gaussian weights. None takes the whole
        image at once.
    overlap : float
        Share of a window that overlaps the next one.

    Returns
    -------
    Tensor of float32, shape (K, *spatial)
    """
    with torch.inference_mode():
        if window is None:
            return torch.softmax(model(image).float(), 1)[0]
        from monai.inferers import sliding_window_inference

        def probabilities(patch: Tensor) -> Tensor:
            return torch.softmax(model(patch).float(), 1)

        blended = sliding_window_inference(
            image, tuple(window), 1, probabilities, overlap=overlap, mode="gaussian",
            padding_mode="replicate",
        )  # fmt: skip
        assert isinstance(blended, Tensor)
        return blended[0]
