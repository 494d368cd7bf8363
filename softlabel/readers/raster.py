"""PNG, BMP, JPEG and GIF by Pillow: two-dimensional, grey, coloured or with a palette."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from softlabel.errors import CaseError
from softlabel.files.regular import open_regular
from softlabel.readers.pixels import Pixels, numbers
from softlabel.readers.safety import reading
from softlabel.types import Array

_GREY_MODES = {"1", "L", "I", "F", "I;16", "I;16L", "I;16B"}
_OPAQUE_MODES = {"LA": "L", "RGBA": "RGB"}
_EXIF_ORIENTATION = 0x0112
_PNG_GREY, _PNG_RGB, _PNG_GREY_ALPHA, _PNG_RGBA = 0, 2, 4, 6


def read_raster(path: Path, *, as_labels: bool) -> Pixels:
    """Read a PNG, BMP, JPEG or GIF file with one image.

    GIF stores grey values in a palette, which writers number anew in each file: a GIF whose palette
    is all grey gives its grey values, as label map too.

    Parameters
    ----------
    path : Path
    as_labels : bool
        A palette then gives its indices, which are the labels; else its colours. JPEG, which
        changes values, is refused.

    Returns
    -------
    Pixels
        Rows and columns, and a last axis of channels for colours. Transparency is left out.

    Raises
    ------
    CaseError
        When the file is damaged, cut off, too large, or of a kind that would lose values.
    """
    with (
        reading(path, "a PNG, BMP, JPEG or GIF image"),
        warnings.catch_warnings(),
        open_regular(path) as file,
    ):
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(file, formats=("PNG", "BMP", "JPEG", "GIF")) as image:
            if as_labels and image.format == "JPEG":
                raise CaseError(
                    f"{path} is a JPEG file, whose compression changes values near edges; "
                    "expected a label map in a lossless format. Use the original, as PNG or TIFF."
                )
            if image.format == "GIF" and image.is_animated:  # type: ignore[attr-defined]
                raise CaseError(
                    f"{path} is a GIF of several frames; expected a still image. Save the frame "
                    "that is meant, for example as PNG."
                )
            grey_step = _png_grey_step(path) if image.format == "PNG" else 1
            _require_upright(image, path)
            if as_labels:
                _require_labels_in_colour(image, path)
            plain = _plain(image, path, as_labels)
            values = numbers(np.array(plain), path)
            palette = _palette(plain) if plain.mode == "P" else None
    if grey_step > 1:
        values = values // np.uint8(grey_step)
    return Pixels(values, channel_axis=2 if values.ndim == 3 else None, palette=palette)


def _palette(image: Image.Image) -> Array:
    """Colours of a palette, (N, 3)."""
    return np.array(image.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)


def _require_labels_in_colour(image: Image.Image, path: Path) -> None:
    """Refuse a label map whose transparency varies where its colour does not."""
    if image.mode not in _OPAQUE_MODES:
        return
    *colours, alpha = (np.ptp(np.asarray(band)) for band in image.split())
    if alpha and not any(colours):
        raise CaseError(
            f"{path} has one colour throughout and differs in its transparency (alpha) only; "
            "expected a label map in its colours. If the transparency is the label, save that "
            "channel as a grey image."
        )


def _require_upright(image: Image.Image, path: Path) -> None:
    """Refuse a photograph that viewers turn and programs do not: its label map may fit either."""
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except (SyntaxError, ValueError, TypeError, KeyError, OSError):  # none that a viewer reads
        return
    if orientation in range(2, 9):
        raise CaseError(
            f"{path} is stored turned or mirrored (EXIF orientation {orientation}), which viewers "
            "undo and most programs do not, so that its label map may fit either way; save the "
            "image upright, without that entry."
        )


def _plain(image: Image.Image, path: Path, as_labels: bool) -> Image.Image:
    """The image as grey values, colours, or palette indices."""
    if image.mode in _OPAQUE_MODES:
        return image.convert(_OPAQUE_MODES[image.mode])
    if image.mode == "P" and image.format == "GIF" and _is_grey(image):
        return image.convert("L")
    if image.mode == "P" and not as_labels:
        return image.convert("RGB")
    if image.mode in _GREY_MODES or image.mode in {"P", "RGB"}:
        return image
    raise CaseError(
        f"{path} is an image of mode {image.mode}; expected grey, RGB or a palette. "
        "Convert it, for example to an RGB PNG."
    )


def _is_grey(image: Image.Image) -> bool:
    """Whether every colour of a palette is a grey."""
    red, green, blue = _palette(image).T
    return bool((red == green).all() and (green == blue).all())


def _png_grey_step(path: Path) -> int:
    """By how much Pillow stretches the grey values of a PNG: 17 for 4 bits, 85 for 2 bits.

    Labels must come back as they were stored. A PNG with several channels of 16 bits is refused,
    since Pillow would silently drop the lower 8.
    """
    with open_regular(path) as stream:
        start = stream.read(26)
    depth, colour = start[24], start[25]
    if depth == 16 and colour in (_PNG_RGB, _PNG_GREY_ALPHA, _PNG_RGBA):
        raise CaseError(
            f"{path} is a PNG with several channels of 16 bits; expected 8 bits, or 16 bits in "
            "grey alone. Convert it to TIFF, or save each channel as a grey PNG."
        )
    if colour == _PNG_GREY and depth in (2, 4):
        return 255 // (2**depth - 1)
    return 1
