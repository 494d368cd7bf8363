"""Augmentation changes image, labels and soft labels alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from softlabel_train.augment import Change, apply_intensity, apply_places, draw_change
from softlabel_train.config import AugmentConfig


def arrays(shape=(9, 13), classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(1, 2, *shape, generator=generator)
    labels = torch.randint(0, classes, (1, *shape), generator=generator).to(torch.uint8)
    labels[0, 2, 3] = 255
    soft = torch.nn.functional.one_hot(labels.clamp(max=classes - 1).long(), classes)
    soft = soft.movedim(-1, 1).float() * (labels != 255).unsqueeze(1)
    return image, labels, soft


def warp_of(matrix, n=1):
    matrix = np.array(matrix, np.float32)
    return [Change((False,) * len(matrix), warp=matrix)] * n


def test_the_identity_changes_nothing():
    before = arrays()
    after = apply_places(*before, warp_of([[1, 0, 0], [0, 1, 0]]), 255)
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def test_a_shift_by_whole_pixels_moves_all_three_alike():
    image, labels, soft = arrays()
    moved, new, blended = apply_places(image, labels, soft, warp_of([[1, 0, 2], [0, 1, -1]]), 255)
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
    moved, new, _ = apply_places(image, labels, soft, warp_of([[0, -1, 0], [1, 0, 0]]), 255)
    # output (r, c) from the centre is input (−c, r): input (0, 4) is output (4, 0)
    assert moved[0, 0, 5 + 4, 10].item() == pytest.approx(1, abs=1e-4)
    assert new[0, 5 + 4, 10] == 1


def test_volumes_are_warped_too():
    image = torch.rand(2, 1, 6, 7, 5)
    labels = torch.zeros(2, 6, 7, 5, dtype=torch.uint8)
    soft = torch.ones(2, 1, 6, 7, 5)
    warp = warp_of(np.eye(3, 4), 2)
    moved = apply_places(image, labels, soft, warp, 255)[0]
    torch.testing.assert_close(moved, image, atol=1e-5, rtol=0)


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


# Against SciPy, written out pixel by pixel


def inputs_of(change, shape):
    """Places that output pixels come from, (dims, *shape), in array indices."""
    dims = len(shape)
    middle = [(n - 1) / 2 for n in shape]
    centred = np.stack(np.meshgrid(*[np.arange(n) - m for n, m in zip(shape, middle, strict=True)],
                                   indexing="ij"))  # fmt: skip
    matrix = np.eye(dims, dims + 1) if change.warp is None else change.warp
    places = np.tensordot(matrix[:, :dims], centred, 1) + matrix[:, dims].reshape(-1, *[1] * dims)
    if change.elastic is not None:
        controls = change.elastic.shape[1:]
        at = np.stack(
            [(c + m) * (k - 1) / (n - 1)
             for c, m, k, n in zip(centred, middle, controls, shape, strict=True)]
        )  # fmt: skip
        places += [ndimage.map_coordinates(moved, at, order=1) for moved in change.elastic]
    return places + np.reshape(middle, (-1, *[1] * dims))


@pytest.mark.parametrize("shape", [(41, 33), (12, 15, 9)])
@pytest.mark.parametrize("seed", range(3))
def test_places_are_scipys(shape, seed):
    config = AugmentConfig(
        rotate_degrees=30, rotate_across_degrees=20, scale=0.2, shift=0.1, elastic=3
    )
    rng = np.random.default_rng(seed)
    change = draw_change(config, shape, rng)
    image, labels, soft = (t[0] for t in arrays(shape, seed=seed))
    moved, new, blended = (
        t[0] for t in apply_places(image[None], labels[None], soft[None], [change], 255)
    )
    places = inputs_of(change, shape)
    for channel, found in zip(image, moved, strict=True):
        expected = ndimage.map_coordinates(channel.numpy(), places, order=1, mode="nearest")
        np.testing.assert_allclose(found, expected, atol=2e-4)
    nearest = np.rint(places).astype(int)
    sides = np.reshape(shape, (-1, *[1] * len(shape)))
    inside = ((nearest >= 0) & (nearest < sides)).all(0)
    expected = np.where(inside, labels.numpy()[tuple(np.clip(nearest, 0, sides - 1))], 255)
    unsure = (np.abs(places - np.floor(places) - 0.5) < 1e-3).any(0)
    np.testing.assert_array_equal(np.where(unsure, 0, new), np.where(unsure, 0, expected))
    known = new.numpy() != 255
    assert 0.3 < known.mean() < 1
    np.testing.assert_allclose(blended.sum(0)[known], 1, atol=1e-4)
    assert blended.min() >= 0 and blended.max() <= 1 + 1e-4
    assert not blended[:, ~known].any()


def test_thick_slices_are_neither_bent_nor_blurred_across():
    config = AugmentConfig(elastic=3, blur=2, low_resolution=0.5)
    change = draw_change(config, (40, 40, 8), np.random.default_rng(0), slice_axis=2)
    assert not change.elastic[2].any() and change.elastic[:2].any()
    assert change.blur[2] == 0 and change.blur[0] == change.blur[1] > 0
    assert change.low_resolution[2] == 1 and 0.5 < change.low_resolution[0] < 1


def test_chance_is_the_share_of_images():
    config = AugmentConfig(rotate_degrees=9, elastic=1, blur=1, brightness=1, low_resolution=0.5,
                           gamma=0.5, noise=1, chance=0.25)  # fmt: skip
    rng = np.random.default_rng(0)
    changes = [draw_change(config, (8, 8), rng) for _ in range(800)]
    plain = draw_change(AugmentConfig(), (8, 8), rng)
    for name in ("warp", "elastic", "blur", "brightness", "low_resolution", "gamma", "noise"):
        changed = [getattr(c, name) is not getattr(plain, name) and
                   np.any(getattr(c, name) != getattr(plain, name)) for c in changes]  # fmt: skip
        assert 0.18 < np.mean(changed) < 0.32, name


def test_blur_is_scipys_gaussian():
    image = arrays((31, 27))[0]
    (found,) = apply_intensity(image, [Change((False, False), blur=(1.5, 0.0))])
    expected = ndimage.gaussian_filter(image[0].numpy(), (0, 1.5, 0), mode="nearest")
    # MONAI integrates the Gaussian over each pixel
    np.testing.assert_allclose(found, expected, atol=0.01)
    assert np.abs(expected - image[0].numpy()).max() > 0.3


def test_gamma_keeps_mean_and_deviation_of_each_channel():
    image = arrays((31, 27))[0]
    image = torch.cat([image, torch.ones(1, 1, 31, 27)], 1)
    (found,) = apply_intensity(image, [Change((False, False), gamma=0.5)])
    bent = image[0, 0] - image[0, 0].min()
    bent = (bent / bent.max()) ** 0.5
    expected = (bent - bent.mean()) / bent.std() * image[0, 0].std() + image[0, 0].mean()
    torch.testing.assert_close(found[0], expected, atol=1e-4, rtol=0)
    assert torch.equal(found[2], image[0, 2]), "a channel without contrast"


def test_a_coarser_image_loses_what_is_finer_than_its_pixels():
    stripes = torch.tensor([0.0, 1.0]).repeat(1, 1, 16, 16)
    (found,) = apply_intensity(stripes, [Change((False, False), low_resolution=(1.0, 0.25))])
    assert found.shape == (1, 16, 32)
    assert found.std() < 0.05 < stripes.std()
    smooth = torch.linspace(0, 1, 32).repeat(1, 1, 16, 1)
    (kept,) = apply_intensity(smooth, [Change((False, False), low_resolution=(1.0, 0.5))])
    torch.testing.assert_close(kept, smooth[0], atol=0.04, rtol=0)


@pytest.mark.parametrize("across", [0, 1, 2])
def test_volumes_are_turned_out_of_the_plane_of_their_slices_too(across):
    config = AugmentConfig(rotate_across_degrees=20)
    rng = np.random.default_rng(3)
    for _ in range(20):
        turned = draw_change(config, (8, 9, 10), rng, across).warp[:, :3].astype(float)
        np.testing.assert_allclose(turned @ turned.T, np.eye(3), atol=1e-6)
        assert np.linalg.det(turned) == pytest.approx(1)
        plane = [axis for axis in range(3) if axis != across]
        assert all(abs(turned[across, axis]) > 1e-4 for axis in plane), "around both of its axes"
        # two turns of at most 20 degrees
        assert turned[across, across] >= np.cos(np.deg2rad(20)) ** 2 - 1e-9
    plain = AugmentConfig(rotate_across_degrees=20)
    assert draw_change(plain, (8, 9), rng).warp[:, :2].tolist() == np.eye(2).tolist()
