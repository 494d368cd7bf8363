#!/usr/bin/env bash
# HDF5 1.14: the image of a file in memory has a checksum that no HDF5 accepts.
#
# The guess: `H5Fget_file_image` ("a copy of the image of an existing, open file") gives the bytes
# that the file would have on the disk. So a file that is built in memory, with the core driver and
# without backing store, can be written to the disk byte for byte and opened from there.
#
# What happens: with `libver="v110"` or newer (superblock version 3) the bytes cannot be opened, with
# "incorrect metadata checksum after all read attempts", neither by the HDF5 that wrote them nor by
# another one. A file that is open for writing carries a mark in the consistency flags of its
# superblock. HDF5 1.14 takes the mark out of the image, as it should, and leaves the checksum of the
# superblock as it was with the mark. Every other byte is right: with the checksum of the bytes
# without the mark the file opens. HDF5 2.0 writes that checksum. Files of the oldest format
# (superblock version 0, the default of h5py) have no checksum there and are not affected.
#
# Versions: h5py 3.15.1 (HDF5 1.14.6) and h5py 3.16.0 (HDF5 2.0.0), wheels of PyPI for Linux.
# Source: HDF5 File Format Specification 3.0, II.A "Superblock", version 3; HDF5 Reference Manual,
# H5Fget_file_image.
#
# Run: findings/hdf5-1.14-file-image-checksum.sh   (Python 3.11 or newer; PYTHON=... picks one)
# It installs both into a temporary folder, prints what they do, and fails if that has changed.
set -euo pipefail

python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 3.15.1 3.16.0; do
  "$python" -m pip --disable-pip-version-check -q install --target "$folder/$version" \
    "h5py==$version" numpy==2.4.6
done

cat >"$folder/write.py" <<'PYTHON'
import sys
from pathlib import Path

import h5py

for libver in ("earliest", "v110"):
    with h5py.File("memory", "w", driver="core", backing_store=False, libver=libver) as file:
        file["numbers"] = [1, 2, 3]
        file.flush()
        image = file.id.get_file_image()
    Path(f"{sys.argv[1]}-{libver}.h5").write_bytes(image)
PYTHON

cat >"$folder/read.py" <<'PYTHON'
import sys

import h5py

try:
    with h5py.File(sys.argv[1]) as file:
        assert file["numbers"][:].tolist() == [1, 2, 3]
        print("opens")
except OSError as error:
    print("fails:", error)
PYTHON

declare -A hdf5
for version in 3.15.1 3.16.0; do
  hdf5[$version]=$(PYTHONPATH="$folder/$version" "$python" -c 'import h5py; print(h5py.version.hdf5_version)')
  echo "h5py $version, HDF5 ${hdf5[$version]}"
  PYTHONPATH="$folder/$version" "$python" "$folder/write.py" "$folder/$version"
done

failed=0
for writer in 3.15.1 3.16.0; do
  for libver in earliest v110; do
    for reader in 3.15.1 3.16.0; do
      found=$(PYTHONPATH="$folder/$reader" "$python" "$folder/read.py" "$folder/$writer-$libver.h5")
      expected=opens
      if [[ $writer-$libver == 3.15.1-v110 ]]; then expected="fails:*checksum*"; fi
      echo "image of HDF5 ${hdf5[$writer]}, libver $libver, read by ${hdf5[$reader]}: $found"
      # shellcheck disable=SC2053  # the right side is a pattern
      [[ $found == $expected ]] || { echo "  changed: expected $expected"; failed=1; }
    done
  done
done
exit $failed
