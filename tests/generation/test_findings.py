"""What would be silently wrong about a data set is found, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from softlabel.generation.findings import (
    CHECKS,
    ERROR,
    FINDINGS,
    WARNING,
    Evidence,
    colour_mapping,
    findings_of,
)
from softlabel.generation.settings import Settings
from softlabel.mapping import parse_mapping
from softlabel.phantom import make_brain, make_oct_subject
from softlabel.phantom.oct import class_map
from softlabel.readers.labelfacts import label_facts
from softlabel.readers.look import LabelLook
from softlabel.types import CaseRef, ClassTable, Dataset, Note

SETTINGS = Settings(superpixel_size=100)


def disk(centre=(30, 40), radius=15, shape=(64, 80)):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return ((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2).astype(np.uint8)


MASKS = [disk(radius=r, centre=c) for r, c in ((15, (30, 40)), (9, (20, 20)), (12, (40, 50)))]


def evidence(maps, settings=SETTINGS, ids=None, groups=None, **changes):
    """Evidence of label maps, or of looks at them."""
    looks = {}
    for number, given in enumerate(maps):
        look = given if isinstance(given, LabelLook) else LabelLook(label_facts(np.asarray(given)))
        looks[ids[number] if ids else "abcdefgh"[number]] = look
    refs = tuple(
        CaseRef(name, (groups or {}).get(name, name), source=name, files=(f"{name}.png",))
        for name in looks
    )
    dataset = Dataset("pairs", Path("data"), "pairs", refs, **changes)
    return Evidence(dataset, settings, refs, looks)


def codes(given, **options):
    return [finding.code for finding in findings_of(given, **options)]


def found(given):
    (finding,) = findings_of(given)
    return finding


# --- the table ------------------------------------------------------------------------------------


def test_every_kind_says_how_severe_it_is_what_it_means_and_what_settles_it():
    for code, kind in FINDINGS.items():
        assert kind.severity in (ERROR, WARNING) and kind.settled_by, code
        assert kind.meaning.endswith("."), code
    assert len(CHECKS) == len(FINDINGS)


def test_an_accepted_error_is_a_warning():
    given = evidence([MASKS[0], MASKS[1] * 255])
    (finding,) = findings_of(given, frozenset({"codings"}))
    assert finding.severity == WARNING and finding.as_record()["accepted"]
    assert found(given).severity == ERROR


# --- nothing to find ------------------------------------------------------------------------------


def test_phantoms_are_clean():
    brains = [make_brain(1, number, (64, 64, 16)).labels for number in (1, 2, 3)]
    assert codes(evidence(brains, replace(SETTINGS, superpixel_size=60))) == []
    eyes = [make_oct_subject(1, number, (224, 128, 1)) for number in (1, 2, 3)]
    layers = [class_map(eye.boundaries, eye.fluid, 224)[..., 0] for eye in eyes]
    assert codes(evidence(layers, replace(SETTINGS, superpixel_size=40))) == []


@pytest.mark.parametrize(
    "maps",
    [
        MASKS,
        [mask * 255 for mask in MASKS],
        [mask.astype(int) * 7 for mask in MASKS],
        [MASKS[0] + 2 * MASKS[2], MASKS[1]],  # a class that a case lacks
        [np.zeros((64, 80), int), MASKS[0]],
        [],
    ],
    ids=["0-1", "0-255", "0-7", "two classes", "an empty one", "nothing"],
)
def test_label_maps_as_they_should_be_are_clean(maps):
    assert codes(evidence(maps)) == []


# --- values ---------------------------------------------------------------------------------------


def test_masks_of_two_codings():
    finding = found(evidence([MASKS[0], MASKS[1], MASKS[2] * 255]))
    assert (finding.code, finding.severity, finding.cases) == ("codings", ERROR, ("c",))
    assert (
        "2 label maps of 0 and 1 (for example a) beside 1 of 0 and 255 (for example c)"
        in finding.text
    )


def test_classes_of_two_codings():
    first, second = MASKS[0] + MASKS[2], np.array([0, 127, 254])[MASKS[0] + MASKS[1]]
    assert codes(evidence([first, first, second])) == ["codings"]
    third = MASKS[0] * 7  # another structure, in cases of its own
    assert codes(evidence([first, third])) == []


def test_masks_of_8_and_16_bits():
    wide = [mask.astype(np.uint16) * 65535 for mask in MASKS]
    assert found(evidence([MASKS[0] * 255, *wide[1:]])).code == "codings"
    finding = found(evidence([MASKS[0], MASKS[1], wide[2]]))
    assert finding.code == "codings" and "0 and 65535 (for example c)" in finding.text
    assert codes(evidence(wide)) == []


def test_masks_with_a_value_of_their_own_are_not_of_another_coding():
    """255 beside 0 and 1 in one file marks what was not annotated, or another class."""
    marked = MASKS[1].copy()
    marked[:5] = 255
    assert codes(evidence([MASKS[0], marked])) == []
    three = np.array([0, 127, 254, 255])[MASKS[0] + MASKS[1] + MASKS[2]]
    assert codes(evidence([MASKS[0], three])) == []


def test_two_codings_that_a_table_names_are_classes():
    table = ClassTable((0, 1, 255), ("background", "cyst", "drusen"))
    assert codes(evidence([MASKS[0], MASKS[1] * 255], classes=table)) == []


def resized(mask, how, factor=2):
    image = Image.fromarray(mask * 255)
    return np.asarray(image.resize((mask.shape[1] * factor, mask.shape[0] * factor), how))


def compressed(mask, tmp_path):
    Image.fromarray(mask * 255).save(tmp_path / "m.jpg", quality=90)
    return np.asarray(Image.open(tmp_path / "m.jpg"))


@pytest.mark.parametrize("how", [Image.Resampling.BICUBIC, Image.Resampling.LANCZOS,
                                 Image.Resampling.BILINEAR])  # fmt: skip
@pytest.mark.parametrize("factor", [2, 3])
def test_a_resized_mask_has_grey_levels(how, factor):
    finding = found(evidence([resized(mask, how, factor) for mask in MASKS]))
    assert (finding.code, finding.severity) == ("grey", ERROR)
    assert finding.cases == ("a", "b", "c")


def test_a_compressed_mask_has_grey_levels(tmp_path):
    assert codes(evidence([compressed(mask, tmp_path) for mask in MASKS])) == ["grey"]


def test_many_classes_are_no_grey_levels():
    """A brain of 46 structures has many rare values, but not between others at edges only."""
    rng = np.random.default_rng(0)
    centres = rng.uniform(0, 1, (46, 2)) * (256, 256)
    rows, columns = np.indices((256, 256))
    nearest = np.argmin((rows - centres[:, 0, None, None]) ** 2
                        + (columns - centres[:, 1, None, None]) ** 2, axis=0)  # fmt: skip
    values = np.sort(rng.choice(np.arange(1, 2036), 46, replace=False))
    assert "grey" not in codes(evidence([values[nearest]] * 2))


def test_thin_layers_are_no_grey_levels():
    """Ordered values in a few rows each: some lie between others, but most have an inside."""
    rows = [0] * 90
    for number, thickness in enumerate((1, 1, 4) * 3, start=1):
        rows += [number] * thickness
    labels = np.tile(np.array(rows + [10] * 100)[:, None], (1, 60))
    assert "grey" not in codes(evidence([labels, labels]))


def glands(count):
    """Numbered disks that do not touch."""
    labels = np.zeros((64, 80), np.int32)
    for number in range(count):
        labels[disk((10 + 20 * (number // 4), 10 + 20 * (number % 4)), 7) > 0] = number + 1
    return labels


@pytest.mark.parametrize("number", [lambda m: m, lambda m: np.where(m > 0, 256 - m, 0)],
                         ids=["from 1", "255 downward"])  # fmt: skip
def test_numbered_objects(number):
    finding = found(evidence([number(glands(n)) for n in (3, 9, 5)]))
    assert (finding.code, finding.severity) == ("instances", WARNING)
    assert "3 to 9" in finding.text


@pytest.mark.parametrize("counts", [(8, 9, 8, 8), (7, 9, 9, 9, 9, 9), (4, 4, 5), (9,)], ids=str)
def test_layers_that_some_cases_lack_are_no_numbered_objects(counts):
    """Each is one piece, and the last ones, as of fluid, are in some cases only."""
    maps = [np.repeat(np.arange(count + 1), 6)[:, None] * np.ones((1, 60), int) for count in counts]
    assert "instances" not in codes(evidence(maps))


def test_numbered_objects_of_a_single_image():
    labels = np.zeros((80, 100), int)
    for number in range(20):
        labels[disk((10 + 20 * (number // 5), 10 + 20 * (number % 5)), 7, (80, 100)) > 0] = (
            number + 1
        )
    assert "instances" in codes(evidence([labels]))


def test_classes_in_several_pieces_are_no_numbered_objects():
    maps = []
    for count in (4, 6, 5):
        labels = glands(count)
        labels[50:60, 60:78] = 1 + np.arange(18) // 3 % count  # a second piece of each
        maps.append(labels)
    assert "instances" not in codes(evidence(maps))


def test_the_same_structures_in_every_case_are_classes():
    assert codes(evidence([glands(6), glands(6), glands(6)])) == []


def test_one_value_of_two_colours():
    first = LabelLook(label_facts(MASKS[0]), palette=((0, 0, 0), (255, 0, 0)))
    second = LabelLook(label_facts(1 - MASKS[0]), palette=((255, 0, 0), (0, 0, 0)))
    finding = found(evidence([first, second]))
    assert (finding.code, finding.severity, finding.cases) == ("palette", ERROR, ("b",))
    assert codes(evidence([first, first])) == []


def test_colours_give_the_values_of_the_first_file():
    red, blue, black = (255, 0, 0), (0, 0, 255), (0, 0, 0)
    first = LabelLook(label_facts(np.array([[0, 1]])), palette=(black, red))
    second = LabelLook(label_facts(np.array([[0, 1, 2]])), palette=(red, blue, black))
    mapping = colour_mapping({"a": first, "b": second})
    assert mapping.colours == {black: 0, red: 1, blue: 2}
    twice = LabelLook(label_facts(np.array([[0, 1]])), palette=(red, red))
    assert colour_mapping({"a": first, "b": twice}) is None
    assert colour_mapping({"a": first, "b": LabelLook(label_facts(np.array([[0]])))}) is None


def test_one_hot_arrays():
    facts = label_facts(np.eye(3, dtype=np.uint8)[MASKS[0]])
    look = LabelLook(facts, one_hot=True, axes_known=False)
    finding = findings_of(evidence([look, look]))[0]
    assert (finding.code, finding.severity) == ("one-hot", ERROR)
    assert "one-hot" not in codes(evidence([replace(look, axes_known=True)]))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (({1: "tumour"}, {1: "bone"}), "The value 1 is 'tumour' in a and 'bone' in b"),
        (({1: "tumour"}, {2: "tumour"}), "'tumour' is 1 in a and 2 in b"),
    ],
)
def test_names_that_disagree(names, words):
    looks = [LabelLook(label_facts(MASKS[0]), names=given) for given in names]
    finding = found(evidence(looks))
    assert (finding.code, finding.severity, finding.cases) == ("names", ERROR, ("a", "b"))
    assert words in finding.text


def test_a_field_of_view_is_no_annotation():
    views = [disk((32, 40), 31) for _ in range(4)]
    finding = found(evidence(views))
    assert (finding.code, finding.severity) == ("view", WARNING)
    assert codes(evidence([*views[:3], MASKS[0]])) == []
    organs = [disk((32, 40), radius) for radius in (29, 31, 33, 36)]  # large, but each its own
    assert codes(evidence(organs)) == []


# --- geometry, groups, settings -------------------------------------------------------------------


def test_arrays_of_three_axes_without_names():
    volume = np.stack(MASKS * 3)
    look = LabelLook(label_facts(volume), axes_known=False)
    assert codes(evidence([look])) == ["stack"]
    assert codes(evidence([replace(look, axes_known=True)])) == []


@pytest.mark.parametrize(
    "ids",
    [
        ["p1_slice_1", "p1_slice_2", "p2_slice_1", "p2_slice_2"],
        ["anna-001", "anna-002", "bert-001", "bert-002", "bert-003"],
        ["P1_z10", "P1_z11", "P2_z10", "P2_z11"],
    ],
    ids=lambda ids: ids[0],
)
def test_slices_of_one_patient_under_several_groups(ids):
    maps = [disk(radius=8 + number) for number in range(len(ids))]
    assert codes(evidence(maps, ids=ids)) == ["groups"]
    assert codes(evidence(maps, ids=ids, groups={name: name[:4] for name in ids})) == []


def test_numbered_cases_of_one_study_are_no_slices():
    maps = [disk(radius=8 + number) for number in range(5)]
    assert codes(evidence(maps, ids=[f"case_{n:03}" for n in range(5)])) == []


def with_spacing(*spacing_mm):
    shape = MASKS[0].shape + (4,) * (len(spacing_mm) - 2)
    labels = np.broadcast_to(MASKS[0].reshape(*MASKS[0].shape, *(1,) * (len(shape) - 2)), shape)
    return LabelLook(label_facts(labels), spacing_mm=spacing_mm)


@pytest.mark.parametrize(
    ("spacing", "options", "warned"),
    [
        ((0.0039, 0.0113), {}, True),  # the axial and lateral spacing of a Duke OCT scan
        ((0.0039, 0.0113), {"distance_unit": "mm"}, False),
        ((0.5, 0.9), {}, False),
        ((0.9, 0.9, 5.0), {}, True),
        ((0.9, 0.9, 5.0), {"method_options": {"in_plane": True}}, False),
        ((0.9, 0.9, 5.0), {"method": "gaussian"}, True),
        ((0.9, 0.9, 5.0), {"method": "gaussian", "distance_unit": "mm"}, False),
        ((0.9, 0.9, 5.0), {"method": "svls"}, True),  # counts pixels, whatever the unit
        ((0.9, 0.9, 5.0), {"method": "dilation", "distance_unit": "mm"}, True),
        ((0.9, 0.9, 5.0), {"method": "smoothing"}, False),  # measures nothing
        ((0.9, 0.9, 5.0), {"method": "hard"}, False),
    ],
)
def test_pixels_that_are_far_from_square(spacing, options, warned):
    finding = codes(evidence([with_spacing(*spacing)], replace(SETTINGS, **options)))
    assert finding == (["pixels"] if warned else [])


def test_a_method_that_counts_pixels_only_is_named():
    """Its own advice, ``--distance-unit mm``, would be refused beside it."""
    finding = found(evidence([with_spacing(0.9, 0.9, 5.0)], replace(SETTINGS, method="svls")))
    assert finding.text.endswith("as long as wide, and the method svls counts pixels only.")
    assert "by a --method that has them" in FINDINGS["pixels"].settled_by


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"superpixel_size": 5}, "so small that few lie across a boundary"),
        ({"superpixel_size": None, "n_segments": 2000}, "so small"),  # 2.6 pixels each
        ({"superpixel_size": 3000}, "so large that nearly every one lies across"),
        ({"superpixel_size": 100}, ""),
    ],
)
def test_superpixels_that_do_not_fit_the_image(options, words):
    labels = (np.indices((64, 80)).sum(axis=0) // 16 % 2).astype(np.uint8)  # stripes
    given = findings_of(evidence([labels], replace(SETTINGS, **options)))
    assert [finding.code for finding in given] == (["superpixels"] if words else [])
    assert all(words in finding.text for finding in given)


@pytest.mark.parametrize("size", [5, 100, 300, 1000, 3000])
def test_superpixels_of_a_volume_of_one_slice_are_those_of_an_image(size):
    labels = (np.indices((64, 80)).sum(axis=0) // 16 % 2).astype(np.uint8)
    settings = replace(SETTINGS, superpixel_size=size)
    found_of = [codes(evidence([m], settings)) for m in (labels, labels[None], labels[..., None])]
    assert found_of[0] == found_of[1] == found_of[2]


def test_the_preset_is_named_where_superpixels_of_the_defaults_do_not_fit():
    labels = (np.indices((64, 80)).sum(axis=0) // 16 % 2).astype(np.uint8)
    assert "--preset auto chooses by the shape" in found(evidence([labels], Settings())).text
    asked = found(evidence([labels], Settings(n_segments=1900)))
    assert asked.code == "superpixels" and "preset" not in asked.text
    assert codes(evidence([labels], Settings(preset="auto"))) == []


def test_an_option_that_changes_nothing():
    mapping = parse_mapping("0=background,1=cyst,7-9=drusen")
    finding = found(evidence(MASKS, mapping=mapping))
    assert finding.code == "idle" and "7-9" in finding.text
    assert "ignored value 9" in found(evidence(MASKS, options={"ignore": 9})).text
    assert codes(evidence(MASKS, options={"ignore": 1})) == []


def test_notes_of_files_are_told_once_a_kind():
    looks = [
        LabelLook(label_facts(mask), notes=(Note("slope", f"{name}: a slope."),))
        for name, mask in zip("abc", MASKS, strict=True)
    ]
    finding = found(evidence(looks))
    assert finding.code == "file" and finding.text == "a: a slope. So do 2 others."
    assert finding.cases == ("a", "b", "c")
