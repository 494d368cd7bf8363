"""A case of a cache becomes a picture: what it says, zoom, files, workers."""

import re
from dataclasses import replace
from pathlib import Path

import factories
import numpy as np
import pytest
from PIL import Image

from softlabel import generate
from softlabel.cache import open_cache
from softlabel.cache.verify import verify
from softlabel.errors import CaseError, UsageError
from softlabel.generation.settings import Settings
from softlabel.render import cases, draw
from softlabel.render.cases import case_picture, draw_cases, picture_path, write_picture
from softlabel.render.sections import View
from softlabel.softmaps import entropy_bits
from softlabel.types import ClassTable

from .factories import VOLUME, indices, long_volume

# --- what is read ---------------------------------------------------------------------------------


def test_an_image_is_shown_as_it_is_in_the_file(images):
    case = images["b"]
    picture = case_picture(images, "b", View())
    (section,) = picture.sections
    np.testing.assert_array_equal(section.image, case.image[0])
    np.testing.assert_array_equal(section.labels, indices(case.labels[...], images.classes))
    np.testing.assert_array_equal(section.superpixels, case.superpixels[...])
    np.testing.assert_array_equal(section.soft, entropy_bits(case.soft[...]))
    soft = case.soft[...]
    np.testing.assert_array_equal(section.band, ((soft != 0) & (soft != 1)).any(axis=0))
    assert section.band.any()
    assert section.mask is section.truth is None
    assert picture.class_names == images.classes.names
    assert (picture.rows.name, picture.columns.name) == ("axis 0", "axis 1")


def test_large_label_values_come_through_to_the_picture(tmp_path):
    """Neighbours beyond 2^53, which float64 cannot tell apart, as unsigned numbers of 64 bits."""
    image, labels = factories.scene()
    values = np.array([0, 2**60, 2**60 + 1], np.uint64)[np.digitize(labels, [1, 200])]
    for folder, array in (("images", image), ("labels", values)):
        (tmp_path / "data" / folder).mkdir(parents=True)
        np.save(tmp_path / "data" / folder / "a.npy", array)
    assert generate(tmp_path / "data", tmp_path / "c.h5", factories.QUICK).complete
    with open_cache(tmp_path / "c.h5") as cache:
        assert cache.classes.values == (0, 2**60, 2**60 + 1)
        np.testing.assert_array_equal(cache["a"].labels[...], values)
        shown = case_picture(cache, "a", View()).sections[0].labels
        np.testing.assert_array_equal(shown, np.digitize(labels, [1, 200]))
    assert not verify(tmp_path / "c.h5")


def photo_cache(folder, **changes):
    """One photo in red, green and blue whose rows and columns differ in length."""
    grey, labels = factories.scene()
    image = np.stack([grey, grey // 4, np.zeros_like(grey)])
    case = factories.small_case(**{"image": image, "labels": labels, "id": "p"} | changes)
    return open_cache(
        factories.cache_of(folder, [case], factories.QUICK, case.classes, None, case.channels)
    )


def test_a_photo_is_shown_in_its_colours(tmp_path):
    cache = photo_cache(tmp_path)
    picture = case_picture(cache, "p", View())
    np.testing.assert_array_equal(
        picture.sections[0].image, np.moveaxis(cache["p"].image[...], 0, -1)
    )
    assert picture.channel == "image"
    drawn = draw(picture).axes[0].images[0].get_array()
    np.testing.assert_allclose(drawn, picture.sections[0].image / 255)
    (zoomed,) = case_picture(cache, "p", View(zoom=True)).sections
    assert zoomed.image.shape == (*zoomed.labels.shape, 3)
    assert zoomed.labels.size < picture.sections[0].labels.size


def test_a_photo_that_was_read_from_a_file_is_shown_in_its_colours(tmp_path):
    grey, labels = factories.scene()
    photo = np.stack([grey, grey // 4, np.zeros_like(grey)], axis=-1).astype(np.uint8)
    for kind, array in (("images", photo), ("labels", labels.astype(np.uint8))):
        (tmp_path / "data" / kind).mkdir(parents=True)
        Image.fromarray(array).save(tmp_path / "data" / kind / "p.png")
    generate(tmp_path / "data", tmp_path / "c.h5", factories.QUICK)
    with open_cache(tmp_path / "c.h5") as cache:
        np.testing.assert_array_equal(case_picture(cache, "p", View()).sections[0].image, photo)


def test_one_channel_of_a_photo_is_grey(tmp_path):
    cache = photo_cache(tmp_path)
    for view in (View(channel=1), View(window=(0.0, 50.0))):
        picture = case_picture(cache, "p", view)
        np.testing.assert_array_equal(
            picture.sections[0].image, cache["p"].image[view.channel or 0]
        )


def test_three_channels_of_something_else_are_no_colours(tmp_path):
    stacks = photo_cache(tmp_path, channels=("T1", "T2", "FLAIR"))
    assert case_picture(stacks, "p", View()).sections[0].image.ndim == 2


def test_a_window_is_what_is_black_and_what_is_white(images):
    picture = case_picture(images, "b", View(window=(50.0, 100.0)))
    drawn = draw(picture).axes[0].images[0].get_array()[..., 0]
    image = images["b"].image[0].astype(float)
    np.testing.assert_allclose(drawn, np.clip((image - 50) / 50, 0, 1), atol=1e-12)


# --- which slices ---------------------------------------------------------------------------------


# --- what it says ---------------------------------------------------------------------------------


def test_it_says_what_the_case_is_and_what_made_it(volume):
    picture = case_picture(volume, VOLUME, View())
    numbers = volume[VOLUME].statistics
    facts, settings = picture.lines
    assert picture.title == f"Case {VOLUME}"
    assert facts.startswith("group Patient ß · 18 × 20 × 5 pixels · 0.5 × 0.5 × 2 mm · ")
    assert f"superpixels: {numbers['n_superpixels']} of 40 asked" in facts
    share = numbers["softened_pixels"] / numbers["class_pixels"].sum()
    assert facts.endswith(f"{100 * share:.1f} % of the known pixels softened")
    assert settings == (
        "method superpixel · boundary inner · scale 1 pixel · normalize none · SLIC · "
        "compactness 0.1, sigma 1 · superpixels per volume"
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            Settings(distance_unit="mm", boundary="edge", normalize="sum", superpixels="grid"),
            "method superpixel · boundary edge · scale 0.5 mm · normalize sum · regular grid · "
            "superpixels per volume",
        ),
        (
            Settings(scale=2, method_options={"in_plane": True, "min_minority": 0.1}),
            "scale 2 pixel · in-plane · min-minority 0.1 · normalize none",
        ),
        (Settings(method="gaussian", method_options={"blur": 1.5}), "method gaussian · "),
        (Settings(method="gaussian", method_options={"blur": 1.5}), "blur 1.5 · normalize none"),
        (
            Settings(preset="auto"),
            "normalize none · SLIC · preset auto · size 27 · compactness 0.2, sigma 0 · "
            "superpixels per volume",
        ),
        (Settings(method="svls"), "method svls · normalize none"),
        (Settings(method="distance", scale=2.0), "boundary inner · scale 2 pixel · normalize none"),
    ],
)
def test_settings_in_words(tmp_path, settings, words):
    cache = open_cache(factories.full_cache(tmp_path, settings=settings))
    picture = case_picture(cache, VOLUME, View(slice=0))
    assert words in picture.lines[1]
    assert (picture.sections[0].superpixels is None) == (settings.method != "superpixel")


def test_a_group_that_is_the_case_is_not_repeated(images):
    assert case_picture(images, "a", View()).lines[0].startswith("40 × 44 pixels")


def test_nothing_annotated(tmp_path):
    cache = long_volume(tmp_path, np.full((4, 4, 4), 999))
    picture = case_picture(cache, VOLUME, View())
    assert picture.lines[0].endswith("nothing annotated")
    write_picture(picture, tmp_path / "x.png", dpi=40)


# --- zoom -----------------------------------------------------------------------------------------


def test_zoom_shows_the_part_around_boundaries_and_band(tmp_path):
    labels = np.zeros((100, 90, 3))
    labels[60:64, 20:30] = 7
    labels[98:, 88:, 1] = 300
    cache = long_volume(tmp_path, labels)
    whole = case_picture(cache, VOLUME, View(slice=1, class_index=1))
    part = case_picture(cache, VOLUME, View(slice=1, class_index=1, zoom=True))
    rows, columns = part.rows.start, part.columns.start
    (section,) = part.sections
    assert 0 < rows < 60
    assert rows + section.labels.shape[0] < 98
    window = np.s_[rows : rows + section.labels.shape[0], columns:][0:2]
    cut = whole.sections[0].map_arrays(lambda a: a[window][:, : section.labels.shape[1]])
    np.testing.assert_array_equal(section.soft, cut.soft)
    np.testing.assert_array_equal(section.labels, cut.labels)
    assert cut.band.sum() == whole.sections[0].band.sum()
    everything = case_picture(cache, VOLUME, View(slice=1, zoom=True)).sections[0]
    assert (everything.labels == 2).any()
    assert (everything.labels == 1).sum() == 40


def test_zoom_without_boundaries_shows_all(tmp_path):
    cache = long_volume(tmp_path, np.full((30, 30, 3), 7))
    assert case_picture(cache, VOLUME, View(zoom=True)).sections[0].labels.shape == (30, 30)


def test_zoom_measures_what_it_shows(tmp_path):
    labels = np.zeros((40, 40, 3))
    labels[10:14, 20:30] = 7
    cache = long_volume(tmp_path, labels, spacing_mm=(0.5, 0.25, 2.0))
    picture = case_picture(cache, VOLUME, View(slice=2, class_index=1, zoom=True))
    rows, columns = picture.sections[0].labels.shape
    assert (picture.rows.length_mm, picture.columns.length_mm) == (rows * 0.5, columns * 0.25)
    assert rows < 40


# --- files ----------------------------------------------------------------------------------------


def test_views_have_files_of_their_own():
    table = ClassTable.from_mapping({0: "back ground", 5: "../x", 6: "-"})
    views = [
        View(), View(class_index=0), View(class_index=1), View(class_index=2), View(channel=1),
        View(axis=0), View(slice=3), View(axis=0, slice=3), View(zoom=True),
    ]  # fmt: skip
    paths = [picture_path(Path("f"), "a.b", table, view).as_posix() for view in views]
    assert paths == [
        "f/a.b.png",
        "f/a.b+class-0-back_ground.png",
        "f/a.b+class-5-x.png",
        "f/a.b+class-6.png",
        "f/a.b+channel-1.png",
        "f/a.b+axis-0.png",
        "f/a.b+slice-3.png",
        "f/a.b+axis-0+slice-3.png",
        "f/a.b+zoom.png",
    ]


def test_a_picture_has_the_same_bytes_every_time(volume, tmp_path):
    picture = case_picture(volume, VOLUME, View())
    write_picture(picture, tmp_path / "new" / "a.png", dpi=50)
    write_picture(picture, tmp_path / "b.png", dpi=50)
    data = (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "new" / "a.png").read_bytes() == data
    assert not re.search(rb"tIME|Software|Creation", data)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.png"]  # nothing temporary
    with Image.open(tmp_path / "b.png") as image:
        image.load()
        assert image.width > 300


def test_dots_per_inch(images, tmp_path):
    picture = case_picture(images, "a", View())
    sizes = []
    for dpi in (50, 100):
        write_picture(picture, tmp_path / "a.png", dpi=dpi)
        with Image.open(tmp_path / "a.png") as image:
            sizes.append(image.size)
    assert sizes[1] == pytest.approx(np.multiply(sizes[0], 2), abs=2)


@pytest.mark.filterwarnings("error")
def test_scripts_that_the_font_lacks_are_no_warning(images, tmp_path):
    picture = replace(case_picture(images, "a", View()), title="Case 中文 \u0e01")
    write_picture(picture, tmp_path / "a.png", dpi=40)


def test_a_folder_that_cannot_be_made_is_named(images, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"file.a\.png cannot be written .*; give a folder"):
        write_picture(case_picture(images, "a", View()), tmp_path / "file" / "a.png", dpi=40)


def test_a_damaged_case_does_not_stop_the_others(tmp_path):
    path = factories.make_cache(tmp_path)
    factories.part(path, "b").write_bytes(b"no HDF5")
    files = {name: tmp_path / f"{name}.png" for name in "abc"}
    with open_cache(path) as cache:
        done = dict(draw_cases(cache, files, View(), dpi=40))
    assert done["a"] == done["c"] == ""
    assert str(factories.part(path, "b")) in done["b"]
    assert [file.exists() for file in files.values()] == [True, False, True]


def test_workers_draw_the_same(images, tmp_path):
    one = {name: tmp_path / "one" / f"{name}.png" for name in images}
    two = {name: tmp_path / "two" / f"{name}.png" for name in images}
    assert dict(draw_cases(images, one, View(), dpi=40)) == dict.fromkeys(images, "")
    assert dict(draw_cases(images, two, View(), dpi=40, jobs=2)) == dict.fromkeys(images, "")
    for name in images:
        assert one[name].read_bytes() == two[name].read_bytes()


def test_a_worker_that_dies_is_told(images, tmp_path, monkeypatch):
    def run(*_):
        raise cases.parallel.WorkerDied("A worker process was killed.")

    monkeypatch.setattr(cases.parallel, "run", run)
    with pytest.raises(CaseError, match=r"killed\. Use fewer --jobs"):
        list(draw_cases(images, {"a": tmp_path / "a.png"}, View(), jobs=2))


def test_settings_that_have_no_say_are_not_told(volume, monkeypatch):
    settings = Settings(method="gaussian", distance_unit="mm").as_json({"format": "nnunet"})
    monkeypatch.setattr(volume, "header", replace(volume.header, settings=settings))
    words = case_picture(volume, VOLUME, View()).lines[1]
    assert words == "method gaussian · distances in mm · blur 1.0 · normalize none"
