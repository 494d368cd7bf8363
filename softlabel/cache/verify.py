"""What is wrong with a cache, as data: :func:`verify` returns findings, it repairs nothing."""

from __future__ import annotations

import contextlib
import itertools
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import numpy as np

from softlabel.cache import schema
from softlabel.cache.before import before_problems
from softlabel.cache.damage import stored_problem
from softlabel.cache.digest import case_digest
from softlabel.cache.files import (
    DAMAGE,
    FIX_PACKED,
    FIX_PART,
    Header,
    check_header,
    chunk_offsets,
    damage_as_error,
    first_line,
    followed_link,
    get_text,
    index_fix,
    is_packed,
    open_for_reading,
    parts_folders,
    read_header,
    require_known_link,
    root_problems,
)
from softlabel.cache.index import (
    Entry,
    PartsFolder,
    PartSummary,
    group_statistics,
    parts_folder,
    read_manifest,
    summary_of,
)
from softlabel.cache.read import open_cache, other_part, part_path
from softlabel.cache.structure import (
    UncheckedChunks,
    case_problems,
    datasets_below,
    layout_problem,
    lost_chunks,
    own,
)
from softlabel.errors import CacheError
from softlabel.files.owner import owners
from softlabel.softmaps.class_index import class_index_map, ignored_index
from softlabel.types import Array

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
        What was found, what was expected, and the fix.
    """

    case: str
    where: str
    problem: str

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)


def verify(path: Path, progress: Callable[[str], None] | None = None) -> list[Finding]:
    """Read every chunk of a cache and compare it with its recorded checksums.

    Checks that every linked part opens and is of this cache; that every dataset has its chunks
    and their SHA-256; shapes, types and ranges; that ignored pixels are 0 in every class;
    Σ_c q_c = 1 under ``normalize sum``; and that the statistics of the index are the sums over
    its parts.

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
    path = followed_link(path)
    if is_packed(path):
        return _verify_packed(path, progress)
    findings: list[Finding] = []
    linked, folders = set(), set()
    with open_for_reading(path) as file:
        check_header(file, path, (schema.INDEX, schema.PACKED))
        require_known_link(file, path)
        with damage_as_error(path, index_fix(path)):
            header = read_header(file)
            manifest = read_manifest(file)
            links = {i: file["cases"].get(i, getlink=True) for i in file["cases"]}
            findings += [Finding("", str(path), p) for p in _index_problems(file, index_fix(path))]
        for case_id, link in links.items():
            if isinstance(link, h5py.ExternalLink):
                entry = manifest.get(case_id, Entry("", 0))
                findings += _part_findings(path, link, case_id, header, entry.digest)
                folder_name, _, part_name = link.filename.rpartition("/")
                folders.add(folder_name)
                linked.add(part_name)
            else:
                with _reported(findings, case_id, str(path)):
                    problems = _case_problems(file["cases"][case_id], header)
                    findings += [Finding(case_id, f"{path}:{w}", p) for w, p in problems]
            if progress is not None:
                progress(case_id)
    findings += _folder_findings(path)
    folder = PartsFolder(parts_folder(path))
    foreign = sorted(folders - {folder.path.name})
    if foreign:
        return [*findings, Finding("", str(path), f"links to parts in {foreign[0]}, expected "
                f"{folder.path.name}: the index was renamed or copied alone; give both one name, "
                f"then run `softlabel index {path}`")]  # fmt: skip
    parts = folder.read()
    if linked and not findings:
        ours = [parts[name] for name in sorted(linked)]
        fix = index_fix(path)
        findings += _statistics_findings(path, ours, fix) or _manifest_findings(
            path, manifest, ours, fix
        )
    for name, part in parts.items():
        if name not in linked:
            problem = _stray_part(part, header, path)
            findings.append(Finding("", str(folder.path / name), problem))
    return findings


def _verify_packed(path: Path, progress: Callable[[str], None] | None) -> list[Finding]:
    """As :func:`verify`, of one file that holds all cases itself."""
    findings: list[Finding] = []
    found: list[PartSummary | CacheError] = []
    with open_for_reading(path) as file:
        check_header(file, path, (schema.PACKED,))
        with damage_as_error(path, FIX_PACKED):
            header, manifest, cases = read_header(file), read_manifest(file), own(file, "cases")
            findings += [Finding("", str(path), p) for p in _index_problems(file, FIX_PACKED)]
        for case_id in cases:
            with _reported(findings, case_id, str(path), FIX_PACKED):
                case, entry = own(cases, case_id), manifest.get(case_id, Entry("", 0))
                problems = _packed_problems(case, case_id, header, entry.digest)
                findings += [Finding(case_id, f"{path}:{where}", p) for where, p in problems]
                found.append(summary_of(case, "", entry.bytes))
            if progress is not None:
                progress(case_id)
    if not findings:
        findings += _statistics_findings(path, found, FIX_PACKED) or _manifest_findings(
            path, manifest, found, FIX_PACKED
        )
    return findings


def _packed_problems(
    case: h5py.Group, case_id: str, header: Header, digest: str
) -> Iterator[tuple[str, str]]:
    """(dataset or attribute, problem) of one case of a packed file."""
    if get_text(case, "id") != case_id:
        yield "id", f"is {get_text(case, 'id')!r}, expected {case_id!r}; {FIX_PACKED}"
    elif digest and get_text(case, schema.DIGEST, "") != digest:
        yield schema.DIGEST, f"is not the one that the manifest names; {FIX_PACKED}"
    else:
        yield from _case_problems(case, header, FIX_PACKED)


def _folder_findings(path: Path) -> Iterator[Finding]:
    """Folders of parts that the index does not name, and no living run writes."""
    others = {n: f for n, f in parts_folders(path).items() if f != parts_folder(path)}
    if not others or owners(path):
        return
    for number, folder in others.items():
        if number > (schema.parts_number(parts_folder(path).name) or 1):
            problem = (
                "is what an --overwrite left that did not end; run that command without "
                "--overwrite to go on, or delete the folder"
            )
        else:
            problem = "is left of a cache that was made anew; delete it"
        yield Finding("", str(folder), problem)


def _stray_part(part: PartSummary | CacheError, header: Header, index: Path) -> str:
    """Why a part is not in the index, and the fix."""
    if isinstance(part, PartSummary) and part.fingerprint != header.fingerprint:
        return (
            f"is of other settings than the index, which an --overwrite left because the case "
            f"{part.id!r} failed; fix the case and generate again, or delete it"
        )
    if isinstance(part, CacheError):
        return f"is not in the index, and cannot be taken in: {str(part).rstrip('.')}"
    return f"is not in the index; run `softlabel index {index}` to take it in, or delete it"


@contextlib.contextmanager
def _reported(
    findings: list[Finding], case_id: str, where: str, fix: str = FIX_PART
) -> Iterator[None]:
    """Turn an error that h5py raises for a damaged file into a finding."""
    try:
        yield
    except CacheError as error:
        findings.append(Finding(case_id, where, str(error)))
    except DAMAGE as error:
        findings.append(Finding(case_id, where, f"is damaged ({first_line(error)}); {fix}"))


def _index_problems(file: h5py.File, fix: str) -> Iterator[str]:
    problems = [
        f"{name} {problem}"
        for name, dataset in datasets_below(file, leave_out="cases").items()
        for problem in _stored_problems(dataset, fix)
    ]
    yield from problems or (f"{problem}; {fix}" for problem in root_problems(file))


def _part_findings(
    index: Path, link: h5py.ExternalLink, case_id: str, header: Header, digest: str
) -> list[Finding]:
    findings: list[Finding] = []
    with _reported(findings, case_id, f"{index.parent / link.filename}"):
        path = part_path(index, link, case_id)
        with open_for_reading(path) as file:
            check_header(file, path, (schema.PART,))
            if get_text(file, "fingerprint") != header.fingerprint:
                problem = "was made with other settings than the index records"
                findings.append(
                    Finding(case_id, str(path), f"{problem}; run `softlabel generate` again")
                )
            case = own(file, "case")
            if get_text(case, "id") != case_id:
                problem = f"holds the case {get_text(case, 'id')!r}"
                findings.append(Finding(case_id, str(path), f"{problem}; {FIX_PART}"))
            if not findings and (other := other_part(file, case, header.algorithm, digest)):
                findings.append(Finding(case_id, str(path), other))
            for name, dataset in datasets_below(file, leave_out="case").items():
                findings += [
                    Finding(case_id, f"{path}:{name}", p)
                    for p in _stored_problems(dataset, FIX_PART)
                ]
            for where, problem in _case_problems(case, header):
                findings.append(Finding(case_id, f"{path}:{where}", problem))
            if not findings:
                findings += [
                    Finding(case_id, str(path), f"{p}; {FIX_PART}") for p in root_problems(file)
                ]
    return findings


def _statistics_findings(
    path: Path, parts: list[PartSummary | CacheError], fix: str
) -> list[Finding]:
    """A finding when the index does not sum up its parts, as after a run that was killed."""
    expected = group_statistics(p for p in parts if isinstance(p, PartSummary))
    with open_cache(path) as cache:
        found = cache.statistics
    same = set(found) == set(expected) and all(
        n in found[g] and np.array_equal(found[g][n], expected[g][n])
        for g in expected
        for n in expected[g]
    )
    if same:
        return []
    problem = f"statistics are not the sums over the parts; {fix}"
    return [Finding("", str(path), problem)]


def _manifest_findings(
    path: Path, manifest: Mapping[str, Entry], parts: list[PartSummary | CacheError], fix: str
) -> list[Finding]:
    """Whether the parts are those that the index was written for."""
    found = {p.id: (p.digest, p.bytes) for p in parts if isinstance(p, PartSummary) and p.digest}
    named = {
        case_id: (entry.digest, entry.bytes) if entry.digest else found.get(case_id)
        for case_id, entry in manifest.items()
    }
    if found == named:
        return []
    other = sorted(i for i in set(found) | set(named) if found.get(i) != named.get(i))
    problem = f"its manifest does not name the parts that are there (such as {other[0]!r})"
    return [Finding("", str(path), f"{problem}; {fix}")]


def _case_problems(
    case: h5py.Group, header: Header, fix: str = FIX_PART
) -> Iterator[tuple[str, str]]:
    """(dataset or attribute, problem) of one case."""
    datasets = datasets_below(case)
    problems = [
        (where, f"{problem}; {fix}")
        for where, problem in case_problems(case, datasets, len(header.classes))
    ]
    for name, dataset in datasets.items():
        if layout_problem(dataset) is None:
            problems += [(name, problem) for problem in _stored_problems(dataset, fix)]
    problems = problems or [
        (where, f"{problem}; {fix}") for where, problem in lost_chunks(datasets)
    ]
    problems = problems or [
        *((where, f"{problem}; {fix}") for where, problem in before_problems(datasets)),
        *_value_problems(case, header),
    ]
    yield from problems
    told = get_text(case, schema.DIGEST, "")
    if not problems and told and told != case_digest(case):
        yield schema.DIGEST, f"is not that of the attributes and arrays; {fix}"


def _stored_problems(dataset: h5py.Dataset, fix: str) -> Iterator[str]:
    """Chunk count, SHA-256 over the stored bytes, and the checksum of every chunk."""
    if "chunks_allocated" not in dataset.attrs or "sha256" not in dataset.attrs:
        yield f"has no chunks_allocated or sha256 attribute; {fix}"
        return
    try:
        problem = stored_problem(dataset)
        if problem is not None:
            yield f"{problem}; {fix}"
            return
        UncheckedChunks(dataset).require(dataset)
        for offset in chunk_offsets(dataset):  # a shape may promise chunks without end
            dataset[tuple(slice(o, o + c) for o, c in zip(offset, dataset.chunks, strict=True))]
    except (OSError, RuntimeError, ValueError, zlib.error) as error:
        yield f"cannot be read ({first_line(error)}); {fix}"


def _value_problems(case: h5py.Group, header: Header) -> Iterator[tuple[str, str]]:
    labels = case["labels"][...]
    try:
        index = class_index_map(labels, header.classes, header.ignore)
    except ValueError as error:
        yield "labels", str(error)
        return
    counts = np.bincount(index.ravel(), minlength=len(header.classes))[: len(header.classes)]
    own_sum = case.attrs.get("own_class_sum")
    if not np.array_equal(counts, case.attrs["class_pixels"]):
        own_sum = None  # it follows from the same labels
        yield "labels", "hold other numbers of pixels per class than the attribute class_pixels"
    for name in ("image", f"{schema.ORIGINAL}/image"):
        for channel in range(case[name].shape[0] if name in case else 0):
            if not np.isfinite(case[name][channel]).all():
                yield name, f"channel {channel} holds NaN or infinite values"
    if "superpixels" in case:
        ids = case["superpixels"][...]
        number = int(case.attrs["n_superpixels"])
        if ids.size and (int(ids.max()) + 1 != number or int(ids.min()) < -1):
            yield (
                "superpixels",
                f"have ids {int(ids.min())}..{int(ids.max())}, expected −1 or 0..{number - 1}",
            )
    yield from (("soft", p) for p in _soft_problems(case["soft"], index, header, own_sum))


def _soft_problems(
    soft: h5py.Dataset, index: Array, header: Header, own_class_sum: Array | None
) -> Iterator[str]:
    """Problems of the soft maps, read one tile of all classes at a time."""
    own = np.zeros(len(soft))
    outside = in_ignored = empty = 0
    worst = 0.0
    for where in _tiles(soft):
        values = soft[(slice(None), *where)]
        known = index[where] != ignored_index(index.dtype)
        outside += int(np.count_nonzero(~((values >= 0) & (values <= 1))))  # NaN is outside too
        in_ignored += int(np.count_nonzero(values[:, ~known].any(axis=0)))
        total = values.sum(axis=0, dtype=np.float64)[known]
        hard = index[where][known].astype(np.intp)
        of_own = np.take_along_axis(values[:, known], hard[np.newaxis], axis=0)[0]
        own += np.bincount(hard, of_own, minlength=len(own))
        empty += int(np.count_nonzero(total <= 0))
        worst = max(worst, float(np.abs(total - 1).max(initial=0)))
    if outside:
        yield f"holds {outside} values outside of 0..1"
    if in_ignored:
        yield f"is not 0 in every class at {in_ignored} ignored pixels"
    if json.loads(header.settings).get("normalize") == "sum" and worst > SUM_TOLERANCE:
        yield f"sums to 1 ± {worst:.2g} over the classes, expected 1 under normalize sum"
    elif empty:
        yield f"is 0 in every class at {empty} known pixels"
    elif outside or in_ignored or own_class_sum is None:
        return
    elif not np.allclose(own, own_class_sum, rtol=1e-6, atol=1e-3):
        yield "does not sum up to the attribute own_class_sum over the pixels of each class"


def _tiles(soft: h5py.Dataset) -> Iterator[tuple[slice, ...]]:
    """Regions of the spatial axes that share their chunks with no other region."""
    spatial, edges = soft.shape[1:], soft.chunks[1:]
    starts = [range(0, n, edge) for n, edge in zip(spatial, edges, strict=True)]
    for corner in itertools.product(*starts):
        yield tuple(slice(start, start + edge) for start, edge in zip(corner, edges, strict=True))
