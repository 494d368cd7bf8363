"""docs/format.md is true of the files, for us and for readers who never saw softlabel."""

from __future__ import annotations

import hashlib
import json
import re
import socket
from dataclasses import replace
from pathlib import Path

import factories
import h5py
import numpy as np
import pytest

from softlabel.cache import schema
from softlabel.generation.settings import Settings

FORMAT = (Path(__file__).parents[2] / "docs/format.md").read_text(encoding="utf-8")
FLETCHER32, ZSTANDARD = 3, 32015  # HDF5's registered numbers of filters
OF_STEPS = {
    "preprocessing", "notes", "original/image", "original/labels", "original/truth",
    "original/label_maps/<name>", "original_spacing_mm", "original_affine",
}  # fmt: skip
"""What only parts of preprocessed cases have."""

OF_PRESET = {"superpixel_settings"}
"""What only parts have whose superpixels a preset chose (tests/generation/test_preset.py)."""


def table(heading: str, column: str) -> dict[str, str]:
    """Name to type of a table of docs/format.md; a cell may hold several names."""
    rows = FORMAT.split(f"\n## {heading}", 1)[1].split(f"| {column} |", 1)[1].split("\n\n", 1)[0]
    found = {}
    for row in rows.splitlines()[2:]:
        names, kind = [cell.strip() for cell in row.strip("|").split("|")][:2]
        first, *others = re.findall(r"`([^`]+)`", names)
        folder = first.rpartition("/")[0]
        found[first] = kind
        found |= {n if n.startswith("/") or not folder else f"{folder}/{n}": kind for n in others}
    return found


def names_in(file: h5py.File) -> tuple[set[str], dict[str, set[str]]]:
    """Datasets, and the attributes of every node, without following links."""
    datasets, attributes = set(), {"/": set(file.attrs)}

    def visit(name, node):
        attributes[name] = set(node.attrs)
        if isinstance(node, h5py.Dataset):
            datasets.add(name)

    file.visititems(visit)
    return datasets, attributes


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return factories.full_cache(tmp_path_factory.mktemp("full"))


@pytest.fixture(scope="module")
def part(cache):
    return factories.part(cache, factories.full_case().id)


def test_the_tables_are_found():
    assert "fingerprint" in table("Root attributes of every file", "attribute")
    assert "/statistics/intensity_max" in table("Index", "path")
    assert "label_maps/<name>" in table("Part: the group `/case`", "dataset")


def test_a_part_holds_what_format_md_names_and_nothing_else(part):
    root = set(table("Root attributes of every file", "attribute"))
    shared = {n.strip("/") for n in table("Root datasets of every file", "path")}
    arrays = table("Part: the group `/case`", "dataset")
    numbers = table("Part: the group `/case`", "attribute of `/case`")
    guards = set(table("Every dataset", "attribute"))
    with h5py.File(part) as file:
        datasets, attributes = names_in(file)
    expected = {f"case/{n}".replace("<name>", "other grader") for n in set(arrays) - OF_STEPS}
    assert datasets == shared | expected
    assert attributes.pop("/") == root
    assert attributes.pop("case") == set(numbers) - OF_STEPS - OF_PRESET
    assert attributes.pop("classes/values") == guards | {"ignore"}
    for name, found in attributes.items():
        assert found == (guards if name in datasets else set()), name


def test_a_preprocessed_part_holds_what_format_md_names_and_nothing_else(tmp_path):
    case = factories.oct_case()
    path = factories.part(factories.oct_cache(tmp_path), case.id)
    shared = {n.strip("/") for n in table("Root datasets of every file", "path")} - {"channels"}
    arrays = table("Part: the group `/case`", "dataset")
    numbers = table("Part: the group `/case`", "attribute of `/case`")
    with h5py.File(path) as file:
        datasets, attributes = names_in(file)
    named = {f"case/{n}".replace("<name>", "other grader") for n in arrays}
    assert datasets == shared | named
    without = {"spacing_mm", "affine", "original_spacing_mm", "original_affine", "slice_axis"}
    assert attributes["case"] == set(numbers) - without - OF_PRESET


def test_an_index_holds_what_format_md_names_and_nothing_else(cache):
    shared = {n.strip("/") for n in table("Root datasets of every file", "path")}
    own = {n.strip("/") for n in table("Index", "path")} - {"cases/<id>"}
    with h5py.File(cache) as file:
        datasets, attributes = names_in(file)
        assert datasets == shared | own
        assert attributes["/"] == set(table("Root attributes of every file", "attribute"))
        assert set(file["cases"].attrs) == set(table("Index", "attribute of `/cases`"))
        link = file["cases"].get(factories.full_case().id, getlink=True)
        assert list(file["cases"]) == [factories.full_case().id]
    assert (link.filename, link.path) == (
        f"c.parts/{schema.part_name(factories.full_case().id)}",
        "/case",
    )


def test_types_are_those_of_format_md(part, cache):
    numbers = table("Part: the group `/case`", "attribute of `/case`")
    index = table("Index", "path") | table("Root datasets of every file", "path")
    root = table("Root attributes of every file", "attribute")
    with h5py.File(part) as file, h5py.File(cache) as index_file:
        found = {n: (file["case"].attrs.get_id(n).dtype, numbers[n]) for n in file["case"].attrs}
        found |= {n: (file.attrs.get_id(n).dtype, root[n]) for n in file.attrs}
        found |= {n: (index_file.attrs.get_id(n).dtype, root[n]) for n in index_file.attrs}
        of_cases, own = index_file["cases"].attrs, table("Index", "attribute of `/cases`")
        found |= {n: (of_cases.get_id(n).dtype, own[n]) for n in of_cases}
        found |= {n: (index_file[n].dtype, kind) for n, kind in index.items() if n != "/cases/<id>"}
        assert {n: file[f"case/{n}"].dtype for n in ("soft", "mask", "labels", "superpixels")} == {
            "soft": np.float32, "mask": np.uint8, "labels": np.uint16, "superpixels": np.int32,
        }  # fmt: skip
        assert file["case/image"].dtype == np.float32
    for name, (dtype, stated) in found.items():
        if stated.startswith("string"):
            info = h5py.check_string_dtype(dtype)
            assert info.encoding == "utf-8" and info.length is not None, name
        else:
            assert dtype == np.dtype(stated.split()[0].rstrip(",")), name


def test_every_dataset_is_chunked_filtered_and_sealed(part, cache):
    for path in (part, cache):
        with h5py.File(path) as file:
            datasets = [file[name] for name in names_in(file)[0]]
            for dataset in datasets:
                stored = dataset.id.get_create_plist()
                filters = [stored.get_filter(n)[0] for n in range(stored.get_nfilters())]
                assert dataset.chunks is not None
                assert dataset.fletcher32 and filters[-1] == FLETCHER32, dataset.name
                assert ZSTANDARD in filters, dataset.name
                small = dataset.dtype.itemsize == 1 or dataset.dtype.kind == "S"
                unshuffled = small or dataset.name.endswith("/soft")
                assert dataset.shuffle is not unshuffled, dataset.name
                assert dataset.attrs["chunks_allocated"] == dataset.id.get_num_chunks()


def test_the_sha256_is_the_one_of_the_specification(tmp_path):
    cache = factories.make_cache(tmp_path, ("a",), Settings(n_segments=30, superpixel_size=60))
    factories.write_scene(tmp_path / "data", "wide", shape=(300, 310))  # several chunks
    factories.generate(tmp_path / "data", cache, Settings(n_segments=30, superpixel_size=60))
    with h5py.File(factories.part(cache, "wide")) as file:
        for name in ("image", "labels", "soft"):
            dataset = file[f"case/{name}"].id
            infos = [dataset.get_chunk_info(i) for i in range(dataset.get_num_chunks())]
            assert len(infos) == 9
            digest = hashlib.sha256()
            stored = factories.part(cache, "wide").read_bytes()
            for info in sorted(infos, key=lambda i: i.chunk_offset):
                digest.update(b"".join(n.to_bytes(8, "little") for n in info.chunk_offset))
                digest.update(stored[info.byte_offset : info.byte_offset + info.size])
            assert file[f"case/{name}"].attrs["sha256"].decode() == digest.hexdigest()


def test_no_string_is_of_variable_length(part, cache):
    for path in (part, cache):
        with h5py.File(path) as file:
            nodes = [file, *(file[n] for n in names_in(file)[1] if n != "/")]
            types = [node.attrs.get_id(name).dtype for node in nodes for name in node.attrs]
            types += [node.dtype for node in nodes if isinstance(node, h5py.Dataset)]
        assert all(dtype.kind != "O" for dtype in types)


def test_files_are_of_the_hdf5_1_10_format(part, cache):
    for path in (part, cache):
        signature, version = path.read_bytes()[:8], path.read_bytes()[8]
        assert signature == b"\x89HDF\r\n\x1a\n"
        assert version == 3  # the superblock of libver v110


def test_soft_chunks_of_the_fill_value_are_not_allocated(tmp_path):
    case = factories.full_case()
    quiet = replace(
        case,
        image=np.zeros((2, 200, 210), np.float32),
        labels=np.zeros((200, 210), np.uint8),
        mask=None, truth=None, label_maps={}, spacing_mm=None, affine=None,
    )  # fmt: skip
    cache = factories.full_cache(tmp_path, [quiet], Settings(superpixels="grid"))
    with h5py.File(factories.part(cache, case.id)) as file:
        soft = file["case/soft"]
        spatial_tiles = np.prod(
            [-(-n // c) for n, c in zip(soft.shape[1:], soft.chunks[1:], strict=True)]
        )
        assert soft.chunks[0] == 3 and soft.id.get_num_chunks() == spatial_tiles
        assert soft.fillvalue == 0
        assert soft[0].min() == 1 and not soft[1:].any()


def test_many_classes_are_chunked_and_all_zero_class_chunks_left_out(tmp_path):
    from softlabel.cache import Header, InputFile, build_part
    from softlabel.generation.compute import compute
    from softlabel.types import ClassTable

    table_ = ClassTable.from_values(range(117))
    labels = np.zeros((40, 40, 20), np.uint8)
    labels[20:] = 116
    case = replace(
        factories.full_case(), labels=labels, image=labels[None].astype(np.float32), classes=table_,
        ignore=None, mask=None, truth=None, label_maps={}, channels=(),
    )  # fmt: skip
    header = Header("{}", "f", table_, None, ())
    result = compute(case, header, Settings(n_segments=10), (InputFile("x", 1, "0"),))
    path = tmp_path / "x.h5"
    path.write_bytes(build_part(result, header))
    with h5py.File(path) as file:
        soft = file["case/soft"]
        assert soft.chunks[0] < 117 and np.prod(soft.chunks) * 4 <= 1 << 20
        assert soft.id.get_num_chunks() < np.prod(
            [-(-n // c) for n, c in zip(soft.shape, soft.chunks, strict=True)]
        )
        np.testing.assert_array_equal(soft[...], result.soft.dense())


FOREIGN = """
import sys, json, {imports}h5py
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {refused}: raise ImportError(name)
sys.meta_path.insert(0, Refuse())
cache = h5py.File(sys.argv[1])
out = {{}}
for case_id, case in cache["cases"].items():
    names = "image", "labels", "soft"
    out[case_id] = {{n: [case[n].dtype.str, case[n][...].tolist()] for n in names}}
    soft = cache["cases"][case_id]["soft"][1]
    assert soft.shape == case["labels"].shape
print(json.dumps([cache["classes/values"][:].tolist(), out]))
"""


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_readers_who_never_saw_softlabel(tmp_path, compression):
    cache = factories.make_cache(
        tmp_path, ("a", "ü 2"), replace(factories.QUICK, compression=compression)
    )
    imports, refused = ("hdf5plugin, ", {"softlabel"}) if compression == "zstd" else (
        "", {"softlabel", "hdf5plugin"})  # fmt: skip
    code = FOREIGN.format(imports=imports, refused=refused)
    values, cases = json.loads(factories.run_python(code, cache))
    assert values == list(factories.VALUES)
    assert set(cases) == {"a", "ü 2"}
    expected = factories.read_everything(cache)
    for case_id, arrays in cases.items():
        for name, (dtype, numbers) in arrays.items():
            np.testing.assert_array_equal(np.array(numbers, dtype), expected[f"{case_id}/{name}"])


def test_gzip_caches_use_no_plugin(tmp_path):
    cache = factories.make_cache(tmp_path, ("a",), replace(factories.QUICK, compression="gzip"))
    for path in (cache, factories.part(cache, "a")):
        with h5py.File(path) as file:
            assert all(file[n].compression == "gzip" for n in names_in(file)[0])


def test_parts_are_the_same_bytes_wherever_and_however_they_are_made(tmp_path):
    names = ("a", "b", "c", "d")
    first = factories.make_cache(tmp_path / "one", names)
    data = tmp_path / "elsewhere" / "data of another name"
    data.parent.mkdir()
    (tmp_path / "one" / "data").rename(data)
    second = tmp_path / "elsewhere" / "c.h5"
    for chosen in (["d", "b"], ["c"], None):  # another order, in several runs, by workers
        report = factories.generate(
            data, second, factories.QUICK, ids=chosen, jobs=1 if chosen else 2
        )
        assert report.complete
    assert factories.files_of(first) == factories.files_of(second)
    assert first.read_bytes() == second.read_bytes()


def test_files_hold_no_path_host_or_date(tmp_path):
    cache = factories.make_cache(tmp_path, ("a",))
    with h5py.File(factories.part(cache, "a")) as file:
        facts = [file.attrs[n] for n in file.attrs] + [file["case"].attrs[n] for n in ("inputs",)]
        stamps = [h5py.h5g.get_objinfo(file[n].id).mtime for n in names_in(file)[0]]
    assert not any(stamps)
    for data in (cache.read_bytes(), factories.part(cache, "a").read_bytes(), *map(bytes, facts)):
        for word in (str(tmp_path), tmp_path.name, socket.gethostname()):
            assert word.encode() not in data
