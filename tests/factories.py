"""Small data sets and caches on disk for the tests of everything behind the readers."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

from softlabel import generate
from softlabel.cache import (
    Header,
    IndexContent,
    InputFile,
    SeenFile,
    StoredArray,
    build_part,
    open_cache,
    parts_folder,
    rebuild_index,
    software_versions,
)
from softlabel.cache.digest import index_digest
from softlabel.cache.files import put_text
from softlabel.cache.schema import DIGEST, fingerprint, part_name
from softlabel.files.atomic import publish
from softlabel.generation.compute import compute
from softlabel.generation.report import Report
from softlabel.generation.settings import Settings
from softlabel.phantom import make_oct_subject
from softlabel.types import Array, Case, ClassTable

FULL_CLASSES = ClassTable((0, 7, 300), ("background", "shell", "größter Kern"))
VALUES = (0, 128, 255)
QUICK = Settings(n_segments=24)
"""Settings under which a case of :func:`write_scene` takes milliseconds."""

PATIENCE = 600
"""Seconds that a process may take: the first one compiles every kernel, on a busy machine."""

COMMAND = (sys.executable, "-c", "from softlabel.cli import main; main(prog_name='softlabel')")


def scene(shape: tuple[int, int] = (40, 44), seed: int = 0) -> tuple[Array, Array]:
    """A noisy image (uint8) of two discs on a ground, and its label map with :data:`VALUES`."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(shape)
    labels = np.zeros(shape, np.uint8)
    for value, share in ((128, 0.3), (255, 0.15)):
        centre = rng.uniform(0.35, 0.65, 2) * shape
        labels[np.hypot(rows - centre[0], columns - centre[1]) < share * min(shape)] = value
    image = 40 + 0.6 * labels + rng.normal(0, 12, shape)
    return np.clip(image, 0, 255).astype(np.uint8), labels


def write_scene(root: Path, name: str, shape: tuple[int, int] = (40, 44), seed: int = 0) -> None:
    """One image/label pair as PNG files."""
    image, labels = scene(shape, seed)
    for folder, values in (("images", image), ("labels", labels)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(root / folder / f"{name}.png")


def write_scenes(
    root: Path, names: Iterable[str] = ("a", "b", "c"), shape: tuple[int, int] = (40, 44)
) -> Path:
    """A data set of image/label pairs."""
    for number, name in enumerate(names):
        write_scene(root, name, shape, seed=number)
    return root


def make_cache(
    folder: Path,
    names: Iterable[str] = ("a", "b", "c"),
    settings: Settings = QUICK,
    shape: tuple[int, int] = (40, 44),
    **options: Any,
) -> Path:
    """A finished cache ``folder/c.h5`` of a data set in ``folder/data``."""
    data = write_scenes(folder / "data", names, shape)
    report = generate(data, folder / "c.h5", settings, **options)
    assert report.complete, report
    return folder / "c.h5"


def part(cache: Path, case_id: str) -> Path:
    """File of a case's part."""
    return parts_folder(cache) / part_name(case_id)


def files_of(cache: Path) -> dict[str, bytes]:
    """Bytes of every file in the folder of parts."""
    return {p.name: p.read_bytes() for p in sorted(parts_folder(cache).iterdir())}


def read_everything(cache: Path) -> dict[str, Array]:
    """Every array and number of a cache, through the reader."""
    found: dict[str, Array] = {}
    with open_cache(cache) as opened:
        for group, numbers in opened.statistics.items():
            found |= {f"{group}/{name}": np.asarray(value) for name, value in numbers.items()}
        for case_id, case in opened.items():
            for name in case.datasets:
                found[f"{case_id}/{name}"] = StoredArray(case, name)[...]
            numbers = {"spacing": case.spacing_mm or (), **case.statistics}
            found |= {f"{case_id}.{name}": np.asarray(value) for name, value in numbers.items()}
            found[f"{case_id}.text"] = np.array([case.group, case.source])
        found["classes"] = np.array(list(opened.classes))
    return found


def same(found: dict[str, Array], expected: dict[str, Array]) -> bool:
    """Whether two results of :func:`read_everything` are equal."""
    return set(found) == set(expected) and all(
        found[name].dtype == expected[name].dtype and np.array_equal(found[name], expected[name])
        for name in expected
    )


def copy_cache(cache: Path, folder: Path) -> Path:
    """A copy of a cache in another folder."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(cache.with_suffix(".parts"), folder / "c.parts")
    shutil.copy(cache, folder / "c.h5")
    return folder / "c.h5"


def inodes_of(cache: Path) -> dict[str, int]:
    """Which file stands under the name of each part: a file that was replaced is another one."""
    return {path.name: path.stat().st_ino for path in parts_folder(cache).iterdir()}


def replaced(cache: Path, before: dict[str, int]) -> set[str]:
    """Ids of the cases whose parts are new or replaced since :func:`inodes_of`."""
    names = {part_name(case_id): case_id for case_id in open_cache(cache)}
    return {names[name] for name, inode in inodes_of(cache).items() if before.get(name) != inode}


def again(cache: Path, settings: Settings = QUICK, **options: Any) -> Report:
    """Run on a cache of :func:`make_cache` what made it, or with other settings."""
    return generate(cache.parent / "data", cache, settings, **options)


def fill_disk_after(monkeypatch: Any, files: int, code: int = errno.ENOSPC) -> None:
    """A disk with room for so many files from now on."""
    real, count = os.fsync, []

    def fsync(handle: int) -> None:
        if os.path.isfile(f"/proc/self/fd/{handle}"):  # noqa: PTH113
            count.append(handle)
            if len(count) > files:
                raise OSError(code, os.strerror(code))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)


def computed(report: Report) -> tuple[int, int]:
    """Cases computed, and cases finished before."""
    return report.cases, report.skipped


def run_cli(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run ``softlabel`` in a process of its own."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
        **options,
    )


def run_python(code: str, *arguments: object) -> str:
    """Run Python code in a process of its own; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def relink(cache: Path, case_id: str, filename: str, path: str = "/case") -> None:
    """Let the index link a case elsewhere."""
    with h5py.File(cache, "r+") as file:
        del file["cases"][case_id]
        file["cases"][case_id] = h5py.ExternalLink(filename, path)


def reseal_index(cache: Path) -> None:
    """Let the digest of an index say what it holds now, as a faulty writer would leave it."""
    with h5py.File(cache, "r+") as file:
        put_text(file["cases"], DIGEST, index_digest(file))


def drop_chunk(path: Path, name: str) -> None:
    """Write a dataset anew without its last chunk, as a lost one would look."""
    with h5py.File(path, "r+") as file:
        old = file[name]
        attributes = {n: (old.attrs[n], old.attrs.get_id(n).dtype) for n in old.attrs}
        chunks = [old.id.get_chunk_info(i).chunk_offset for i in range(old.id.get_num_chunks())]
        data = {offset: old.id.read_direct_chunk(offset) for offset in chunks[:-1]}
        shape, dtype, plist = old.shape, old.id.get_type(), old.id.get_create_plist()
        del file[name]
        new = h5py.h5d.create(file.id, name.encode(), dtype, h5py.h5s.create_simple(shape), plist)
        for offset, (mask, content) in data.items():
            new.write_direct_chunk(offset, content, mask)
        for attribute, (value, kind) in attributes.items():
            h5py.Dataset(new).attrs.create(attribute, value, dtype=kind)


def dead_pid() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as process:
        process.wait()
    return process.pid


def settings_of(cache: Path) -> dict[str, Any]:
    """The settings that a cache records."""
    with h5py.File(cache, "r") as file:
        record: dict[str, Any] = json.loads(file.attrs["settings"])
    return record


def small_case(**changes: Any) -> Case:
    """A photo of one channel with the labels of :func:`scene`, without a spacing."""
    image, labels = scene()
    case = Case("x", image[None], labels, ClassTable.from_values(VALUES), source="x.png")
    return replace(case, **changes)


def full_case(case_id: str = "Fall 1 – größer", seed: int = 0) -> Case:
    """A small volume with everything that a case can have."""
    rng = np.random.default_rng(seed)
    shape = (18, 20, 5)
    planes = np.indices(shape)[0] + rng.integers(0, 2, shape[1:])
    labels = np.where(planes < 6, 0, np.where(planes < 13, 7, 300)).astype(np.int16)
    truth = labels.copy()
    image = np.stack([labels / 300 + rng.normal(0, 0.05, shape) for _ in range(2)])
    labels[:, :3] = 999
    mask = np.ones(shape, bool)
    mask[:, -2:] = False
    return Case(
        id=case_id,
        image=image.astype(np.float32),
        labels=labels,
        classes=FULL_CLASSES,
        ignore=999,
        mask=mask,
        spacing_mm=(0.5, 0.5, 2.0),
        affine=np.diag([0.5, 0.5, 2.0, 1.0]),
        group="Patient ß",
        source="sub/fällen.nii.gz",
        channels=("T1", "T2"),
        slice_axis=2,
        truth=truth,
        label_maps={"other grader": np.roll(labels, 1, axis=0)},
    )


def full_cache(
    folder: Path,
    cases: Iterable[Case] | None = None,
    settings: Settings = Settings(n_segments=40),  # noqa: B008
) -> Path:
    """A cache of :func:`full_case`, made by the parts of the pipeline."""
    cases = [full_case()] if cases is None else list(cases)
    channels = cases[0].channels if cases else ("T1", "T2")
    return cache_of(folder, cases, settings, FULL_CLASSES, 999, channels)


def oct_case(**changes: Any) -> Case:
    """A small B-scan of a phantom, without spacing, with everything that a case can have."""
    bscan = make_oct_subject(1, 1, (256, 128, 1))
    labels = bscan.labels[..., 0]
    case = Case(
        "scan",
        bscan.images[..., 0][None],
        np.where(np.arange(labels.shape[1]) < 5, 255, labels),
        ClassTable.from_values(range(10)),
        ignore=255,
        group="P1",
        source="scan.png",
        truth=labels,
        label_maps={"other grader": np.roll(labels, 1, axis=0)},
    )
    return replace(case, **changes)


OCT = Settings(n_segments=60, preprocess="oct")


def oct_cache(folder: Path, cases: Iterable[Case] | None = None, settings: Settings = OCT) -> Path:
    """A cache of :func:`oct_case`, taken through the steps before superpixels."""
    cases = [oct_case()] if cases is None else list(cases)
    assert cases[0].classes is not None
    return cache_of(folder, cases, settings, cases[0].classes, cases[0].ignore, ())


def cache_of(
    folder: Path,
    cases: list[Case],
    settings: Settings,
    classes: ClassTable,
    ignore: int | None,
    channels: tuple[str, ...],
) -> Path:
    """A cache of some cases, made by the parts of the pipeline."""
    record = settings.as_json({"format": "test", "format_options": {}})
    header = Header(
        record, fingerprint(record, classes, ignore), classes, ignore, channels,
        software=software_versions(),
    )  # fmt: skip
    path = folder / "c.h5"
    parts_folder(path).mkdir(parents=True)
    seen = {"sub/x": SeenFile(3, 1, "0" * 64)}
    for case in cases:
        result = compute(case, header, settings, (InputFile("sub/x", 3, "0" * 64),))
        publish(part(path, case.id), build_part(result, header))
    findings = ({"code": "stack", "severity": "warning", "text": "ein Stapel?", "cases": []},)
    expected = tuple(case.id for case in cases)
    rebuild_index(path, IndexContent(header, seen, findings, expected=expected))
    return path
