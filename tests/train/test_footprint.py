"""The memory of a run, counted before it starts."""

from __future__ import annotations

import math

import pytest
import torch
from softlabel_train import loop
from softlabel_train.footprint import LiveBytes, footprint, resident_bytes
from softlabel_train.loop import make_network
from softlabel_train.prepare import open_data
from torch import nn

from .factories import recipe_for

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def found(cache, *overrides, network=make_network, device=GPU):
    recipe = recipe_for(cache, *overrides)
    return footprint(recipe, open_data(recipe, cache), network, device)


def test_what_is_alive_is_counted_once_and_no_longer_than_it_lives():
    with LiveBytes() as live:
        a = torch.zeros(1000)
        b = a + 1
        assert (live.now, live.peak) == (8000, 8000)
        b.view(10, 100).mul_(2)
        assert live.now == 8000, "a view and a change in place are no memory"
        del b
        c = a[:10].clone()
        assert (live.now, live.peak) == (4040, 8000)
    assert c.numel() == 10


def test_the_parts_are_those_of_a_network_counted_by_hand(oct_cache):
    def pointwise(recipe, data):
        return nn.Conv2d(data.channels, len(data.classes), 1, bias=False)

    one = found(oct_cache, "data.crop=[64, 32]", "data.batch_size=3", network=pointwise)
    assert one.network == 4 * 10 * 4, "weights, gradients and two moments of ten numbers"
    assert one.libraries == 0
    pixels = 3 * 64 * 32
    # image, labels, soft labels, logits and their logarithm live together, and some more
    least = pixels * (4 + 1 + 3 * 10 * 4)
    assert least < one.step < 3 * least
    frame = 224 * 144
    assert one.prediction >= frame * 4 * (1 + 2 * 10)
    sgd = found(oct_cache, "optimizer={name: sgd, momentum: 0}", network=pointwise)
    assert sgd.network == 2 * 10 * 4
    assert one.peak == one.network + max(one.step, one.prediction)


def test_coarser_outputs_count_too(oct_cache):
    class Two(nn.Module):
        def __init__(self, deep):
            super().__init__()
            self.net, self.deep = nn.Conv2d(1, 10, 1), deep

        def forward(self, image):
            fine = self.net(image)
            coarse = nn.functional.avg_pool2d(fine, 2)
            return [fine, coarse] if self.deep and self.training else fine

    alone, both = (
        found(
            oct_cache,
            "data.crop=[64, 64]",
            "data.batch_size=1",
            network=lambda *a, deep=deep: Two(deep),
        )
        for deep in (False, True)
    )
    # the coarser output and its gradient are alive while the loss is computed, or later
    assert alone.step < both.step <= alone.step + 3 * 4 * 10 * 32 * 32
    assert alone.prediction == both.prediction


def test_a_step_grows_with_the_batch_and_a_prediction_with_the_window(mri_cache):
    one, four, wide = (
        found(mri_cache, "data.crop=[32, 32, 16]", f"data.batch_size={batch}",
              f"evaluate.window={window}")
        for batch, window in ((1, [32, 32, 16]), (4, [32, 32, 16]), (1, [64, 64, 16]))
    )  # fmt: skip
    assert four.step == pytest.approx(4 * one.step, rel=0.05)
    assert four.prediction == one.prediction and four.network == one.network
    assert wide.prediction > one.prediction and wide.step == one.step


def test_levels_that_are_judged_are_counted(mri_cache):
    sizes = "filters: [4, 6, 8, 8, 8], patch: [32, 32, 16]"
    plain, deep = (
        found(mri_cache, "data.crop=[32, 32, 16]", "evaluate.window=[32, 32, 16]",
              "model={architecture: dynunet}",
              f"model.options={{{sizes}, deep_supervision: {judged}}}")
        for judged in ("false", "true")
    )  # fmt: skip
    assert plain.step < deep.step < 2 * plain.step


def test_half_precision_takes_less(oct_cache):
    full, half = (
        found(oct_cache, "data.crop=[128, 128]", f"train.precision={p}")
        for p in ("32-true", "bf16-mixed")
    )
    assert half.step < full.step and half.network == full.network


def test_nothing_is_taken_to_find_out(oct_cache):
    """A batch of sixty thousand images is counted as soon as one of two."""
    huge = found(oct_cache, "data.batch_size=60000", "data.crop=[128, 128]", device=CPU)
    assert huge.step > 1e11
    assert huge.libraries == pytest.approx(resident_bytes(), rel=0.5)
    assert math.isclose(huge.peak, huge.libraries + huge.network + huge.step)
    assert "Memory on cpu: at least about" in huge.sentence("cpu")


def test_a_network_that_cannot_be_tried_has_no_estimate(monkeypatch):
    def refuse(*arguments):
        raise RuntimeError("no fake tensors")

    class Run:
        recipe = data = None
        fabric = type("Fabric", (), {"device": CPU})

    monkeypatch.setattr(loop, "footprint", refuse)
    assert loop.estimated(Run) is None
