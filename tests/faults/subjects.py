"""Small files of every kind that softlabel and its trainer read, and what reads them."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from factories import copy_cache, make_cache
from readers.factories import WRITERS, label_volume, volume, write_nifti

from softlabel.readers import READERS, list_dataset
from softlabel.readers.imagefiles import read_label_map, read_pixels


@dataclass(frozen=True)
class Subject:
    """One kind of input.

    Attributes
    ----------
    make : callable (folder: Path) -> None
        Writes it into an empty folder.
    read : callable (folder: Path) -> None
        Reads all of it, as commands do.
    needs : tuple of str
        Libraries without which it is left out.
    """

    make: Callable[[Path], object]
    read: Callable[[Path], object]
    needs: tuple[str, ...] = ()

    @property
    def is_possible(self) -> bool:
        """Whether all libraries that it needs are installed."""
        return all(find_spec(name) is not None for name in self.needs)


# --- image files ----------------------------------------------------------------------------------


def _read_images(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".raw", ".zraw", ".img"):
            _both_ways(path)


def _both_ways(path: Path) -> None:
    from softlabel.errors import SoftlabelError

    try:
        read_pixels(path)
    except SoftlabelError:
        read_label_map(path)
        return
    read_label_map(path)


def _pillow(folder: Path, ending: str) -> None:
    from PIL import Image

    Image.fromarray(label_volume((9, 8))).save(folder / f"a{ending}")


def _tiff(folder: Path, **options: Any) -> None:
    import tifffile

    tifffile.imwrite(folder / "a.tif", volume((3, 20, 24)), photometric="minisblack", **options)


def _itk(folder: Path, ending: str, compressed: bool) -> None:
    import SimpleITK as sitk

    sitk.WriteImage(sitk.GetImageFromArray(volume()), str(folder / f"a{ending}"), compressed)


def _mgh(folder: Path, ending: str) -> None:
    import nibabel as nib

    nib.save(nib.MGHImage(volume(dtype=np.int32), np.eye(4)), folder / f"a{ending}")


def _analyze(folder: Path) -> None:
    import nibabel as nib

    nib.save(nib.Spm2AnalyzeImage(volume(), np.eye(4)), folder / "a.img")
    (folder / "a.mat").unlink(missing_ok=True)


IMAGES: dict[str, Callable[[Path], object]] = {
    "nii": lambda folder: write_nifti(folder / "a.nii", volume()),
    "nii.gz": lambda folder: write_nifti(folder / "a.nii.gz", volume()),
    "npy": lambda folder: np.save(folder / "a.npy", volume()),
    "npz": lambda folder: np.savez_compressed(folder / "a.npz", image=volume(), label=volume()),
    "png": lambda folder: _pillow(folder, ".png"),
    "bmp": lambda folder: _pillow(folder, ".bmp"),
    "gif": lambda folder: _pillow(folder, ".gif"),
    "tif": lambda folder: _tiff(folder),
    "tif, deflate": lambda folder: _tiff(folder, compression="zlib", tile=(16, 16)),
    "tif, OME": lambda folder: _tiff(folder, ome=True, metadata={"axes": "ZYX"}),
    "mgh": lambda folder: _mgh(folder, ".mgh"),
    "mgz": lambda folder: _mgh(folder, ".mgz"),
    "hdr": _analyze,
}
ITK: dict[str, Callable[[Path], object]] = {
    "nrrd": lambda folder: _itk(folder, ".nrrd", False),
    "nrrd, gzip": lambda folder: _itk(folder, ".nrrd", True),
    "mha": lambda folder: _itk(folder, ".mha", False),
    "mhd": lambda folder: _itk(folder, ".mhd", True),
}


# --- data sets ------------------------------------------------------------------------------------


def _read_dataset(folder: Path, format: str) -> None:
    from softlabel.errors import SoftlabelError

    with contextlib.suppress(SoftlabelError):  # recognised as nothing, or as two: read by its name
        list_dataset(folder)
    reader = READERS[format]
    dataset = list_dataset(folder, format)
    errors = []
    for ref in dataset.refs:
        for look in (True, False):
            try:
                if look and reader.look is not None:
                    reader.look(dataset, ref, reader.opened_labels(dataset, ref.source))
                elif not look:
                    opened = reader.open_source(dataset, ref.source)
                    reader.read_labels(dataset, ref, opened)
                    reader.read_case(dataset, ref, opened)
            except SoftlabelError as error:
                errors.append(error)
    if errors:
        raise errors[0]


# --- tables, checks, recipes ----------------------------------------------------------------------

CLASS_FILES = {
    "classes.json": json.dumps({"labels": {"ground": 0, "core": [1, 2], "ignore": 255}}),
    "colours.yaml": "colours:\n  ground: [0, 0, 0]\n  core: &red [255, 0, 0]\n  # of an atlas\n",
    "names.yml": "0: ground\n1: 'core'\n2: !!str rim\n",
    "labelmap.txt": "# label:color_rgb:parts:actions\nground:0,0,0::\ncore:255,0,0::\n",
    "atlas.ctbl": "# colour table\n0 ground 0 0 0 0\n1 core 255 0 0 255\n",
}


def _write_class_files(folder: Path) -> None:
    for name, text in CLASS_FILES.items():
        (folder / name).write_text(text)


def _read_class_files(folder: Path) -> None:
    from softlabel.readers.classfile import load_class_file

    for name in CLASS_FILES:
        load_class_file(folder / name)


def _write_check(folder: Path) -> None:
    from softlabel.generation.check import check_dataset
    from softlabel.generation.looks import save_check
    from softlabel.generation.settings import Settings

    WRITERS["pairs"](folder / "data")
    dataset = list_dataset(folder / "data")
    found = check_dataset(dataset, Settings(), jobs=1, remember=False)
    save_check(folder / "check.json", dataset, dataset.refs, found.seen)


def _read_check(folder: Path) -> None:
    from softlabel.generation.looks import load_check, unchanged

    saved = load_check(folder / "check.json")
    dataset = list_dataset(folder / "data")
    unchanged(dataset, dataset.refs, saved.records)
    saved.require_reading(dataset)


def _write_recipe(folder: Path) -> None:
    import yaml
    from softlabel_train.config import load_recipe

    recipe = {**load_recipe("oct_dme").model_dump(mode="json"), "arm": "a"}
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**recipe, "arms": {"a": {"seed": 1}}}))


def _read_recipe(folder: Path) -> None:
    from softlabel_train.config import load_recipe, recipe_arms, recipe_grids

    path = folder / "recipe.yaml"
    load_recipe(path)
    recipe_arms(path)
    recipe_grids(path)


def _write_checkpoint(folder: Path) -> None:
    from softlabel_train.checkpoint import Checkpoint, save_checkpoint
    from softlabel_train.config import load_recipe
    from torch import nn

    from softlabel.types import ClassTable

    net = nn.Conv2d(1, 2, 1)
    save_checkpoint(
        folder / "best.pt",
        Checkpoint(load_recipe("smoke"), ClassTable((0, 1), ("a", "b")), None, 1, 2, None, "x",
                   {"train": ("p",)}, net.state_dict(), loop={"step": 1}),
    )  # fmt: skip


def _read_checkpoint(folder: Path) -> None:
    from softlabel_train.checkpoint import load_checkpoint, load_model_state
    from torch import nn

    load_model_state(nn.Conv2d(1, 2, 1), load_checkpoint(folder / "best.pt"), "best.pt")


def _write_weights(folder: Path) -> None:
    from softlabel.generation.networks import SHIPPED

    shutil.copy(SHIPPED, folder / "dncnn.safetensors")


def _read_weights(folder: Path) -> None:
    from softlabel.generation.networks import read_network

    read_network(folder / "dncnn.safetensors")


# --- caches ---------------------------------------------------------------------------------------


def _write_cache(folder: Path, kept: dict[str, Path]) -> None:
    """A copy of a cache that is made once; its parts have other bytes, each their own."""
    if "cache" not in kept:
        kept["cache"] = make_cache(folder.parent / "made", ("s1", "s2"))
    copy_cache(kept["cache"], folder / "c")
    for path in (folder / "c").iterdir():
        path.rename(folder / path.name)
    (folder / "c").rmdir()


def _read_cache(folder: Path) -> None:
    from softlabel.cache.damage import damage
    from softlabel.cache.index import read_index
    from softlabel.cache.verify import verify
    from softlabel.errors import CacheError

    path = next(folder.glob("*.h5"))
    for part in folder.glob("*.parts/*.h5"):
        damage(part)
    with contextlib.suppress(CacheError):
        read_index(path)
    verify(path)
    errors = []
    for verify_digests in (True, False):  # whoever writes a part can write its digests as well
        _read_cases(path, verify_digests, errors)
    if errors:
        raise errors[0]


def _read_cases(path: Path, verify_digests: bool, errors: list[Exception]) -> None:
    from softlabel.cache import open_cache
    from softlabel.cache.describe import describe
    from softlabel.errors import CacheError
    from softlabel.generation.settings import Settings

    with open_cache(path, verify=verify_digests) as cache:
        describe(cache)
        Settings.from_json(cache.header.settings)
        for case in cache.values():
            try:
                for name in case.datasets:
                    array = case._array(name)
                    np.asarray(array)
                _ = case.statistics, case.spacing_mm, case.group, case.preprocessing
            except CacheError as error:
                errors.append(error)


def subjects() -> Mapping[str, Subject]:
    """Every kind of input, by its name."""
    kept: dict[str, Path] = {}
    found = {name: Subject(make, _read_images) for name, make in IMAGES.items()}
    found |= {name: Subject(make, _read_images, ("SimpleITK",)) for name, make in ITK.items()}
    for name, write in WRITERS.items():
        needs = ("pydicom", "highdicom") if name == "dicom" else ()
        found[name] = Subject(write, lambda folder, name=name: _read_dataset(folder, name), needs)
    found["duke 7.3"] = Subject(
        lambda folder: WRITERS["duke"](folder, version="7.3"),
        lambda folder: _read_dataset(folder, "duke"),
    )
    return found | {
        "class tables": Subject(_write_class_files, _read_class_files),
        "check": Subject(_write_check, _read_check),
        "cache": Subject(lambda folder: _write_cache(folder, kept), _read_cache),
        "weights": Subject(_write_weights, _read_weights, ("safetensors",)),
        "recipe": Subject(_write_recipe, _read_recipe, ("torch", "pydantic")),
        "checkpoint": Subject(_write_checkpoint, _read_checkpoint, ("torch",)),
    }
