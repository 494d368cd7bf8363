from __future__ import annotations

import zipfile

import numpy as np
import pytest

from softlabel.errors import CaseError
from softlabel.readers.arrays import IMAGE_KEYS, LABEL_KEYS, find_key, read_npy, read_npz
from softlabel.readers.imagefiles import read_pixels

from .factories import truncate, volume, write_npy


def test_npy_of_every_layout(tmp_path):
    for dtype in ("u1", "f4", ">i4", "?"):
        for order in "CF":
            values = np.asarray(volume() % 2, dtype=dtype, order=order)
            found = read_npy(write_npy(tmp_path / "a.npy", values))
            np.testing.assert_array_equal(found.values, values)
            assert found.values.dtype.isnative and found.values.dtype.kind in "iuf"
            assert not found.axes_known


def test_npz_by_key_by_usual_name_and_by_being_alone(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, vol=volume(), Seg=volume() * 0, other=np.zeros(3))
    np.testing.assert_array_equal(read_npz(path, None, IMAGE_KEYS).values, volume())
    assert not read_npz(path, None, LABEL_KEYS).values.any()
    assert read_npz(path, "other", IMAGE_KEYS).values.shape == (3,)
    np.savez(path, anything=volume())
    np.testing.assert_array_equal(read_npz(path, None, IMAGE_KEYS).values, volume())


def test_npz_keys_that_are_not_there(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, first=volume(), second=volume())
    with pytest.raises(CaseError, match=r"'first', 'second'.*option label_key"):
        read_npz(path, None, LABEL_KEYS)
    with pytest.raises(CaseError, match="no array 'third'; it holds 'first', 'second'"):
        read_npz(path, "third", IMAGE_KEYS)


def test_usual_names_are_looked_for_in_order():
    assert find_key(["y", "labels"], LABEL_KEYS) == "labels"
    assert find_key(["p", "q"], LABEL_KEYS) is None


class Explosive:
    """Unpickling it would leave a trace."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled')",))


def test_nothing_is_unpickled(tmp_path):
    objects = np.array([Explosive(), 1], dtype=object)
    np.save(tmp_path / "a.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "a.npz", image=objects)
    with pytest.raises(CaseError, match=r"a\.npy holds Python objects \(pickled\)"):
        read_npy(tmp_path / "a.npy")
    with pytest.raises(CaseError, match=r"a\.npz holds Python objects \(pickled\)"):
        read_npz(tmp_path / "a.npz", None, IMAGE_KEYS)


@pytest.mark.parametrize(
    "values", [np.array(["a", "b"]), np.zeros(3, dtype="i4,f4"), np.zeros(2, "c8")]
)
def test_only_numbers(tmp_path, values):
    with pytest.raises(CaseError, match="expected integers or floating-point"):
        read_npy(write_npy(tmp_path / "a.npy", values))


@pytest.mark.parametrize("keep", [0.0, 0.05, 0.5, 0.99])
def test_truncated(tmp_path, keep):
    with pytest.raises(CaseError, match=r"a\.npy"):
        read_npy(truncate(write_npy(tmp_path / "a.npy", volume((20, 20))), keep))
    np.savez_compressed(tmp_path / "a.npz", image=volume((20, 20)))
    with pytest.raises(CaseError, match=r"a\.npz"):
        read_npz(truncate(tmp_path / "a.npz", keep), None, IMAGE_KEYS)


def test_a_damaged_member_is_seen(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, image=volume((20, 20)))
    content = bytearray(path.read_bytes())
    content[400] ^= 1
    path.write_bytes(content)
    with pytest.raises(CaseError, match="CRC"):
        read_npz(path, None, IMAGE_KEYS)


def header(shape):
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize("shape", [(10**6, 10**6), (10**8,), (-1, -1)])
def test_headers_that_promise_too_much(tmp_path, shape):
    (tmp_path / "a.npy").write_bytes(header(shape) + bytes(100))
    with pytest.raises(CaseError, match=r"a\.npy"):
        read_npy(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image.npy", header(shape) + bytes(100))
    with pytest.raises(CaseError, match=r"a\.npz"):
        read_npz(tmp_path / "a.npz", None, IMAGE_KEYS)


def test_not_what_the_ending_says(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"not an array")
    (tmp_path / "a.npz").write_bytes(b"not an archive")
    with pytest.raises(CaseError, match=r"as a \.npy file"):
        read_npy(tmp_path / "a.npy")
    with pytest.raises(CaseError, match=r"as a \.npz file"):
        read_npz(tmp_path / "a.npz", None, IMAGE_KEYS)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_a_header_without_end_is_not_read(tmp_path, name):
    """It may be gigabytes of blanks, packed to nothing."""
    content = b"\x93NUMPY\x02\x00" + (1 << 24).to_bytes(4, "little") + b" " * (1 << 24)
    path = tmp_path / name
    if name == "a.npy":
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("image.npy", content)
    with pytest.raises(CaseError, match="states a header of 16777216 bytes; expected at most"):
        read_pixels(path)
