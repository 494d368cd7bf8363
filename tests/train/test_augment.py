"""Augmentation changes image, labels and soft labels alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from softlabel_train.augment import Change, apply_intensity, apply_warp, draw_change
from softlabel_train.config import AugmentConfig


def arrays(shape=(9, 13), classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(1, 2, *shape, generator=generator)
    labels = torch.randint(0, classes, (1, *shape), generator=generator).to(torch.uint8)
    labels[0, 2, 3] = 255
    soft = torch.nn.functional.one_hot(labels.clamp(max=classes - 1).long(), classes)
    soft = soft.movedim(-1, 1).float() * (labels != 255).unsqueeze(1)
    return image, labels, soft


def warp_of(matrix):
    return torch.tensor(matrix, dtype=torch.float32).unsqueeze(0)


def test_the_identity_changes_nothing():
    before = arrays()
    after = apply_warp(*before, warp_of([[1, 0, 0], [0, 1, 0]]), 255)
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def test_a_shift_by_whole_pixels_moves_all_three_alike():
    image, labels, soft = arrays()
    moved, new, blended = apply_warp(image, labels, soft, warp_of([[1, 0, 2], [0, 1, -1]]), 255)
    # output pixel (r, c) is input pixel (r + 2, c − 1)
    torch.testing.assert_close(moved[..., :-2, 1:], image[..., 2:, :-1], atol=1e-5, rtol=0)
    assert torch.equal(new[:, :-2, 1:], labels[:, 2:, :-1])
    torch.testing.assert_close(blended[..., :-2, 1:], soft[..., 2:, :-1], atol=1e-5, rtol=0)
    assert (new[:, -2:] == 255).all() and (new[:, :, 0] == 255).all()
    assert not blended[..., -2:, :].any()


def test_a_rotation_turns_in_pixels_also_in_oblong_images():
    image = torch.zeros(1, 1, 11, 21)
    image[0, 0, 5, 10 + 4] = 1  # four columns right of the centre
    labels = image[:, 0].to(torch.uint8)
    soft = torch.cat([1 - image, image], 1)
    moved, new, _ = apply_warp(image, labels, soft, warp_of([[0, -1, 0], [1, 0, 0]]), 255)
    # output (r, c) from the centre is input (−c, r): input (0, 4) is output (4, 0)
    assert moved[0, 0, 5 + 4, 10].item() == pytest.approx(1, abs=1e-4)
    assert new[0, 5 + 4, 10] == 1


def test_volumes_are_warped_too():
    image = torch.rand(2, 1, 6, 7, 5)
    labels = torch.zeros(2, 6, 7, 5, dtype=torch.uint8)
    soft = torch.ones(2, 1, 6, 7, 5)
    warp = torch.eye(3, 4).repeat(2, 1, 1)
    torch.testing.assert_close(apply_warp(image, labels, soft, warp, 255)[0], image)


def test_intensity_changes_are_written_out():
    image = torch.ones(2, 1, 3, 3)
    changes = [Change((False, False), contrast=2.0, brightness=0.5),
               Change((False, False), noise=0.1, noise_seed=4)]  # fmt: skip
    changed = apply_intensity(image, changes)
    assert torch.equal(changed[0], torch.full((1, 3, 3), 2.5))
    assert not torch.equal(changed[1], image[1])
    assert torch.equal(changed, apply_intensity(image, changes))
    assert apply_intensity(image, [Change((False, False))] * 2) is image


@pytest.mark.parametrize("slice_axis", [None, 0, 1, 2])
def test_volumes_turn_around_the_axis_across_their_slices(slice_axis):
    config = AugmentConfig(rotate_degrees=90)
    warp = draw_change(config, (8, 9, 10), np.random.default_rng(1), slice_axis).warp
    across = 2 if slice_axis is None else slice_axis
    expected = np.zeros(3)
    expected[across] = 1
    np.testing.assert_array_equal(warp[across, :3], expected)
    np.testing.assert_array_equal(warp[:, across], expected)
    plane = [axis for axis in range(3) if axis != across]
    turned = warp[np.ix_(plane, plane)]
    np.testing.assert_allclose(turned @ turned.T, np.eye(2), atol=1e-6)
    assert abs(turned[0, 1]) > 0.01
