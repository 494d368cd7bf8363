#!/usr/bin/env bash
# pydicom: some frames of one bit a pixel can be read all together, but not one at a time.
#
# The guess: `pixel_array(file, index=i)` and `iter_pixels(file)` give the frames of `pixel_array`,
# one at a time, so that a large segmentation need not be in memory as a whole.
#
# What happens: they raise "cannot reshape array of size ..." for valid files with one bit a pixel,
# where `pixel_array` is right. Frames of one bit follow each other without padding (DICOM PS3.5,
# 8.1.1), so that a frame of n pixels begins at bit (i * n) % 8 of a byte. pydicom takes as many
# bytes as n bits need, ceil(n / 8). A frame that begins late in a byte and ends early in another
# lies in one byte more: 63 pixels from bit 7 on lie in 9 bytes, of which 8 are taken. Frames of n
# pixels, a multiple of 8, never do, nor do frames of 25 pixels, since 25 bits fit into 4 bytes from
# any bit on.
#
# Versions: pydicom 3.0.2. Source: DICOM PS3.5 section 8.1.1 and annex D; pydicom's documentation of
# pydicom.pixels.iter_pixels and pixel_array. (An earlier case of it is issue 2134 of pydicom, fixed
# by pull request 2140.)
#
# Run: findings/pydicom-one-bit-frames.sh   (Python 3.11 or newer; PYTHON=... picks one)
# It installs pydicom into a temporary folder, prints what it does, and fails if that has changed.
set -euo pipefail

python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pip --disable-pip-version-check -q install --target "$folder/libraries" \
  pydicom==3.0.2 numpy==2.4.6

cat >"$folder/show.py" <<'PYTHON'
import sys
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.pixels import iter_pixels, pixel_array
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage


def write(path, frames):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SegmentationStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    file = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    file.SOPClassUID, file.SOPInstanceUID = SegmentationStorage, "1.2.3"
    file.NumberOfFrames, file.Rows, file.Columns = frames.shape
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated = file.BitsStored = 1
    file.HighBit = file.PixelRepresentation = 0
    packed = np.packbits(frames.ravel(), bitorder="little").tobytes()
    file.PixelData = packed + bytes(len(packed) % 2)
    file.save_as(path, enforce_file_format=True)


def outcome(read, expected):
    try:
        return "right" if np.array_equal(read(), expected) else "wrong"
    except ValueError as error:
        return f"raises: {error}"


print("pydicom", pydicom.__version__)
path = Path(sys.argv[1]) / "segmentation.dcm"
changed = False
for shape in ((4, 8, 8), (4, 5, 5), (4, 7, 9)):
    frames = np.random.default_rng(0).integers(0, 2, shape).astype(np.uint8)
    write(path, frames)
    n = shape[1] * shape[2]
    print(f"{shape[0]} frames of {shape[1]} x {shape[2]} = {n} pixels")
    found = {"pixel_array": outcome(lambda: pydicom.dcmread(path).pixel_array, frames)}
    expected = {"pixel_array": "right"}
    found["iter_pixels"] = outcome(lambda: np.stack(list(iter_pixels(path))), frames)
    expected["iter_pixels"] = "right"
    for i in range(shape[0]):
        name = f"pixel_array, index={i}"
        found[name] = outcome(lambda i=i: pixel_array(path, index=i), frames[i])
        one_byte_more = i * n % 8 + n > 8 * -(-n // 8)
        expected[name] = "raises" if one_byte_more else "right"
        if one_byte_more:
            expected["iter_pixels"] = "raises"
    for name, text in found.items():
        print(f"  {name}: {text}")
        if not text.startswith(expected[name]):
            print(f"    changed: expected {expected[name]}")
            changed = True
sys.exit(changed)
PYTHON

PYTHONPATH="$folder/libraries" "$python" "$folder/show.py" "$folder"
