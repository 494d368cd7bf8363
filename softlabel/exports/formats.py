"""The formats of exports by the name that ``--to`` takes."""

from __future__ import annotations

from softlabel.exports import dicomseg, nifti, npz, zarrgroup
from softlabel.exports.format import Format

FORMATS: dict[str, Format] = {
    "nifti": nifti.FORMAT,
    "npz": npz.FORMAT,
    "zarr": zarrgroup.FORMAT,
    "dicom-seg": dicomseg.FORMAT,
}
