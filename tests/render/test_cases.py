import json
import re
from dataclasses import replace
from pathlib import Path

import factories
import numpy as np
import pytest
from PIL import Image

from softlabel import generate
from softlabel.cache import StoredArray, open_cache
from softlabel.cache.verify import verify
from softlabel.errors import CaseError, UsageError
from softlabel.generation.settings import Settings
from softlabel.render import cases, entropy_bits, sections
from softlabel.render.cases import case_picture, draw_cases, picture_path, write_picture
from softlabel.render.sections import View
from softlabel.types import ClassTable

VOLUME = factories.full_case().id


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    """One case with everything: two channels, mask, truth, ignored rows, 0.5 × 0.5 × 2 mm."""
    with open_cache(factories.full_cache(tmp_path_factory.mktemp("volume"))) as cache:
        yield cache


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    with open_cache(factories.make_cache(tmp_path_factory.mktemp("images"))) as cache:
        yield cache


def with_affine(folder, affine, **changes):
    case = replace(factories.full_case(), affine=affine, **changes)
    return open_cache(factories.full_cache(folder, [case]))


def indices(labels, table):
    """Places in the class table, −1 of other values, one value at a time."""
    result = np.full(labels.shape, -1)
    for place, value in enumerate(table.values):
        result[labels == value] = place
    return result


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


def test_a_class_is_read_alone(images, monkeypatch):
    expected = images["a"].soft[1]
    keys = recorded(monkeypatch)
    picture = case_picture(images, "a", View(class_index=1))
    np.testing.assert_array_equal(picture.sections[0].soft, expected)
    assert [key[0] for name, key in keys if name == "soft"] == [1]


def test_a_slice_stands_upright_when_the_affine_says_how_the_patient_lies(volume):
    case = volume[VOLUME]
    picture = case_picture(volume, VOLUME, View(slice=3, class_index=2, channel=1))
    (section,) = picture.sections
    assert section.name == "slice 3 of axis 2"
    np.testing.assert_array_equal(section.image, case.image[1, :, :, 3].T)
    labels = indices(case.labels[:, :, 3], volume.classes).T
    np.testing.assert_array_equal(section.labels, labels)
    assert (labels == -1).any()
    np.testing.assert_array_equal(section.soft, case.soft[2, :, :, 3].T)
    np.testing.assert_array_equal(section.mask, case.mask[:, :, 3].T > 0)
    np.testing.assert_array_equal(section.truth, indices(case.truth[:, :, 3], volume.classes).T)
    assert picture.channel == "T2"
    # axis 1 points to anterior, axis 0 to the right: A at the top, R on the left
    assert (picture.rows.name, picture.rows.ends, picture.rows.descending) == (
        "axis 1",
        ("A", "P"),
        True,
    )
    assert (picture.columns.name, picture.columns.ends, picture.columns.descending) == (
        "axis 0",
        ("R", "L"),
        True,
    )
    assert picture.rows.length_mm == 20 * 0.5


@pytest.mark.parametrize(
    ("axis", "rows", "columns"),
    [(0, ("axis 2", "S"), ("axis 1", "A")), (1, ("axis 2", "S"), ("axis 0", "R"))],
)
def test_superior_is_up(volume, axis, rows, columns):
    picture = case_picture(volume, VOLUME, View(axis=axis, slice=9))
    assert (picture.rows.name, picture.rows.ends[0]) == rows
    assert (picture.columns.name, picture.columns.ends[0]) == columns
    assert (picture.rows.spacing, picture.columns.spacing) == (2.0, 0.5)


def test_axes_that_run_the_other_way_begin_with_their_first_pixel(tmp_path):
    cache = with_affine(tmp_path, np.diag([-0.5, -0.5, 2.0, 1.0]))
    picture = case_picture(cache, VOLUME, View(slice=2))
    assert (picture.rows.ends, picture.rows.descending) == (("A", "P"), False)
    assert (picture.columns.ends, picture.columns.descending) == (("R", "L"), False)


def test_axes_in_another_order_are_not_turned(tmp_path):
    affine = np.zeros((4, 4))
    affine[[2, 0, 1, 3], [0, 1, 2, 3]] = [-0.5, 0.5, 2.0, 1.0]  # axes S, R, A: slices are coronal
    cache = with_affine(tmp_path, affine)
    picture = case_picture(cache, VOLUME, View(slice=2))
    assert (picture.rows.name, picture.rows.ends, picture.rows.descending) == (
        "axis 0",
        ("S", "I"),
        False,
    )
    assert picture.columns.ends == ("R", "L")
    np.testing.assert_array_equal(picture.sections[0].image, cache[VOLUME].image[0, :, :, 2])


@pytest.mark.parametrize("affine", [None, np.diag([0.5, 0.5, 0, 1]), np.ones((4, 4))])
def test_without_a_usable_affine_axes_stay_as_in_the_file(tmp_path, affine):
    cache = with_affine(tmp_path, affine)
    picture = case_picture(cache, VOLUME, View(slice=2))
    assert (picture.rows.name, picture.columns.name) == ("axis 0", "axis 1")
    assert picture.rows.ends is None
    np.testing.assert_array_equal(picture.sections[0].image, cache[VOLUME].image[0, :, :, 2])


def recorded(monkeypatch):
    """Every access to a stored array from now on: (name, key)."""
    keys = []
    original = StoredArray.__getitem__

    def getitem(self, key):
        keys.append((self.name, key))
        return original(self, key)

    monkeypatch.setattr(StoredArray, "__getitem__", getitem)
    return keys


def test_of_a_volume_only_the_slices_that_are_shown_are_read(volume, monkeypatch):
    keys = recorded(monkeypatch)
    shown = len(case_picture(volume, VOLUME, View(slices=2)).sections)
    for name in ("image", "soft", "superpixels", "mask", "truth"):
        read = [key for array, key in keys if array == name]
        assert len(read) == shown == 2
        assert all(isinstance(key[-1], int) for key in read)


@pytest.mark.parametrize(("edge", "block"), [(10, 64 << 20), (15, 1), (7, 1), (10**6, 1)])
def test_large_images_are_thinned_and_read_in_blocks(tmp_path, monkeypatch, edge, block):
    source = factories.write_scenes(tmp_path / "data", ["a"], shape=(300, 44))
    factories.generate(source, tmp_path / "c.h5", factories.QUICK)
    cache = open_cache(tmp_path / "c.h5")
    monkeypatch.setattr(sections, "MAX_EDGE", edge)
    monkeypatch.setattr(sections, "BLOCK_BYTES", block)
    picture = case_picture(cache, "a", View())
    (section,) = picture.sections
    step = picture.rows.step
    assert picture.columns.step == step == -(-300 // edge)
    case = cache["a"]
    np.testing.assert_array_equal(section.image, case.image[0][::step, ::step])
    np.testing.assert_array_equal(section.superpixels, case.superpixels[...][::step, ::step])
    expected = entropy_bits(case.soft[...][:, ::step, ::step])
    np.testing.assert_array_equal(section.soft, expected)


# --- which slices ---------------------------------------------------------------------------------


def shown_slices(cache, **view):
    picture = case_picture(cache, VOLUME, View(**view))
    return [int(re.fullmatch(r"slice (\d+) of axis \d", s.name)[1]) for s in picture.sections]


def long_volume(folder, labels, **changes):
    labels = np.asarray(labels, np.int16)
    image = np.stack([labels, labels]).astype(np.float32)
    plain = {"truth": None, "mask": None, "label_maps": {}, "affine": None, "spacing_mm": None}
    case = replace(factories.full_case(), labels=labels, image=image, **plain | changes)
    return open_cache(factories.full_cache(folder, [case], Settings(superpixels="grid")))


def test_slices_are_chosen_evenly_where_there_are_boundaries(tmp_path):
    labels = np.zeros((6, 6, 80))
    labels[2:4, 2:4, 40:70] = 7
    labels[0, 0, 60:64] = 300
    labels[1, 1, :10] = 999  # ignored pixels make no boundary
    cache = long_volume(tmp_path, labels)
    assert shown_slices(cache) == [43, 51, 58, 66]
    assert shown_slices(cache, slices=1) == [55]
    assert shown_slices(cache, slices=2, class_index=2) == [61, 63]
    assert shown_slices(cache, slices=12, class_index=2) == [60, 61, 62, 63]
    assert shown_slices(cache, axis=0, slices=12) == [0, 1, 2, 3]
    assert shown_slices(cache, slice=79) == [79]


def test_without_boundaries_slices_are_chosen_from_all(tmp_path):
    labels = np.full((6, 6, 8), 7)
    labels[0] = 999
    assert shown_slices(long_volume(tmp_path, labels)) == [1, 3, 5, 7]


def test_an_absent_class_does_not_matter_for_the_slices(tmp_path):
    labels = np.zeros((6, 6, 8))
    labels[2, 2, 3:5] = 7
    assert shown_slices(long_volume(tmp_path, labels), class_index=2) == [3, 4]


def test_slices_go_across_the_coarsest_spacing(volume):
    assert case_picture(volume, VOLUME, View()).sections[0].name.endswith("axis 2")


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (View(axis=3), "no axis 3; its axes are 0 to 2 with 18, 20, 5 slices"),
        (View(axis=-1), "no axis -1"),
        (View(slice=5), "no slice 5 along axis 2; it has the slices 0 to 4"),
        (View(slice=-1), "no slice -1"),
        (View(axis=0, slice=18), "no slice 18 along axis 0; it has the slices 0 to 17"),
        (View(channel=2), "no channel 2; it has the channels 0 to 1"),
    ],
)
def test_what_a_volume_does_not_have_is_named(volume, view, words):
    with pytest.raises(UsageError, match=re.escape(words)):
        case_picture(volume, VOLUME, view)


@pytest.mark.parametrize("view", [View(axis=0), View(slice=0)])
def test_an_image_has_no_slices(images, view):
    with pytest.raises(UsageError, match="'a' is an image of 40 × 44 pixels and has no slices"):
        case_picture(images, "a", view)
    with pytest.raises(UsageError, match="no channel 1; it has channel 0 only"):
        case_picture(images, "a", View(channel=1))


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
    ],
)
def test_settings_in_words(tmp_path, settings, words):
    cache = open_cache(factories.full_cache(tmp_path, settings=settings))
    picture = case_picture(cache, VOLUME, View(slice=0))
    assert words in picture.lines[1]
    assert (picture.sections[0].superpixels is None) == (settings.method == "gaussian")


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


def test_settings_that_a_newer_record_leaves_out_are_not_needed(volume):
    record = json.loads(volume.header.settings)
    for name in ("compactness", "superpixels", "slic_dims", "scale", "boundary"):
        record.pop(name)
    words = cases._settings_words(record, volume[VOLUME])
    assert words == ["method superpixel", "distances in pixel", "normalize none"]
