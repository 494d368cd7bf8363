"""What is wrong with a cache, as data: :func:`verify` returns findings, it repairs nothing."""

from __future__ import annotations

import contextlib
import itertools
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from softlabel import parallel
from softlabel.cache import schema
from softlabel.cache.before import before_problems
from softlabel.cache.damage import index_digest_problem, stored_problem
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
from softlabel.interrupt import SafePoint, no_safe_point, stop_on_signals
from softlabel.softmaps.class_index import class_index_map, ignored_index
from softlabel.types import Array

CASES_A_WORKER, BYTES_A_WORKER = 50, 32 << 20
"""Cases, or stored bytes of them, that are worth a worker process, which takes time to start."""

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


def verify(
    path: Path, progress: Callable[[str], None] | None = None, *, jobs: int = 1
) -> list[Finding]:
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
    jobs : int
        Worker processes at most; the findings and their order do not depend on it.

    Raises
    ------
    CacheError
        When the index itself cannot be opened, or a worker process was killed from outside.
    """
    path = followed_link(path)
    packed = is_packed(path)
    fix = FIX_PACKED if packed else index_fix(path)
    findings: list[Finding] = []
    with open_for_reading(path) as file:
        check_header(file, path, (schema.INDEX, schema.PACKED))
        require_known_link(file, path)
        with damage_as_error(path, fix):
            header, manifest, cases = read_header(file), read_manifest(file), own(file, "cases")
            links = {i: cases.get(i, getlink=True) for i in cases}
            findings += [Finding("", str(path), p) for p in _index_problems(file, fix)]
    looks = [
        _Look(path, packed, case_id, link, header, manifest.get(case_id, Entry("", 0)))
        for case_id, link in links.items()
    ]
    seen = _looked_at(looks, progress or (lambda case_id: None), jobs)
    findings += [finding for look in looks for finding in seen[look.case_id].findings]
    if packed:
        if not findings:
            found = [seen[look.case_id].summary for look in looks]
            findings += _index_findings(path, manifest, found, fix)
        return findings
    external = [link.filename for link in links.values() if isinstance(link, h5py.ExternalLink)]
    linked = {filename.rpartition("/")[2] for filename in external}
    folders = {filename.rpartition("/")[0] for filename in external}
    findings += _folder_findings(path)
    folder = PartsFolder(parts_folder(path))
    foreign = sorted(folders - {folder.path.name})
    if foreign:
        return [*findings, Finding("", str(path), f"links to parts in {foreign[0]}, expected "
                f"{folder.path.name}: the index was renamed or copied alone; give both one name, "
                f"then run `softlabel index {path}`")]  # fmt: skip
    parts = folder.read()
    if linked and not findings:
        findings += _index_findings(path, manifest, [parts[n] for n in sorted(linked)], fix)
    for name, part in parts.items():
        if name not in linked:
            problem = _stray_part(part, header, path)
            findings.append(Finding("", str(folder.path / name), problem))
    return findings


def case_ids(path: Path) -> tuple[str, ...]:
    """The cases of a cache, whatever is wrong with its index otherwise.

    Raises
    ------
    CacheError
        When it cannot be opened.
    """
    path = followed_link(path)
    with open_for_reading(path) as file:
        check_header(file, path, (schema.INDEX, schema.PACKED))
        with damage_as_error(path, FIX_PACKED if is_packed(path) else index_fix(path)):
            return tuple(own(file, "cases"))


@dataclass(frozen=True)
class _Look:
    """A case to look at, wherever: everything that a worker process needs for it."""

    index: Path
    packed: bool
    case_id: str
    link: object
    header: Header
    entry: Entry


@dataclass(frozen=True)
class _Seen:
    """What is wrong with a case, and of a sound one of a packed file what the index sums up."""

    case_id: str
    findings: list[Finding]
    summary: PartSummary | None = None


def _looked_at(looks: list[_Look], progress: Callable[[str], None], jobs: int) -> dict[str, _Seen]:
    """Look at all cases, in worker processes where that is worth it."""
    stored = sum(look.entry.bytes for look in looks)
    workers = min(jobs, 1 + len(looks) // CASES_A_WORKER + stored // BYTES_A_WORKER)
    seen: dict[str, _Seen] = {}
    with stop_on_signals() as stop:
        work = partial(_look_at, safe_point=stop.safe_point)
        tasks = [(look,) for look in looks]
        try:
            with contextlib.closing(parallel.run(work, tasks, workers, stop.safe_point)) as done:
                for found in done:
                    seen[found.case_id] = found
                    progress(found.case_id)
        except parallel.WorkerDied as error:
            raise CacheError(f"{error} Use fewer --jobs.") from error
        stop.safe_point()
    return seen


def _look_at(look: _Look, *, safe_point: SafePoint) -> Iterator[_Seen]:
    if look.packed:
        yield _packed_findings(look, safe_point)
    elif isinstance(look.link, h5py.ExternalLink):
        yield _Seen(look.case_id, _part_findings(look, look.link, safe_point))
    else:
        problem = f"is in the index itself, expected a link to its part; {index_fix(look.index)}"
        yield _Seen(look.case_id, [Finding(look.case_id, str(look.index), problem)])


def _packed_findings(look: _Look, safe_point: SafePoint) -> _Seen:
    findings: list[Finding] = []
    summary = None
    with (
        _reported(findings, look.case_id, str(look.index), FIX_PACKED),
        open_for_reading(look.index) as file,
    ):
        case = own(own(file, "cases"), look.case_id)
        findings += [
            Finding(look.case_id, f"{look.index}:{where}", problem)
            for where, problem in _packed_problems(case, look, safe_point)
        ]
        summary = summary_of(case, "", look.entry.bytes)
    return _Seen(look.case_id, findings, summary)


def _packed_problems(
    case: h5py.Group, look: _Look, safe_point: SafePoint
) -> Iterator[tuple[str, str]]:
    """(dataset or attribute, problem) of one case of a packed file."""
    digest = look.entry.digest
    if get_text(case, "id") != look.case_id:
        yield "id", f"is {get_text(case, 'id')!r}, expected {look.case_id!r}; {FIX_PACKED}"
    elif digest and get_text(case, schema.DIGEST, "") != digest:
        yield schema.DIGEST, f"is not the one that the manifest names; {FIX_PACKED}"
    else:
        yield from _case_problems(case, look.header, safe_point, FIX_PACKED)


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
    yield from problems
    if problems:
        return
    wrong = list(root_problems(file))
    if not wrong and (problem := index_digest_problem(file)) is not None:
        wrong.append(problem)
    yield from (f"{problem}; {fix}" for problem in wrong)


def _part_findings(look: _Look, link: h5py.ExternalLink, safe_point: SafePoint) -> list[Finding]:
    findings: list[Finding] = []
    index, case_id, header, digest = look.index, look.case_id, look.header, look.entry.digest
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
            for where, problem in _case_problems(case, header, safe_point):
                findings.append(Finding(case_id, f"{path}:{where}", problem))
            if not findings:
                findings += [
                    Finding(case_id, str(path), f"{p}; {FIX_PART}") for p in root_problems(file)
                ]
    return findings


def _index_findings(
    path: Path,
    manifest: Mapping[str, Entry],
    parts: Sequence[PartSummary | CacheError | None],
    fix: str,
) -> list[Finding]:
    """Whether the index is that of its parts."""
    sound = [part for part in parts if isinstance(part, PartSummary)]
    return _statistics_findings(path, sound, fix) or _manifest_findings(path, manifest, sound, fix)


def _statistics_findings(path: Path, parts: list[PartSummary], fix: str) -> list[Finding]:
    """A finding when the index does not sum up its parts, as after a run that was killed."""
    expected = group_statistics(parts)
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
    path: Path, manifest: Mapping[str, Entry], parts: list[PartSummary], fix: str
) -> list[Finding]:
    """Whether the parts are those that the index was written for."""
    found = {p.id: (p.digest, p.bytes) for p in parts if p.digest}
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
    case: h5py.Group, header: Header, safe_point: SafePoint, fix: str = FIX_PART
) -> Iterator[tuple[str, str]]:
    """(dataset or attribute, problem) of one case."""
    datasets = datasets_below(case)
    problems = [
        (where, f"{problem}; {fix}")
        for where, problem in case_problems(case, datasets, len(header.classes))
    ]
    for name, dataset in datasets.items():
        if layout_problem(dataset) is None:
            found = _stored_problems(dataset, fix, safe_point)
            problems += [(name, problem) for problem in found]
    problems = problems or [
        (where, f"{problem}; {fix}") for where, problem in lost_chunks(datasets)
    ]
    problems = problems or [
        *((where, f"{problem}; {fix}") for where, problem in before_problems(datasets)),
        *_value_problems(case, header, safe_point),
    ]
    yield from problems
    told = get_text(case, schema.DIGEST, "")
    if not problems and told and told != case_digest(case):
        yield schema.DIGEST, f"is not that of the attributes and arrays; {fix}"


def _stored_problems(
    dataset: h5py.Dataset, fix: str, safe_point: SafePoint = no_safe_point
) -> Iterator[str]:
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
            safe_point()
            dataset[tuple(slice(o, o + c) for o, c in zip(offset, dataset.chunks, strict=True))]
    except (OSError, RuntimeError, ValueError, zlib.error) as error:
        yield f"cannot be read ({first_line(error)}); {fix}"


def _value_problems(
    case: h5py.Group, header: Header, safe_point: SafePoint
) -> Iterator[tuple[str, str]]:
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
    yield from (
        ("soft", p) for p in _soft_problems(case["soft"], index, header, own_sum, safe_point)
    )


def _soft_problems(
    soft: h5py.Dataset,
    index: Array,
    header: Header,
    own_class_sum: Array | None,
    safe_point: SafePoint,
) -> Iterator[str]:
    """Problems of the soft maps, read one tile of all classes at a time."""
    own = np.zeros(len(soft))
    outside = in_ignored = empty = 0
    worst = 0.0
    for where in _tiles(soft):
        safe_point()
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
