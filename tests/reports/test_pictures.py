"""Thumbnails of cached cases."""

from dataclasses import replace

import factories
import numpy as np
import pytest
from pages import decoded

from softlabel.cache import open_cache
from softlabel.errors import CaseError
from softlabel.reports import pictures
from softlabel.reports.pictures import (
    ENTROPY,
    LABELS,
    SUPERPIXELS,
    case_thumbnails,
    class_layer,
    draw_thumbnails,
)

MANY = 10_000_000


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    with open_cache(factories.full_cache(tmp_path_factory.mktemp("volume"))) as cache:
        yield cache


def test_slices_of_a_volume_lie_as_in_other_pictures(volume):
    (case_id,) = volume
    found = case_thumbnails(volume, case_id, [1, 2], MANY)
    # axis 1 runs to anterior and axis 0 to the right: A is at the top, R on the left
    assert found.ends == (("A", "P"), ("R", "L"))
    assert found.size == (20, 18) and found.slices == 5 and found.compressed == 1
    names = {LABELS, SUPERPIXELS, ENTROPY, class_layer(1), class_layer(2)}
    case = volume[case_id]
    for picture in found.pictures:
        assert set(picture.overlays) == names
        number = int(picture.name.split()[1])
        seen = decoded(picture.overlays[LABELS])[..., 3] > 0
        known = case.labels[:, :, number] != volume.ignore
        np.testing.assert_array_equal(seen, known.T[::-1, ::-1])
        soft = case.soft[1, :, :, number].T[::-1, ::-1]
        band = decoded(picture.overlays[class_layer(1)])[..., 3] == 255
        np.testing.assert_array_equal(band, (soft > 0) & (soft < 1))


def test_less_room_gives_smaller_pictures_and_never_more_than_the_room(volume, tmp_path):
    cache = open_cache(factories.make_cache(tmp_path, ["a"], shape=(300, 400)))
    sizes = []
    for room in (MANY, 60_000, 30_000, 10_000):
        found = case_thumbnails(cache, "a", [0, 1, 2], room)
        assert found.characters <= room
        sizes.append(found.size[1])
    assert sizes == sorted(sizes, reverse=True) and sizes[0] == 400 and sizes[-1] < 200
    with pytest.raises(CaseError, match="do not fit"):
        case_thumbnails(cache, "a", [], 500)


@pytest.mark.parametrize("room", [60_000, 25_000, 12_000, 6_000])
def test_what_is_not_drawn_would_not_have_fitted(tmp_path, monkeypatch, room):
    with open_cache(factories.make_cache(tmp_path, ["i"], shape=(160, 200))) as cache:
        found = case_thumbnails(cache, "i", (0, 1, 2), room)
        monkeypatch.setattr(pictures, "least_characters", lambda drawn, rung: 0)
        assert case_thumbnails(cache, "i", (0, 1, 2), room) == found


def test_pixels_have_their_true_shape_within_limits(tmp_path):
    case = replace(factories.full_case(), spacing_mm=(0.5, 1.0, 2.0), affine=None)
    cache = open_cache(factories.full_cache(tmp_path, [case]))
    found = case_thumbnails(cache, case.id, [], MANY)
    assert found.size == (9, 20)[:2] and found.ends == (None, None)


def test_a_photo_keeps_its_colours(tmp_path):
    image, labels = factories.scene()
    colours = np.stack([image, image // 4, np.zeros_like(image)])
    settings = factories.QUICK
    case = factories.small_case(image=colours, labels=labels, id="a")
    cache = open_cache(factories.cache_of(tmp_path, [case], settings, case.classes, None, ()))
    (picture,) = case_thumbnails(cache, "a", [], MANY).pictures
    red, green, blue, _ = decoded(picture.image).astype(float).mean(axis=(0, 1))
    assert red > 2 * green > 4 * blue
    assert red == pytest.approx(image.mean(), rel=0.05)


def test_a_damaged_case_is_told_and_the_others_are_drawn(tmp_path):
    path = factories.make_cache(tmp_path)
    factories.part(path, "b").write_bytes(b"no part")
    cache = open_cache(path)
    found = dict(draw_thumbnails(cache, {"a": [1], "b": [1]}, MANY))
    assert found["a"].pictures and "b" in found["b"]
