"""DynUNet in nnU-Net's shape, and its deep supervision."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from softlabel_train.checkpoint import LAST, load_checkpoint
from softlabel_train.dynunet import network_shape, pooled, supervised
from softlabel_train.loop import fit
from softlabel_train.losses import SoftLabelLoss
from softlabel_train.models import build_model
from softlabel_train.predict import load_network

from softlabel.cache import open_cache
from softlabel.errors import UsageError

from .factories import recipe_for

SMALL = {"filters": [4, 6, 8, 8, 8, 8, 8]}


# Plans that nnU-Net's publications state (Isensee et al. 2021, supplement): patch, spacing, strides
@pytest.mark.parametrize(
    ("patch", "spacing", "strides"),
    [
        ((128, 128, 128), (1, 1, 1), [(1, 1, 1), *[(2, 2, 2)] * 5]),
        ((20, 320, 256), (2.2, 0.6, 0.6),
         [(1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2), (1, 2, 2), (1, 2, 2)]),
        ((512, 512), (1, 1), [(1, 1), *[(2, 2)] * 7]),
        # the last axis alone is halved from 20 voxels to 10, and not on to 5
        ((8, 8, 40), (1, 1, 1), [(1, 1, 1), (2, 2, 2), (1, 1, 2)]),
    ],
)  # fmt: skip
def test_strides_are_those_of_nnunets_rule(patch, spacing, strides):
    found = network_shape(patch, spacing)
    assert list(found.strides) == strides
    assert found.kernels[-1] == (3,) * len(patch) and len(found.kernels) == len(strides)


@given(
    patch=st.lists(st.integers(4, 200), min_size=2, max_size=3),
    spacing=st.lists(st.floats(0.3, 9), min_size=3, max_size=3),
)
def test_no_level_is_too_small_and_kernels_only_grow(patch, spacing):
    try:
        kernels, strides = network_shape(patch, spacing[: len(patch)])
    except ValueError as error:
        assert "too small" in str(error)
        return
    for axis, n in enumerate(patch):
        for stride in strides:
            n = -(-n // stride[axis])
        assert n >= min(4, patch[axis])
        widths = [kernel[axis] for kernel in kernels]
        assert widths == sorted(widths) and set(widths) <= {1, 3}


def test_a_network_takes_any_size_and_returns_levels_only_while_it_is_trained():
    model = build_model(
        "dynunet", in_channels=2, n_classes=3, dims=3,
        options={"patch": [32, 32, 16], "spacing_mm": [1, 1, 3], "deep_supervision": True} | SMALL,
    )  # fmt: skip
    assert model.multiple == (8, 8, 4)
    sizes = [tuple(level.shape) for level in model(torch.zeros(2, 2, 32, 32, 16))]
    assert sizes == [(2, 3, 32, 32, 16), (2, 3, 16, 16, 16)]
    with pytest.raises(UsageError, match="multiples of \\[8, 8, 4\\]"):
        model(torch.zeros(1, 2, 33, 32, 16))
    with torch.no_grad():
        assert model.eval()(torch.zeros(1, 2, 33, 20, 9)).shape == (1, 3, 33, 20, 9)


def test_a_patch_too_small_is_refused():
    with pytest.raises(UsageError, match="8×8 is too small to be halved twice"):
        build_model("dynunet", in_channels=1, n_classes=2, options={"patch": [8, 8]})


@pytest.mark.parametrize("ignore", [None, 9])
def test_pooled_targets_written_out(ignore):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (2, 8, 6), generator=generator)
    soft = torch.rand(2, 3, 8, 6, generator=generator)
    soft /= soft.sum(1, keepdim=True)
    if ignore is not None:
        labels[0, :4, :3], labels[1, 2, 2] = ignore, ignore
        soft *= (labels != ignore).unsqueeze(1)
    hard, mean = pooled(labels, soft, (4, 2), ignore)
    for b in range(2):
        for r in range(4):
            for c in range(2):
                window = (b, slice(2 * r, 2 * r + 2), slice(3 * c, 3 * c + 3))
                expected = labels[b, 2 * r + 1, 3 * c + 1]
                assert hard[b, r, c] == expected
                known = labels[window] != (-1 if ignore is None else ignore)
                if expected == ignore:
                    assert not mean[b, :, r, c].any()
                    continue
                values = soft[b][:, window[1], window[2]]
                torch.testing.assert_close(mean[b, :, r, c], values[:, known].mean(1))
    torch.testing.assert_close(mean.sum(1), (hard != (-1 if ignore is None else ignore)).float())


def test_levels_weigh_half_as_much_each():
    loss = SoftLabelLoss(alpha=1.0, beta=1.0)
    labels = torch.randint(0, 2, (1, 8, 8), generator=torch.Generator().manual_seed(1))
    soft = torch.nn.functional.one_hot(labels, 2).movedim(-1, 1).float()
    levels = [torch.randn(1, 2, n, n) for n in (8, 4, 2)]
    total, terms = supervised(loss, levels, labels, soft, None)
    each = [loss(levels[0], labels, soft)[0]]
    each += [loss(level, *pooled(labels, soft, level.shape[2:], None))[0] for level in levels[1:]]
    torch.testing.assert_close(total, (4 * each[0] + 2 * each[1] + each[2]) / 7)
    assert terms["ce"] == loss(levels[0], labels, soft)[1]["ce"]
    assert supervised(loss, levels[0], labels, soft, None)[0] == each[0]


@pytest.mark.slow
def test_a_run_finds_patch_and_spacing_and_its_checkpoint_has_them(mri_cache, tmp_path):
    recipe = recipe_for(
        mri_cache, "data.crop=[32, 32, 8]", "data.batch_size=2", "train.steps=2", "loss.alpha=1",
        "evaluate.window=[32, 32, 8]", "model={architecture: dynunet}",
        "model.options={deep_supervision: true, filters: [4, 6, 8, 8, 8]}",
    )  # fmt: skip
    folder = tmp_path / "run"
    fit(recipe, folder, show=False)
    checkpoint = load_checkpoint(folder / LAST)
    assert checkpoint.recipe.model.options["patch"] == [32, 32, 8]
    (spacing,) = {case.spacing_mm for case in open_cache(mri_cache).values()}
    assert checkpoint.recipe.model.options["spacing_mm"] == pytest.approx(spacing, rel=1e-3)
    assert max(spacing) > 2 * min(spacing)
    net = load_network(checkpoint, "last", "cpu")
    with torch.no_grad():
        assert net(torch.zeros(1, 3, 32, 32, 8)).shape == (1, 11, 32, 32, 8)
    longer = recipe.model_copy(update={"train": recipe.train.model_copy(update={"steps": 3})})
    assert fit(longer, folder, show=False).steps == 3
    other = recipe_for(
        mri_cache, "data.crop=[32, 32, 8]", "data.batch_size=2", "train.steps=3", "loss.alpha=1",
        "evaluate.window=[32, 32, 8]", "model={architecture: dynunet}",
        "model.options={deep_supervision: true, filters: [4, 6, 8, 8, 8], patch: [16, 32, 8]}",
    )  # fmt: skip
    with pytest.raises(UsageError, match=r"model\.options\.patch"):
        fit(other, folder, show=False)
