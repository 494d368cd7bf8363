"""The readers on real scans, which are not part of the repository."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from softlabel.errors import CaseError
from softlabel.readers import list_dataset, scan_classes

from .factories import read_all

ROOT = Path(
    os.environ.get("SOFTLABEL_REAL_DATA", Path(__file__).parents[2].parent / "shared" / "data")
)


def real(name):
    path = ROOT / name
    if not path.is_dir():
        pytest.skip(f"{name} is not there (set SOFTLABEL_REAL_DATA to the folder that holds it)")
    return path


def test_oct_bscans_with_nine_classes():
    dataset = list_dataset(real("oct_zeiss_onh"))
    assert [ref.id for ref in dataset.refs] == ["im00001", "im0100", "im1111"]
    assert scan_classes(dataset).values == tuple(range(0, 241, 30))
    for case in read_all(dataset).values():
        assert case.image.shape == (1, 1024, 200) and case.image.dtype == np.uint8


def test_freesurfer_brain_with_46_labels():
    dataset = list_dataset(real("brain_t1_aseg_voxelmorph"))
    table = scan_classes(dataset)
    assert len(table) == 46 and (table.values[0], table.values[-1]) == (0, 255)
    (case,) = read_all(dataset).values()
    assert case.image.shape == (1, 160, 192, 224) and case.labels.dtype == np.uint8


def test_brain_whose_segmentation_lies_elsewhere():
    dataset = list_dataset(real("brain_tissue_lapirn_oasis"))
    with pytest.raises(CaseError) as caught:
        read_all(dataset)
    for part in ("144.nii.gz", "144_seg.nii.gz", "1 × 1 × 1 mm", "0.98125 × 0.96875 × 1 mm"):
        assert part in str(caught.value)
