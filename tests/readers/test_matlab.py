"""MATLAB files of both kinds: arrays of numbers, from the file itself."""

from __future__ import annotations

import h5py
import numpy as np
import scipy.io

from softlabel.readers import list_dataset

from .factories import (
    COLUMNS,
    duke_variables,
    write_duke,
)


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
