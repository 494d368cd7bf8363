"""MATLAB files of both kinds against SciPy, on its own files too; what they may not do."""

from __future__ import annotations

import tracemalloc
import warnings
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st

from softlabel.errors import CaseError
from softlabel.files import frames
from softlabel.readers import list_dataset
from softlabel.readers.matlab import open_matlab

from .factories import (
    COLUMNS,
    duke_variables,
    read_all,
    write_duke,
)

SCIPY_FILES = Path(scipy.io.__file__).parent / "matlab" / "tests" / "data"
"""Files that MATLAB 6 to 8 wrote on several systems, where SciPy is installed with its tests."""

NO_VERSION_5 = ("_4.2c_", "_4_", "mat4", "hdf5", "malformed", "corrupted", "bad_", "debigged")


def files_of_version_5():
    files = sorted(SCIPY_FILES.glob("*.mat"))
    return [path for path in files if not any(part in path.name for part in NO_VERSION_5)]


@pytest.mark.skipif(not SCIPY_FILES.is_dir(), reason="SciPy is installed without its tests")
def test_files_of_matlab_give_what_scipy_gives():
    numeric = 0
    for path in files_of_version_5():
        file = open_matlab(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = scipy.io.loadmat(path)
        assert set(file.variables) == {name for name in expected if not name.startswith("__")}
        for name in file.variables:
            values = expected[name]
            if isinstance(values, np.ndarray) and values.dtype.kind in "iuf":
                assert file.read(name).dtype == values.dtype.newbyteorder("=")
                np.testing.assert_array_equal(file.read(name), values, err_msg=path.name)
                numeric += 1
            else:
                with pytest.raises(CaseError, match="no array of real numbers"):
                    file.read(name)
    assert numeric > 20


@pytest.mark.skipif(not SCIPY_FILES.is_dir(), reason="SciPy is installed without its tests")
def test_damaged_files_of_scipy_are_refused():
    refused = ["bad_miuint32", "corrupted_zlib_checksum", "corrupted_zlib_data", "malformed1"]
    for name in (*refused, "debigged_m4", "testdouble_4.2c_SOL2"):
        with pytest.raises(CaseError, match=name.replace(".", r"\.")):
            file = open_matlab(SCIPY_FILES / f"{name}.mat")
            for variable in file.variables:
                if file.variables[variable].element.kind != "cell":
                    file.read(variable)


def element(number, content):
    """An element of a little-endian file of version 5."""
    return np.array([number, len(content)], "<u4").tobytes() + content + bytes(-len(content) % 8)


def opaque(name, class_name):
    """A variable as MATLAB saves a string, table or categorical: a reference into the subsystem."""
    flags = element(6, np.array([17, 0], "<u4").tobytes())
    texts = b"".join(element(1, text.encode()) for text in (name, "MCOS", class_name))
    reference = np.array([0xDD000000, 2, 1, 1, 1, 1], "<u4").tobytes()
    numbers = (
        element(6, np.array([13, 0], "<u4").tobytes())
        + element(5, np.array([6, 1], "<i4").tobytes())
        + element(1, b"")
        + element(6, reference)
    )
    return element(14, flags + texts + element(14, numbers))


@pytest.mark.parametrize("packed", [True, False])
def test_a_string_a_table_and_a_categorical_beside_the_images_do_no_harm(tmp_path, packed):
    path = write_duke(tmp_path)
    expected = read_all(list_dataset(tmp_path))
    content = path.read_bytes()
    for name, class_name in (("patient", "string"), ("visits", "table"), ("eye", "categorical")):
        variable = opaque(name, class_name)
        if packed:
            deflated = zlib.compress(variable)
            variable = np.array([15, len(deflated)], "<u4").tobytes() + deflated
        content = content[:128] + variable + content[128:]
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they have one name, None, in SciPy
        assert "images" in scipy.io.loadmat(path)
    file = open_matlab(path)
    assert [file.variables[n].element.kind for n in ("eye", "patient")] == ["categorical", "string"]
    with pytest.raises(CaseError, match="'visits' is a MATLAB table, which is no array"):
        file.read("visits")
    found = read_all(list_dataset(tmp_path))
    assert list(found) == list(expected)
    for name, case in found.items():
        np.testing.assert_array_equal(case.image, expected[name].image)
        np.testing.assert_array_equal(case.labels, expected[name].labels)


TYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"]


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_whole_and_by_slices(tmp_path, dtype, compressed):
    rng = np.random.default_rng(0)
    variables = {
        "volume": rng.integers(0, 100, (5, 3, 7)).astype(dtype),
        "flat": rng.integers(0, 100, (4, 9)).astype(dtype),
        "one": np.array([[7]], dtype),
        "four": rng.integers(0, 100, (2, 2, 2, 3)).astype(dtype),
    }
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, variables, do_compression=compressed)
    file = open_matlab(path)
    for name, values in variables.items():
        assert file.shape_of(name) == values.shape and file.read(name).dtype == values.dtype
        np.testing.assert_array_equal(file.read(name), values)
        for last in ([0], [values.shape[-1] - 1], list(range(0, values.shape[-1], 2)), []):
            np.testing.assert_array_equal(file.read(name, last), values[..., last])
    with pytest.raises(IndexError, match="no position 7"):
        file.read("volume", [0, 7])


def test_slices_of_version_7_3(tmp_path):
    path = write_duke(tmp_path, version="7.3")
    fluid = duke_variables()["manualFluid1"]
    np.testing.assert_array_equal(
        open_matlab(path).read("manualFluid1", [1, 4]), fluid[..., [1, 4]]
    )


def test_slices_take_the_memory_of_slices(tmp_path):
    path = tmp_path / "a.mat"
    volume = np.zeros((200, 300, 40))
    volume[..., 7] = 1
    scipy.io.savemat(path, {"volume": volume}, do_compression=True)
    file = open_matlab(path)
    tracemalloc.start()
    found = file.read("volume", [7, 30])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.shape == (200, 300, 2) and found[..., 0].all() and not found[..., 1].any()
    assert peak < 6 * volume[..., 0].nbytes


def test_the_checksum_behind_the_chosen_slices_counts(tmp_path):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"volume": np.arange(600.0).reshape(5, 6, 20)}, do_compression=True)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CaseError, match="incorrect data check"):
        open_matlab(path).read("volume", [0])


def test_a_complex_array_is_refused(tmp_path):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"z": np.array([[1 + 2j]])})
    with pytest.raises(CaseError, match="'z' is a complex array"):
        open_matlab(path).read("z")


def patched(tmp_path, old, new):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"volume": np.arange(24.0).reshape(2, 3, 4)}, do_compression=False)
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))
    return path


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ([9, 192], [9, 184], "192|184 bytes of the type 9"),
        ([9, 192], [8, 192], "bytes of the type 8"),
        ([5, 12], [5, 4], "1 axes"),
        ([5, 12], [5, 2000], "sizes of 2000 bytes"),
        ([6, 8], [7, 8], "flags of the type 7"),
        ([2, 3, 4], [2, -3, 4], "negative size"),
        ([2, 3, 4], [2, 3, 0], "empty array"),
        ([2, 3, 4], [2, 3, 5], "expected as many"),
    ],
)
def test_heads_that_contradict_themselves(tmp_path, old, new, words):
    old, new = (np.array(numbers, "<i4").tobytes() for numbers in (old, new))
    path = patched(tmp_path, old, new)
    with pytest.raises(CaseError, match=words):
        open_matlab(path).read("volume")


@pytest.fixture(scope="module")
def small_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz") / "a.mat"
    variables = {"volume": np.arange(24.0).reshape(2, 3, 4), "text": "words"}
    contents = []
    for compressed in (True, False):
        scipy.io.savemat(path, variables, do_compression=compressed)
        contents.append(path.read_bytes())
    return path, contents


@given(
    st.booleans(),
    st.lists(st.tuples(st.integers(128, 600), st.integers(0, 255)), max_size=3),
    st.integers(0, 600),
)
def test_damage_anywhere_is_a_sentence_or_does_no_harm(small_file, compressed, changes, kept):
    path, contents = small_file
    content = bytearray(contents[not compressed][:kept] if kept > 128 else contents[not compressed])
    for position, value in changes:
        content[position % len(content)] = value
    path.write_bytes(content)
    try:
        file = open_matlab(path)
        for name in file.variables:
            file.read(name)
    except CaseError as error:
        assert str(path) in str(error)


def test_object_arrays_are_refused(tmp_path):
    variables = duke_variables()
    cells = np.empty((2, 2), dtype=object)
    cells[:] = "x"
    path = tmp_path / "Subject_01.mat"
    scipy.io.savemat(path, {**variables, "manualLayers1": cells})
    problem = list_dataset(tmp_path).problems["Subject_01"]
    assert "MATLAB cell" in problem and "numbers" in problem


def hdf5_with(tmp_path, write):
    path = write_duke(tmp_path, version="7.3")
    with h5py.File(path, "r+") as h5:
        del h5["manualLayers1"]
        write(h5)
    return list_dataset(tmp_path).problems["Subject_01"]


def test_hdf5_object_references_are_refused(tmp_path):
    def write(h5):
        h5.create_dataset("manualLayers1", (2,), dtype=h5py.ref_dtype)

    assert "expected an array of numbers" in hdf5_with(tmp_path, write)


def test_hdf5_values_outside_the_file_are_refused(tmp_path):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.ones(8 * COLUMNS * 6).tobytes())

    def write(h5):
        h5.create_dataset(
            "manualLayers1", (6, COLUMNS, 8), "f8", external=[(str(secret), 0, 6 * COLUMNS * 64)]
        )

    assert "takes its values from another file" in hdf5_with(tmp_path, write)


def test_hdf5_links_out_of_the_file_are_not_followed(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["layers"] = np.ones((6, COLUMNS, 8))

    def write(h5):
        h5["manualLayers1"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "layers")

    assert "no variable 'manualLayers1'" in hdf5_with(tmp_path, write)


def test_hdf5_that_promises_terabytes_is_refused(tmp_path):
    def huge(h5):
        h5.create_dataset("manualLayers1", (10**5, 10**4, 10**3), "f8", chunks=(1, 1, 8))

    assert "more than the" in hdf5_with(tmp_path, huge)

    def never_written(h5):
        h5.create_dataset("manualLayers1", (6, 10**6, 8), "f8", chunks=(1, 1, 8))

    assert "stores only 0 bytes" in hdf5_with(tmp_path, never_written)


def test_hdf5_filters_other_than_gzip_are_refused(tmp_path):
    def write(h5):
        h5.create_dataset("manualLayers1", data=np.ones((6, COLUMNS, 8)), compression="lzf")

    assert "another filter than gzip" in hdf5_with(tmp_path, write)


def test_matlab_v5_that_promises_terabytes_is_refused(tmp_path):
    path = write_duke(tmp_path)
    scipy.io.savemat(path, duke_variables(), do_compression=False)
    content = path.read_bytes()
    dimensions = np.array([8, COLUMNS, 6], dtype="<i4").tobytes()
    assert dimensions in content
    lie = np.array([2**20, 2**20, 6], dtype="<i4").tobytes()
    path.write_bytes(content.replace(dimensions, lie))
    assert "promises 1048576 × 1048576 × 6 values" in list_dataset(tmp_path).problems["Subject_01"]


def test_chunks_of_version_7_3_that_hold_more_than_they_promise(tmp_path, monkeypatch):
    monkeypatch.setattr(frames, "HARMLESS_BYTES", 0)
    path = write_duke(tmp_path, version="7.3")
    open_matlab(path).read("images")
    with h5py.File(path, "r+") as h5:
        bomb = zlib.compress(bytes(1 << 20))
        h5["images"].id.write_direct_chunk((0, 0, 0), bomb)
    with pytest.raises(CaseError, match=r"'images' has a chunk at .* unpack to more than"):
        open_matlab(path).read("images")
