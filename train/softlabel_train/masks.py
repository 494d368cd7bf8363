"""Masks of raw scans, such as those of a skull-stripping tool: which belongs to which scan."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from softlabel.errors import CaseError, UsageError
from softlabel.readers.filecase import Located, on_same_grid
from softlabel.readers.imagefiles import ENDINGS, is_image_file, read_label_map
from softlabel.readers.matching import NamePattern, Roles, match_names
from softlabel.readers.pixels import Pixels
from softlabel.readers.safety import relative_name
from softlabel.types import Array


@dataclass(frozen=True)
class MaskFiles:
    """Masks that were given.

    Attributes
    ----------
    folder : Path
    pattern : NamePattern
        Below the folder.
    single : bool
        One file was named.
    """

    folder: Path
    pattern: NamePattern
    single: bool = False

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them."""
        return tuple(self.folder / name for name in self.pattern.names)


def mask_files(given: str | os.PathLike[str]) -> MaskFiles:
    """The masks in a folder, of a pattern such as ``masks/*/brain.nii.gz``, or a single one.

    Of a folder that holds folders only, those in these.

    Raises
    ------
    UsageError
        When there is none.
    """
    path = Path(given)
    if path.is_file() and is_image_file(path):
        return MaskFiles(path.parent, NamePattern(path.name, (path.name,)), single=True)
    folder: Path = path
    globs: tuple[str, ...] = ("*", "**/*")
    if not path.is_dir():
        fixed = next((n for n, p in enumerate(path.parts) if re.search(r"[*?[]", p)), None)
        folder = path if fixed is None else Path(*path.parts[:fixed])
        globs = () if fixed is None else ("/".join(path.parts[fixed:]),)
    for pattern in globs:
        found = sorted(p for p in folder.glob(pattern) if p.is_file() and is_image_file(p))
        if found:
            names = tuple(relative_name(p, folder) for p in found)
            return MaskFiles(folder, NamePattern(pattern, names))
    raise UsageError(
        f"--masks {given} holds no image file; expected a folder or a pattern of files that end in "
        f"{', '.join(ENDINGS)}."
    )


def match_masks(masks: MaskFiles, scans: Sequence[str]) -> dict[str, Path]:
    """The mask of each scan, matched by their names as ``softlabel generate`` matches label maps.

    Parameters
    ----------
    masks : MaskFiles
    scans : sequence of str
        Stems of the scans; of several files a scan what they have in common.

    Returns
    -------
    dict of str to Path
        Scans without a mask, or with several, are not in it.

    Raises
    ------
    UsageError
        When none fits a scan.

    Examples
    --------
    >>> masks = MaskFiles(Path("m"), NamePattern("*", ("a_mask.png", "b_mask.png")))
    >>> found = match_masks(masks, ["a", "b", "c"])
    >>> found["a"].as_posix(), list(found)
    ('m/a_mask.png', ['a', 'b'])
    """
    if masks.single and len(scans) == 1:
        return {scans[0]: masks.paths[0]}
    images = NamePattern("*", tuple(f"{scan}.png" for scan in scans))
    pairs = match_names(Roles((images,), masks.pattern)).pairs.values()
    if not pairs:
        raise UsageError(
            f"No mask of --masks has the name of a scan (found, for example, {masks.paths[0]} for "
            f"{scans[0]}); expected the same stem, the same but for a suffix "
            "such as _mask, or a pattern whose wildcard stands for it."
        )
    return {m.images[0].removesuffix(".png"): masks.folder / m.labels[0] for m in pairs}


def read_mask(masks: Mapping[str, Path], scan: str, image: Pixels, image_file: Path) -> Array:
    """Where the mask of a scan is not 0, bool of shape (*spatial).

    Raises
    ------
    CaseError
        When the scan has no mask, or the mask lies on another grid.
    """
    if scan not in masks:
        raise CaseError(
            f"{image_file} has no mask, or several, that its name matches; expected one file. "
            "Add it, rename it, or narrow the pattern of --masks."
        )
    mask = Located(read_label_map(masks[scan]), masks[scan])
    return np.asarray(on_same_grid(Located(image, image_file), mask, "refuse").pixels.values != 0)
