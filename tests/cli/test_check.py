"""``softlabel check``, and the same look at the start of ``generate``, on data as people have it.

Each data set is small, of a kind that public reports tell of, and has one right answer.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image

from softlabel.cache import open_cache
from softlabel.cli import main
from softlabel.generation.findings import FINDINGS
from softlabel.readers import READERS

QUICK = ("--n-segments", "60", "--jobs", "1")


def run(command, *arguments):
    return CliRunner().invoke(main, [command, *map(str, arguments)])


def generate(data, *options):
    return run("generate", data, "-o", data.parent / "c.h5", *QUICK, *options)


@contextlib.contextmanager
def noting_what_is_read():
    """Ids of the label maps that are read for the check, or for the classes."""
    reader, read = READERS["pairs"], []

    def noted(function):
        return lambda dataset, ref, opened: (read.append(ref.id), function(dataset, ref, opened))[1]

    changed = replace(reader, look=noted(reader.look), read_labels=noted(reader.read_labels))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(READERS, "pairs", changed)
        yield read


def disk(cy=30, cx=40, r=15, shape=(64, 80)):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (rows - cy) ** 2 + (columns - cx) ** 2 < r * r


def grey(mask, seed=1):
    noise = np.random.default_rng(seed).normal(0, 8, mask.shape)
    return np.clip(60 + 90 * (mask > 0) + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def data(tmp_path):
    (tmp_path / "data/images").mkdir(parents=True)
    (tmp_path / "data/labels").mkdir()
    return tmp_path / "data"


def put(data, name, mask, label=None):
    Image.fromarray(grey(mask)).save(data / f"images/{name}.png")
    label = mask.astype(np.uint8) if label is None else label
    (label if isinstance(label, Image.Image) else Image.fromarray(label)).save(
        data / f"labels/{name}.png"
    )


def indexed(labels, colours):
    image = Image.fromarray(labels.astype(np.uint8), "P")
    image.putpalette([part for colour in colours for part in colour])
    return image


BLACK, RED = (0, 0, 0), (255, 0, 0)
MASKS = {"a": disk(r=15), "b": disk(20, 25, 9), "c": disk(40, 50, 12)}


def refused(data, code, *options):
    """Both commands refuse, naming the finding, and nothing is written."""
    result = run("check", data, *QUICK[:2], *options)
    assert result.exit_code == 2 and f"Error [{code}]" in result.stderr, result.output
    assert FINDINGS[code].settled_by in result.stderr
    result = generate(data, *options)
    assert result.exit_code == 2 and f"--accept {code}" in result.stderr
    assert not (data.parent / "c.h5").exists()


def classes(data):
    with open_cache(data.parent / "c.h5") as cache:
        return dict(cache.classes)


# --- what is refused, and what settles it ---------------------------------------------------------


def test_masks_of_different_depths(data):
    put(data, "a", MASKS["a"], MASKS["a"].astype(np.uint8) * 255)
    put(data, "b", MASKS["b"], Image.fromarray(MASKS["b"]))  # 1 bit
    put(data, "c", MASKS["c"], indexed(MASKS["c"], [BLACK, (255, 255, 255)]))
    refused(data, "codings")
    assert generate(data, "--map", "0=background,1-=disc").exit_code == 0
    assert classes(data) == {0: "background", 1: "disc"}


def test_a_resized_mask(data):
    for name, mask in MASKS.items():
        small = Image.fromarray(mask.astype(np.uint8) * 255)
        put(data, name, np.kron(mask, np.ones((2, 2))), small.resize((160, 128), Image.BICUBIC))
    refused(data, "grey")
    assert generate(data, "--threshold", "128").exit_code == 0
    assert len(classes(data)) == 2


def test_one_hot_arrays(data):
    labels = np.where(MASKS["a"], 1, 0)
    labels[:10] = 2
    np.save(data / "images/a.npy", np.stack([grey(labels)] * 3, axis=-1))
    np.save(data / "labels/a.npy", np.eye(3, dtype=np.uint8)[labels])
    refused(data, "one-hot")
    np.save(data / "labels/a.npy", np.eye(3, dtype=np.uint8)[labels] * 255)
    refused(data, "one-hot")


def test_one_hot_arrays_with_the_classes_first(data):
    labels = np.where(MASKS["a"], 1, 0)
    labels[:10] = 2
    np.save(data / "images/a.npy", np.stack([grey(labels)] * 3))
    np.save(data / "labels/a.npy", np.moveaxis(np.eye(3, dtype=np.uint8)[labels], -1, 0))
    refused(data, "one-hot")


def test_an_error_that_is_accepted_is_a_warning_and_kept_in_the_cache(data):
    put(data, "a", MASKS["a"], MASKS["a"].astype(np.uint8) * 255)
    put(data, "b", MASKS["b"])
    result = generate(data, "--accept", "codings")
    assert result.exit_code == 0 and "Warning [codings] (accepted)" in result.stderr
    assert list(classes(data)) == [0, 1, 255]
    told = json.loads(run("info", data.parent / "c.h5", "--json").stdout)["findings"]
    assert [(f["code"], f["severity"], f["accepted"]) for f in told] == [
        ("codings", "warning", True)
    ]
    assert "finding [codings]" in run("info", data.parent / "c.h5").stdout


# --- what is right without a word -----------------------------------------------------------------


def test_palettes_in_another_order_are_read_by_their_colours(data):
    put(data, "a", MASKS["a"], indexed(MASKS["a"], [BLACK, RED]))
    put(data, "b", MASKS["b"], indexed(1 - MASKS["b"], [RED, BLACK]))
    assert generate(data).exit_code == 0
    with open_cache(data.parent / "c.h5") as cache:
        assert list(cache.classes.values) == [0, 1]
        for name in "ab":
            np.testing.assert_array_equal(cache[name].labels, MASKS[name])


def test_pages_of_a_tiff_stack_are_its_slices(data):
    radii = (5, 8, 12, 14, 12, 8)
    labels = np.stack([disk(r=r) for r in radii]).astype(np.uint8)
    image = np.stack([grey(mask) for mask in labels])
    metadata = {"axes": "ZYX", "spacing": 3.0, "unit": "mm"}
    for folder, values in (("images", image), ("labels", labels)):
        tifffile.imwrite(data / folder / "a.tif", values, imagej=True, resolution=(1, 1),
                         metadata=metadata)  # fmt: skip
    assert generate(data, "--slic-dims", "slice", "--in-plane").exit_code == 0
    with open_cache(data.parent / "c.h5") as cache:
        case = cache["a"]
        assert case.slice_axis == 0 and case.spacing_mm == (3.0, 1.0, 1.0)
        assert case.statistics["n_superpixels_asked"] == 60 * len(radii)


def test_an_array_of_which_nothing_tells_the_slices_asks(data):
    for folder, dtype in (("images", np.float32), ("labels", np.uint8)):
        np.save(data / folder / "a.npy", np.stack([disk(r=r) for r in (5, 8, 12)]).astype(dtype))
    result = generate(data, "--slic-dims", "slice")
    assert result.exit_code == 1 and "give --slice-axis 0 to 2" in result.stderr
    assert generate(data, "--slic-dims", "slice", "--slice-axis", "0").exit_code == 0


# --- what may be wrong ----------------------------------------------------------------------------


def test_numbered_objects_and_the_mapping_that_settles_them(data):
    for name, count in (("a", 4), ("b", 6), ("c", 5)):
        labels = np.zeros((64, 80), np.uint8)
        for number in range(count):
            labels[disk(8 + 16 * (number // 3), 12 + 24 * (number % 3), 6)] = 255 - number
        put(data, name, labels > 0, labels)
    result = run("check", data, "--superpixel-size", "85")
    assert result.exit_code == 0 and "Warning [instances]" in result.stderr
    mapped = run("check", data, "--superpixel-size", "85", "--map", "0=background,1-=fluid")
    assert "[instances]" not in mapped.stderr and "fluid" in mapped.stdout


def test_slices_of_patients_without_groups(data):
    for patient in (1, 2):
        for number in range(3):
            put(data, f"patient{patient}_slice{number}", disk(r=9 + number))
    assert "Warning [groups]" in run("check", data, *QUICK[:2]).stderr
    grouped = run("check", data, *QUICK[:2], "--group", "(patient.)")
    assert "[groups]" not in grouped.stderr


def test_small_images_with_the_default_number_of_superpixels(data):
    put(data, "a", MASKS["a"])
    result = run("generate", data, "-o", data.parent / "c.h5", "-j", "1", "--dry-run")
    assert "Warning [superpixels]" in result.stderr and "so small" in result.stderr


def test_unlabelled_images_are_no_failures(data):
    put(data, "a", MASKS["a"])
    for number in range(5):
        Image.fromarray(grey(MASKS["b"])).save(data / f"images/more{number}.png")
    result = generate(data)
    assert result.exit_code == 0 and "5 images without a label map" in result.stderr


# --- the command itself ---------------------------------------------------------------------------


def test_json(data):
    for name, mask in MASKS.items():
        put(data, name, mask)
    record = json.loads(run("check", data, *QUICK[:2], "--json").stdout)
    assert record["cases"] == 3 and record["findings"] == [] and record["problems"] == {}
    sizes = [int(m.sum()) for m in MASKS.values()]
    assert record["classes"] == [
        {"value": 0, "name": "", "cases": 3, "pixels": 3 * 64 * 80 - sum(sizes), "pieces": 3},
        {"value": 1, "name": "", "cases": 3, "pixels": sum(sizes), "pieces": 3},
    ]


def test_phantoms_have_nothing_to_find(tmp_path):
    assert run("phantom", "oct", tmp_path / "oct", "--subjects", "1", "--bscans", "4",
               "--annotated", "4").exit_code == 0  # fmt: skip
    result = run("check", tmp_path / "oct", "--superpixel-size", "190", "--distance-unit", "mm")
    assert result.exit_code == 0 and "Error" not in result.stderr, result.stderr


def test_a_saved_check_is_taken_by_every_share_of_a_run(data):
    for name, mask in MASKS.items():
        put(data, name, mask)
    record = data.parent / "check.json"
    assert run("check", data, *QUICK[:2], "-o", record).exit_code == 0
    with noting_what_is_read() as read:
        result = generate(data, "--checked", record, "--ids", "a")
        assert result.exit_code == 0 and "read again" not in result.stderr, result.stderr
        Image.fromarray(MASKS["c"].astype(np.uint8)[::-1]).save(data / "labels/b.png")
        result = generate(data, "--checked", record, "--ids", "b,c")
    assert read == ["b"] and result.exit_code == 0
    assert f"1 label map read again, since {record} holds none" in result.stderr
    assert classes(data) == {0: "label 0", 1: "label 1"}


def test_a_file_that_is_no_saved_check(data):
    put(data, "a", MASKS["a"])
    table = data.parent / "classes.json"
    table.write_text('{"0": "background"}')
    result = generate(data, "--checked", table)
    assert result.exit_code == 2 and "is no saved check" in result.stderr
    result = run("check", data, "-o", table)
    assert result.exit_code == 2 and table.read_text() == '{"0": "background"}'


def test_a_place_for_the_file_is_looked_for_before_label_maps_are_read(data):
    put(data, "a", MASKS["a"])
    (data.parent / "file").touch()
    with noting_what_is_read() as read:
        result = run("check", data, "-o", data.parent / "file/check.json")
    assert result.exit_code == 2 and "file is a file; choose another folder" in result.stderr
    assert read == []


def test_wrong_usage(data, tmp_path):
    assert run("check", tmp_path / "nothing").exit_code == 2
    put(data, "a", MASKS["a"])
    result = run("check", data, "--accept", "grays")
    assert result.exit_code == 2 and "There is no finding 'grays'" in result.stderr


def test_nothing_is_written_beside_the_data(data):
    put(data, "a", MASKS["a"])
    before = sorted(data.rglob("*"))
    run("check", data)
    assert sorted(data.rglob("*")) == before
