"""Classes from sliding windows, against MONAI's."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers import sliding_window_inference
from softlabel_train.windows import held_voxels, most_probable


def network(channels: int, classes: int, dims: int) -> torch.nn.Module:
    torch.manual_seed(0)
    kind = {2: torch.nn.Conv2d, 3: torch.nn.Conv3d}[dims]
    return kind(channels, classes, 3, padding=1).eval()


@settings(max_examples=40)
@given(
    shape=st.lists(st.integers(3, 23), min_size=2, max_size=3),
    window=st.lists(st.integers(4, 12), min_size=3, max_size=3),
    overlap=st.sampled_from([0, 0.25, 0.5, 0.75]),
)
def test_classes_are_those_of_monais_mean(shape, window, overlap):
    net = network(2, 5, len(shape))
    image = torch.rand(1, 2, *shape, generator=torch.Generator().manual_seed(1))

    def probabilities(patch):
        assert tuple(patch.shape[2:]) == tuple(window[: len(shape)])
        return torch.softmax(net(patch) * 3, 1)

    with torch.inference_mode():
        found = most_probable(probabilities, image, window[: len(shape)], overlap)
        mean = sliding_window_inference(
            image, window[: len(shape)], 1, probabilities, overlap=overlap, mode="gaussian",
            padding_mode="replicate",
        )[0]  # fmt: skip
    best = mean.topk(2, 0)
    sure = best.values[0] - best.values[1] > 1e-5
    assert found.shape == tuple(shape) and found.dtype == torch.uint8
    assert torch.equal(found[sure].long(), best.indices[0][sure])
    assert sure.float().mean() > 0.9


@pytest.mark.parametrize("classes", [3, 300])
def test_what_is_held_is_as_long_as_a_window(classes):
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            found = function(*args, **(kwargs or {}))
            if isinstance(found, torch.Tensor):
                largest = max(largest, found.numel())
            return found

    image = torch.rand(1, 1, 8, 8, 200)
    with Watch():
        index = most_probable(lambda p: p.expand(1, classes, *p.shape[2:]), image, (8, 8, 20), 0.5)
    assert index.shape == (8, 8, 200)
    assert index.dtype == (torch.uint8 if classes < 255 else torch.uint16)
    assert held_voxels((8, 8, 200), (8, 8, 20)) == 8 * 8 * 20
    assert largest <= max(classes * 8 * 8 * 20, image.numel())
