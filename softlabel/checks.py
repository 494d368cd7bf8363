"""What is wrong with a cache, as data: :func:`verify` returns findings, it repairs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from softlabel import schema
from softlabel.cache import parts_folder
from softlabel.cache.files import (
    Header,
    check_header,
    get_text,
    open_for_reading,
    read_header,
    stored_digest,
)
from softlabel.cache.read import part_path
from softlabel.errors import CacheError, SoftlabelError
from softlabel.softmaps import class_index_map, ignored_index

SUM_TOLERANCE = 1e-5
"""Allowed |Σq − 1| under ``normalize sum``: float32 values of up to a few classes."""


@dataclass(frozen=True)
class Finding:
    """Something wrong.

    Attributes
    ----------
    case : str
        Id of the case, "" for the index.
    where : str
        File, and dataset within.
    problem : str
        What was found, what was expected, and the mend.
    """

    case: str
    where: str
    problem: str

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)


def verify(path: Path, progress: Callable[[str], None] | None = None) -> list[Finding]:
    """Read every chunk of a cache and compare it with what it says of itself.

    Checks that every linked part opens and is of this cache; that every dataset has its chunks
    and their SHA-256; shapes, types and ranges; that ignored pixels are 0 in every class; and
    Σ_c q_c = 1 under ``normalize sum``.

    Parameters
    ----------
    path : Path
        The index.
    progress : callable, optional
        Called with the id of every case that was looked at.

    Raises
    ------
    CacheError
        When the index itself cannot be opened.
    """
    findings: list[Finding] = []
    linked = set()
    with open_for_reading(path) as file:
        check_header(file, path, (schema.INDEX, schema.PACKED))
        try:
            header = read_header(file)
            links = {i: file["cases"].get(i, getlink=True) for i in file["cases"]}
        except (KeyError, OSError, ValueError, SoftlabelError) as error:
            raise CacheError(
                f"The index {path} is damaged ({error}); rebuild it with `softlabel index {path}`."
            ) from error
        findings += [Finding("", str(path), p) for p in _index_problems(file)]
        for case_id, link in links.items():
            if isinstance(link, h5py.ExternalLink):
                findings += _linked_findings(path, link.filename, case_id, header)
                linked.add(link.filename.rpartition("/")[2])
            else:
                node = file["cases"][case_id]
                findings += [Finding(case_id, w, p) for w, p in _case_problems(node, header)]
            if progress is not None:
                progress(case_id)
    for stray in sorted(parts_folder(path).glob("*.h5")):
        if stray.name not in linked:
            findings.append(
                Finding("", str(stray), "is in no index; run `softlabel index` to take it in, or "
                        "delete it")
            )  # fmt: skip
    return findings


def _index_problems(file: h5py.File) -> Iterator[str]:
    for name in _datasets(file):
        if not name.startswith("cases/"):
            yield from (f"{name} {p}" for p in _stored_problems(file[name]))


def _linked_findings(index: Path, link: str, case_id: str, header: Header) -> list[Finding]:
    try:
        path = part_path(index, link, case_id)
        with open_for_reading(path) as file:
            check_header(file, path, (schema.PART,))
            findings = []
            if get_text(file, "fingerprint") != header.fingerprint:
                findings.append(
                    Finding(case_id, str(path), "was made with other settings than the index "
                            "says; run `softlabel generate` again")
                )  # fmt: skip
            for name in ("classes/values", "classes/names", "channels"):
                if name in file:
                    findings += [
                        Finding(case_id, f"{path}:{name}", p) for p in _stored_problems(file[name])
                    ]
            if get_text(file["case"], "id") != case_id:
                findings.append(
                    Finding(case_id, str(path), "holds another case; rebuild the index")
                )
            findings += [
                Finding(case_id, f"{path}:{where}", problem)
                for where, problem in _case_problems(file["case"], header)
            ]
            return findings
    except SoftlabelError as error:
        return [Finding(case_id, link, str(error))]
    except (KeyError, OSError, ValueError, RuntimeError) as error:
        return [
            Finding(case_id, link, f"is damaged ({error}); delete it and run `softlabel generate` "
                    "again")
        ]  # fmt: skip


def _case_problems(case: h5py.Group, header: Header) -> Iterator[tuple[str, str]]:
    """(dataset, problem) of one case."""
    broken = set()
    for name in _datasets(case):
        for problem in _stored_problems(case[name]):
            broken.add(name)
            yield name, problem
    for spec in schema.CASE_DATASETS.values():
        if spec.required and spec.name not in case:
            broken.add(spec.name)
            yield spec.name, "is missing; delete the file and run `softlabel generate` again"
    if broken & {"labels", "image", "soft"}:
        return
    yield from _shape_problems(case, header)
    yield from _value_problems(case, header)


def _datasets(group: h5py.Group) -> list[str]:
    names: list[str] = []
    group.visititems(lambda n, node: names.append(n) if isinstance(node, h5py.Dataset) else None)
    return names


def _stored_problems(dataset: h5py.Dataset) -> Iterator[str]:
    """Chunk count, SHA-256 over the stored bytes, and the checksum of every chunk."""
    mend = "delete the file and run `softlabel generate` again"
    if "chunks_allocated" not in dataset.attrs or "sha256" not in dataset.attrs:
        yield f"has no chunks_allocated or sha256 attribute; {mend}"
        return
    expected = int(dataset.attrs["chunks_allocated"])
    try:
        count, digest = stored_digest(dataset)
        if count != expected:
            yield f"has {count} chunks, expected {expected}; {mend}"
        elif digest != get_text(dataset, "sha256"):
            yield f"has other bytes than were written (SHA-256 differs); {mend}"
        else:
            _read_chunks(dataset)
    except (OSError, RuntimeError) as error:
        yield f"cannot be read ({error}); {mend}"


def _read_chunks(dataset: h5py.Dataset) -> None:
    for where in dataset.iter_chunks():
        dataset[where]


def _shape_problems(case: h5py.Group, header: Header) -> Iterator[tuple[str, str]]:
    spatial = case["labels"].shape
    leading = {"": (), "C": (case["image"].shape[0],), "K": (len(header.classes),)}
    specs = dict(schema.CASE_DATASETS)
    labels = specs["labels"]
    for name in case.get(schema.LABEL_MAPS, ()):
        specs[f"{schema.LABEL_MAPS}/{name}"] = labels
    for name, spec in specs.items():
        if name not in case or name.startswith("original/"):
            continue
        dataset = case[name]
        expected = (*leading[spec.leading], *spatial)
        if dataset.shape != expected:
            yield name, f"has shape {dataset.shape}, expected {expected}"
        if dataset.dtype.kind not in spec.kinds:
            yield name, f"has type {dataset.dtype}, expected a NumPy kind of {spec.kinds!r}"


def _value_problems(case: h5py.Group, header: Header) -> Iterator[tuple[str, str]]:
    labels = case["labels"][...]
    try:
        index = class_index_map(labels, header.classes, header.ignore)
    except ValueError as error:
        yield "labels", str(error)
        return
    counts = np.bincount(index.ravel(), minlength=len(header.classes))[: len(header.classes)]
    if not np.array_equal(counts, case.attrs["class_pixels"]):
        yield "labels", "hold other numbers of pixels a class than the attribute class_pixels says"
    image = case["image"]
    for channel in range(image.shape[0]):
        if not np.isfinite(image[channel]).all():
            yield "image", f"channel {channel} holds NaN or infinite values"
    if "superpixels" in case:
        ids = case["superpixels"][...]
        number = int(case.attrs["n_superpixels"])
        if ids.size and (int(ids.max()) + 1 != number or int(ids.min()) < -1):
            yield (
                "superpixels",
                f"have ids {int(ids.min())}..{int(ids.max())}, expected −1 or 0..{number - 1}",
            )
    if case["soft"].shape[1:] == labels.shape and case["soft"].shape[0] == len(header.classes):
        yield from (("soft", p) for p in _soft_problems(case["soft"], index, header))


def _soft_problems(soft: h5py.Dataset, index: Any, header: Header) -> Iterator[str]:
    total = np.zeros(soft.shape[1:], np.float64)
    ignored = index == ignored_index(index.dtype)
    for k in range(soft.shape[0]):
        values = soft[k]
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            yield f"class {k} holds values outside of 0..1"
        if values[ignored].any():
            yield f"class {k} is not 0 at ignored pixels"
        total += values
    known = total[~ignored]
    if '"normalize": "sum"' in header.settings and known.size:
        worst = float(np.abs(known - 1).max())
        if worst > SUM_TOLERANCE:
            yield f"sums to 1 ± {worst:.2g} over the classes, expected 1 under normalize sum"
    elif known.size and known.min() <= 0:
        yield f"is 0 in every class at {int((known <= 0).sum())} known pixels"
