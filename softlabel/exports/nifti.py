"""NIfTI-1 with the names of BIDS derivatives: ``sub-NAME/anat/sub-NAME_dseg.nii.gz`` and the like.

Hard labels are ``_dseg``, soft ones ``_probseg``: one file with the classes along its fourth axis,
whose order the JSON beside it tells (``LabelMap``), or one file a class. ``dseg.tsv`` has the names
of the label values.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from softlabel._version import __version__
from softlabel.cache import Cache
from softlabel.colours import class_rgb
from softlabel.exports.case import NOT_CALIBRATED, ExportedCase
from softlabel.exports.format import ExportOptions, Format
from softlabel.files.atomic import publish, publish_by
from softlabel.files.names import safe_stem
from softlabel.types import Array, ClassTable

_BIDS_VERSION = "1.9.0"
_ENTITIES = re.compile(r"sub-[a-zA-Z0-9]+(_[a-zA-Z]+-[a-zA-Z0-9]+)*")
_LONGEST = 120
"""Characters of an id that names files as it is; endings and names of classes come behind it."""

_SINGLE_FILE_OFFSET = 352
_SAME_PLACE = 1e-5
"""Relative difference up to which a qform places voxels as the sform does."""


# --- names ----------------------------------------------------------------------------------------


def names(ids: Sequence[str]) -> dict[str, str]:
    """Names of entities, as BIDS has them: one ``sub-LABEL`` of letters and digits.

    Ids that are such names already, with or without further entities, stay as they are. One that
    is another's in letters and digits gets a short hash behind it.

    Examples
    --------
    >>> list(names(["sub-01_ses-2", "scan_10", "scan-10"]).values())
    ['sub-01_ses-2', 'sub-scan108b1a66cf', 'sub-scan108b11ff2a']
    """
    ready = {i for i in ids if len(i) <= _LONGEST and _ENTITIES.fullmatch(i)}
    plain = {case_id: _letters(safe_stem(case_id)) for case_id in ids if case_id not in ready}
    uses = Counter(label.lower() for label in plain.values())
    uses.update(case_id.removeprefix("sub-").lower() for case_id in ready)
    uses[""] = 2
    return {
        case_id: case_id if case_id in ready else f"sub-{_label(case_id, plain[case_id], uses)}"
        for case_id in ids
    }


def _label(case_id: str, label: str, uses: Counter[str]) -> str:
    """The letters and digits of an id, with a hash where another one has the same."""
    if uses[label.lower()] == 1:
        return label
    digest = hashlib.sha256(case_id.encode("utf-8", "surrogatepass")).hexdigest()
    hashed = (f"{label}{digest[:length]}" for length in (8, 16, 32, 64))
    return next(name for name in hashed if not uses[name.lower()])


def _letters(text: str) -> str:
    return re.sub(r"[^a-zA-Z0-9]", "", text)


def class_labels(classes: ClassTable) -> list[str]:
    """The entity ``label-…`` of each class: letters and digits of its name, else its value too.

    Examples
    --------
    >>> class_labels(ClassTable((0, 1, 2), ("back ground", "a-b", "ab")))
    ['background', 'ab1', 'ab2']
    """
    plain = [_letters(safe_stem(name)) for name in classes.names]
    uses = Counter(label.lower() for label in plain)
    uses[""] = 2
    return [
        label if uses[label.lower()] == 1 else f"{label}{value}"
        for label, value in zip(plain, classes.values, strict=True)
    ]


def files(name: str, classes: ClassTable, options: ExportOptions) -> Sequence[str]:
    """Hard labels, then soft ones, each with its JSON."""
    parts = ["dseg"]
    if options.per_class:
        parts += [f"label-{label}_probseg" for label in class_labels(classes)]
    else:
        parts.append("probseg")
    folder = "/".join(re.findall(r"(?:sub|ses)-[a-zA-Z0-9]+", name))
    stems = [f"{folder}/anat/{name}_{part}" for part in parts]
    return [f"{stem}{ending}" for stem in stems for ending in (".nii.gz", ".json")]


def shared(cache: Cache) -> Mapping[str, bytes]:
    """What makes the folder a derivative, and names and colours of the label values."""
    about = {
        "Name": "Soft labels",
        "BIDSVersion": _BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "softlabel", "Version": __version__}],
    }
    return {
        "dataset_description.json": _json(about),
        "dseg.tsv": bids_table(cache.classes).encode(),
        "itksnap_labels.txt": itksnap_table(cache.classes).encode(),
        "slicer_labels.ctbl": slicer_table(cache.classes).encode(),
    }


def bids_table(classes: ClassTable) -> str:
    """Label values with their names and colours, as BIDS has them.

    Examples
    --------
    >>> print(bids_table(ClassTable((0, 4), ("background", "optic nerve"))), end="")
    index\tname\tcolor
    0	background	#c8c8c8
    4	optic nerve	#e69f00
    """
    rows = [
        f"{value}\t{' '.join(name.split())}\t#{bytes(class_rgb(k)).hex()}"
        for k, (value, name) in enumerate(classes)
    ]
    return "\n".join(["index\tname\tcolor", *rows, ""])


def itksnap_table(classes: ClassTable) -> str:
    """A label description file of ITK-SNAP; the label 0 is clear there, whatever it means.

    Examples
    --------
    >>> print(itksnap_table(ClassTable((0, 4), ("background", "optic nerve"))), end="")
    # ITK-SnAP Label Description File
    # IDX -R- -G- -B- -A- VIS MSH LABEL
    0 0 0 0 0 0 0 "Clear Label"
    4 230 159 0 1 1 1 "optic nerve"
    """
    rows = ['0 0 0 0 0 0 0 "Clear Label"']
    for k, (value, name) in enumerate(classes):
        if value:
            colour = " ".join(map(str, class_rgb(k)))
            shown = " ".join(name.replace('"', "'").split())
            rows.append(f'{value} {colour} 1 1 1 "{shown}"')
    head = ["# ITK-SnAP Label Description File", "# IDX -R- -G- -B- -A- VIS MSH LABEL"]
    return "\n".join([*head, *rows, ""])


def slicer_table(classes: ClassTable) -> str:
    """A colour table of 3D Slicer; names hold no spaces, and the label 0 is not drawn.

    Examples
    --------
    >>> print(slicer_table(ClassTable((0, 4), ("background", "optic nerve"))), end="")
    # Color table, names and colours of labels
    0 background 200 200 200 0
    4 optic_nerve 230 159 0 255
    """
    rows = [
        f"{value} {'_'.join(name.split()) or value} {' '.join(map(str, class_rgb(k)))} "
        f"{255 if value else 0}"
        for k, (value, name) in enumerate(classes)
    ]
    return "\n".join(["# Color table, names and colours of labels", *rows, ""])


# --- content --------------------------------------------------------------------------------------


def write(case: ExportedCase, paths: Sequence[Path], options: ExportOptions) -> None:
    """Write the images, each followed by its JSON."""
    hard, *soft = zip(paths[::2], paths[1::2], strict=True)
    labels = np.asarray(case.labels)
    _write_image(hard[0], [labels], labels.dtype, (), case)
    publish(hard[1], _json(_about_labels(case)))
    n_classes = len(case.classes)
    about = {"Description": NOT_CALIBRATED, "Sources": list(case.inputs)}
    if options.per_class:
        for k, (image, sidecar) in enumerate(soft):
            _write_image(image, [case.soft[k]], np.float32, (), case)
            value, name = case.classes.values[k], case.classes.names[k]
            publish(sidecar, _json({**about, "Label": name, "LabelValue": value}))
        return
    (image, sidecar), = soft  # fmt: skip
    _write_image(image, (case.soft[k] for k in range(n_classes)), np.float32, (n_classes,), case)
    order = {"LabelMap": list(case.classes.names), "LabelValues": list(case.classes.values)}
    publish(sidecar, _json({**about, **order}))


def _about_labels(case: ExportedCase) -> dict[str, Any]:
    about: dict[str, Any] = {"Sources": list(case.inputs)}
    if case.ignore is not None:
        about["IgnoredValue"] = case.ignore
    return about


def _write_image(
    path: Path, volumes: Iterable[Array], dtype: Any, leading: tuple[int, ...], case: ExportedCase
) -> None:
    """Write volumes one behind the other, so that one at a time is in memory."""
    header = _header(case, dtype, leading)

    def write_to(temporary: Path) -> None:
        with temporary.open("wb") as stream, gzip.GzipFile("", "wb", 1, stream, mtime=0) as packed:
            header.write_to(packed)
            packed.write(bytes(_SINGLE_FILE_OFFSET - packed.tell()))
            for volume in volumes:
                packed.write(np.asarray(volume, header.get_data_dtype()).tobytes(order="F"))

    publish_by(path, write_to)


def _header(case: ExportedCase, dtype: Any, leading: tuple[int, ...]) -> Any:
    """Sizes, place and units; form codes 0 where the place is not known.

    An image of two axes is one slice, since the fourth axis is that of the classes.
    """
    from nibabel import Nifti1Header  # takes a while

    header = Nifti1Header()
    header.set_data_dtype(np.dtype(dtype))
    header.set_data_shape((*case.shape, *[1] * (3 - len(case.shape)), *leading))
    header.set_slope_inter(1, 0)
    header["vox_offset"] = _SINGLE_FILE_OFFSET
    sizes = _sizes_mm(case)
    header.set_zooms((*(sizes or (1, 1, 1)), *[1] * len(leading)))
    header.set_xyzt_units("mm" if sizes else "unknown")
    header.set_sform(case.affine, code="scanner" if case.affine is not None else "unknown")
    if case.affine is not None:
        header.set_qform(case.affine, code="scanner")
        if not np.allclose(header.get_qform(), case.affine, rtol=_SAME_PLACE, atol=_SAME_PLACE):
            header["qform_code"] = 0  # a shear, which a rotation cannot tell
    return header


def _sizes_mm(case: ExportedCase) -> tuple[float, ...] | None:
    """Voxel size along three axes; None where it is not known."""
    if case.affine is not None:
        return tuple(float(length) for length in np.linalg.norm(case.affine[:3, :3], axis=0))
    if case.spacing_mm is None:
        return None
    return (*case.spacing_mm, *[1.0] * (3 - len(case.shape)))


def _json(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode()


FORMAT = Format(
    "BIDS derivatives: _dseg, and _probseg with the classes along the fourth axis",
    files, write, names=names, shared=shared, takes=("per_class",),
)  # fmt: skip
