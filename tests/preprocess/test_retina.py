"""Where the retina is, against the truth of phantoms, and images that show none."""

from __future__ import annotations

import numpy as np
import pytest

from softlabel.preprocess import denoise_bscan, fill_background, find_retina
from softlabel.preprocess.retina import (
    OUTLIER_UM,
    RESULT,
    Retina,
    fall_near,
    first_guess,
    is_upright,
    robust_curve,
    smooth_without_outliers,
)
from softlabel.wedges import find_wedges

from .conftest import AXIAL_UM, LATERAL_UM

SPACING_UM = (AXIAL_UM, LATERAL_UM)
GOAL_MEAN_UM, GOAL_95TH_UM = 3.9, 11.6


def filled(bscan):
    return fill_background(bscan.image, find_wedges(bscan.image))


def errors_um(bscans, change=lambda image: image):
    found = [find_retina(change(filled(b)), SPACING_UM, ~find_wedges(b.image)) for b in bscans]
    error = np.stack(
        [(f.membrane - b.boundaries[7]) * AXIAL_UM for f, b in zip(found, bscans, strict=True)]
    )
    ilm = np.stack(
        [(f.ilm - b.boundaries[0]) * AXIAL_UM for f, b in zip(found, bscans, strict=True)]
    )
    return error, ilm


@pytest.mark.parametrize("change", [lambda i: i, denoise_bscan], ids=["as it is", "denoised"])
def test_the_membrane_of_phantoms_with_and_without_fluid(bscans, change):
    error, ilm = errors_um(bscans, change)
    wet = np.stack([(b.fluid > 0).any(axis=0) for b in bscans])
    assert wet.sum() > 200
    for columns in (wet, ~wet):
        off = np.abs(error[columns])
        assert off.mean() <= GOAL_MEAN_UM and np.percentile(off, 95) <= GOAL_95TH_UM
    assert abs(error.mean()) < 3
    assert np.percentile(np.abs(ilm), 95) < 12


def test_wedges_do_not_pull_the_membrane(bscans):
    """The same with a mask alone, without one, and with an image that never had wedges."""
    bscan = max(bscans, key=lambda b: np.count_nonzero(b.image == 255))
    wedge = find_wedges(bscan.image)
    masked = find_retina(bscan.image, SPACING_UM, ~wedge)
    without = find_retina(filled(bscan), SPACING_UM)
    assert np.abs(masked.membrane - without.membrane).max() * AXIAL_UM < 1


def test_shadows_and_masked_columns_are_bridged(bscans):
    bscan = bscans[1]
    image = filled(bscan).copy()
    image[:, 200:215] = 20  # a vessel that swallows all light
    mask = np.ones(image.shape, bool)
    mask[:, 400:440] = False
    image[:, 400:440] = np.random.default_rng(0).integers(0, 255, (496, 40))
    error = (find_retina(image, SPACING_UM, mask).membrane - bscan.boundaries[7]) * AXIAL_UM
    assert np.abs(error[195:220]).max() < 26 and np.abs(error[395:445]).max() < 26
    assert np.abs(error).mean() < GOAL_MEAN_UM


def test_every_numeric_type_and_scale(bscans):
    image = filled(bscans[0])
    expected = find_retina(image, SPACING_UM)
    for other in (image.astype(np.uint16) * 200, image.astype(np.float64) - 1000, image / 255):
        got = find_retina(other, SPACING_UM)
        assert np.abs(got.membrane - expected.membrane).max() < 0.1


def test_a_retina_that_the_top_cuts(bscans):
    """Where the vitreous is missing, the border of the frame stands for the ILM."""
    for bscan in bscans[:4]:
        cut = int(np.percentile(bscan.boundaries[0], 25))
        found = find_retina(filled(bscan)[cut:], SPACING_UM)
        error = np.abs(found.membrane - (bscan.boundaries[7] - cut)) * AXIAL_UM
        assert error.mean() < 2 * GOAL_MEAN_UM
        true = np.count_nonzero(bscan.boundaries[0] < cut)
        assert found.touches_border == pytest.approx(true, rel=0.25)


def test_a_retina_of_which_little_is_left(bscans):
    bscan = bscans[0]
    cut = int(bscan.boundaries[5].max())
    with pytest.raises(ValueError, match=r"leaves the frame in|seems to be|no retina"):
        find_retina(filled(bscan)[cut:], SPACING_UM)


def test_inverted_and_upside_down(bscans):
    for bscan in (bscans[0], bscans[5]):
        image = filled(bscan)
        for shown, word in (
            (255 - image, r"seems to be inverted \(dark"),
            (image[::-1], "seems to be upside down"),
            (255 - image[::-1], "seems to be inverted and upside down"),
        ):
            with pytest.raises(ValueError, match=word):
                find_retina(shown, SPACING_UM)


def noise(rng, bscan):
    return rng.integers(0, 255, (496, 768)).astype(np.uint8)


def vitreous(rng, bscan):
    return filled(bscan)[: int(bscan.boundaries[0].min()) - 5]


def on_its_side(rng, bscan):
    return filled(bscan).T


@pytest.mark.parametrize("draw", [noise, vitreous, on_its_side])
def test_images_without_a_retina(bscans, draw):
    with pytest.raises(ValueError, match=r"no retina was found in the frame: the gradients of"):
        find_retina(draw(np.random.default_rng(0), bscans[0]), SPACING_UM)


@pytest.mark.parametrize(
    ("image", "mask", "message"),
    [
        (np.zeros((496, 50)), None, "one intensity everywhere"),
        (np.eye(496), np.zeros((496, 496), bool), "every A-scan of the image is masked"),
        (np.eye(30), None, r"30 rows \(116 µm\) and 30 columns cannot hold a retina"),
        (np.eye(496)[:, :2], None, "2 columns cannot hold a retina"),
    ],
)
def test_images_that_cannot_be(image, mask, message):
    with pytest.raises(ValueError, match=message):
        find_retina(image, SPACING_UM, mask)


def test_the_first_guess_on_clean_steps():
    image = np.full((300, 40), 20.0)
    image[100:], image[160:], image[170:] = 100, 180, 60
    ilm, membrane = first_guess(image, SPACING_UM)
    assert np.abs(ilm - 99.5).max() <= 1 and np.abs(membrane - 169.5).max() <= 2


def test_the_fall_is_found_to_a_fraction_of_a_pixel():
    true = 150 + 6 * np.sin(np.arange(200) / 40)
    row = np.arange(300)[:, None]
    image = 100.0 - 80 * np.clip(row + 0.5 - true, 0, 1)
    got = fall_near(image, np.full(200, 152.0), SPACING_UM, 40)
    assert np.abs(got - true).max() < 0.35


def test_the_curve_follows_the_many_and_not_the_few():
    rng = np.random.default_rng(0)
    place = np.linspace(-1, 1, 300)
    true = 250 + 30 * place - 40 * place**2 + 15 * place**3
    rows = true + rng.normal(0, 1, 300)
    rows[rng.random(300) < 0.2] += rng.uniform(20, 150)
    rows[100:140] = 400  # fluid as wide as 450 µm
    used = np.ones(300, bool)
    assert np.abs(robust_curve(rows, used, 3.0) - true).max() < 2
    used[100:140] = False
    assert np.abs(robust_curve(rows, used, 3.0) - true).max() < 1.5


def test_outliers_are_left_out_and_the_others_smoothed():
    rng = np.random.default_rng(0)
    true = 5 * np.sin(np.arange(300) / 60)
    rows = true + rng.normal(0, 1, 300)
    far = rng.random(300) < 0.15
    rows[far] += 2 * OUTLIER_UM / AXIAL_UM
    used = np.ones(300, bool)
    assert np.abs(smooth_without_outliers(rows, used, SPACING_UM) - true).max() < 1
    all_of_them = RESULT._replace(limit_um=1e9)
    assert np.abs(smooth_without_outliers(rows, used, SPACING_UM, all_of_them) - true).max() > 2
    # where nothing is used the curve stands
    assert not smooth_without_outliers(rows, ~used, SPACING_UM).any()


@pytest.mark.parametrize(
    ("above", "inside", "below", "upright"),
    [
        (30, 115, 115, True),
        (30, 106, 154, True),  # the membrane near the border: the strip is the bright epithelium
        (140, 140, 250, False),
        (110, 90, 30, False),  # upside down
        (40, 110, 35, False),
        (114, 160, 223, False),  # inverted and upside down
    ],
)
def test_which_way_a_retina_lies(above, inside, below, upright):
    image = np.full((200, 10), above, np.float32)
    image[60:140], image[140:] = inside, below
    found = Retina(np.full(10, 60.0), np.full(10, 139.0), 1.0, 0)
    assert is_upright(image, found, AXIAL_UM) is upright
    # a strip that the frame does not hold is not asked
    at_the_top = Retina(np.zeros(10), np.full(10, 79.0), 1.0, 10)
    assert is_upright(image[60:], at_the_top, AXIAL_UM)
