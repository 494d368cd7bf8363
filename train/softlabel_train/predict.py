"""From images to class probabilities and label maps: whole images, or windows that slide."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from softlabel.cache import CachedCase, label_dtype, open_cache
from softlabel.errors import CaseError, SoftlabelError, UsageError
from softlabel.files.atomic import require_writable, sweep
from softlabel.files.names import readable_stem
from softlabel.preprocess import Record, restore
from softlabel.readers.imagefiles import (
    ENDINGS,
    images_in,
    is_image_file,
    read_pixels,
    stem_of,
)
from softlabel.readers.pixels import Pixels, require_finite
from softlabel.types import Array
from softlabel_train.checkpoint import (
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    load_model_state,
    publish,
    require_same_network,
)
from softlabel_train.data import Intensity, require_axes
from softlabel_train.labelfiles import write_label_map
from softlabel_train.masks import mask_files, match_masks, read_mask
from softlabel_train.memory import explain_memory
from softlabel_train.models import build_model
from softlabel_train.steps import (
    apply_steps,
    require_masks,
    require_same_steps,
    require_weights,
    scan_case,
)
from softlabel_train.windows import decide, most_probable


def normalised(image: Array, intensity: Intensity) -> Tensor:
    """An image (C, *spatial) as the network sees it: float32 (1, C, *spatial)."""
    values = torch.from_numpy(image.astype("float32"))
    view = (-1, *[1] * (values.ndim - 1))
    mean = torch.tensor(intensity.mean).view(view)
    deviation = torch.tensor(intensity.deviation).view(view)
    return ((values - mean) / deviation).unsqueeze(0)


def case_image(case: CachedCase, intensity: Intensity | None) -> Tensor:
    """A cached image as the network sees it, float32 (1, C, *spatial)."""
    return normalised(case.image[...], intensity or Intensity.of([case.statistics]))


def predict_probabilities(
    model: nn.Module,
    image: Tensor,
    *,
    window: Sequence[int] | None = None,
    overlap: float = 0.5,
    flips: Sequence[int] = (),
) -> Tensor:
    """Class probabilities of one image.

    Parameters
    ----------
    model : Module
        (1, C, *spatial) → logits (1, K, *spatial); used as it is, so put it into eval mode.
    image : Tensor, shape (1, C, *spatial)
        Normalised, on the model's device.
    window : sequence of int, optional
        Size of a sliding window; windows are blended with Gaussian weights. None takes the whole
        image at once.
    overlap : float
        Share of a window that overlaps the next one.
    flips : sequence of int
        Spatial axes; the mean is taken over the image as it is and mirrored along them in all
        ways, which takes 2 ** len(flips) times as long.

    Returns
    -------
    Tensor of float32, shape (K, *spatial)
    """

    probabilities = _mirrored(model, flips)
    with torch.inference_mode():
        if window is None:
            return probabilities(image)[0]
        from monai.inferers import sliding_window_inference

        blended = sliding_window_inference(
            image, tuple(window), 1, probabilities, overlap=overlap, mode="gaussian",
            padding_mode="replicate",
        )  # fmt: skip
        assert isinstance(blended, Tensor)
        return blended[0]


def predict_classes(
    model: nn.Module,
    image: Tensor,
    *,
    window: Sequence[int] | None = None,
    overlap: float = 0.5,
    flips: Sequence[int] = (),
) -> Tensor:
    """Most probable classes of one image, in memory that does not grow with all of its axes.

    Parameters are those of :func:`predict_probabilities`.

    Returns
    -------
    Tensor of uint8 or uint16, shape (*spatial), on the CPU
    """
    probabilities = _mirrored(model, flips)
    with torch.inference_mode():
        if window is None:
            return decide(probabilities(image)[0])
        return most_probable(probabilities, image, window, overlap)


def _mirrored(model: nn.Module, flips: Sequence[int]) -> Callable[[Tensor], Tensor]:
    """Probabilities of a window, the mean over its mirror images along some axes."""
    ways = [[2 + a for a in axes] for n in range(len(flips) + 1) for axes in combinations(flips, n)]

    def probabilities(patch: Tensor) -> Tensor:
        total = torch.softmax(model(patch).float(), 1)
        for axes in ways[1:]:
            total += torch.softmax(model(patch.flip(axes)).float(), 1).flip(axes)
        return total / len(ways)

    return probabilities


def choose_device(name: str) -> torch.device:
    """A torch device by name; ``auto`` takes CUDA where there is one.

    Raises
    ------
    UsageError
        When the device is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"The device {name} was asked for, and PyTorch sees no CUDA device here.")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"There is no device {name!r} here; use auto, cpu or cuda.") from error
    return device


def load_network(checkpoint: Checkpoint, source: str, device: str = "auto") -> nn.Module:
    """The network of a checkpoint, on a device, in eval mode.

    Raises
    ------
    CheckpointError
        When its weights are of another network than its recipe.
    UsageError
        When there is no such network, or no such device.
    """
    recipe = checkpoint.recipe.model
    make = functools.partial(
        build_model, recipe.architecture, recipe.encoder, in_channels=checkpoint.channels,
        n_classes=len(checkpoint.classes), dims=checkpoint.dims, options=recipe.options,
    )  # fmt: skip
    # Options may state a network of any size: it is compared with the weights before it takes
    # memory. A few networks need real weights to be made.
    with torch.device("meta"), contextlib.suppress(RuntimeError):
        require_same_network(make(), checkpoint, source)
    try:
        net = make()
    except RuntimeError as error:
        raise CheckpointError(
            f"The checkpoint {source} states a network that cannot be made "
            f"({str(error).splitlines()[0][:200]}); give last.pt or best.pt of a run."
        ) from error
    load_model_state(net, checkpoint, source)
    return net.to(choose_device(device)).eval()


@dataclass(frozen=True)
class Source:
    """One image to predict.

    Attributes
    ----------
    id : str
        Stem of the output's name.
    files : tuple of Path
        One file, or one for each channel; empty for a cached case.
    case : CachedCase or None
    """

    id: str
    files: tuple[Path, ...] = ()
    case: CachedCase | None = None


@dataclass(frozen=True)
class PredictReport:
    """What a prediction run did.

    Attributes
    ----------
    written : tuple of Path
    failures : mapping of str to str
        Id to reason.
    notes : mapping of str to sequence of str
        Id to what the steps before superpixels took one way, though it could mean another.
    """

    written: tuple[Path, ...]
    failures: Mapping[str, str]
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)


def predict_images(
    checkpoint_path: Path,
    inputs: Sequence[Path],
    out: Path,
    *,
    probabilities: bool = False,
    device: str = "auto",
    window: Sequence[int] | None = None,
    spacing_mm: tuple[float, ...] | None = None,
    weights: Path | None = None,
    masks: str | os.PathLike[str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> PredictReport:
    """Predict label maps of images or of a cache, in the format and geometry of the input.

    Images go through the steps before superpixels that the network was trained after, and what is
    predicted comes back to the grid of the scanner.

    Parameters
    ----------
    checkpoint_path : Path
    inputs : sequence of Path
        Image files, folders of them, or a cache. Several channels are one file with a channel
        axis, or files ``NAME_0000.ext``, ``NAME_0001.ext``, … as in nnU-Net.
    out : Path
        Folder for ``NAME.ext``: NIfTI, NRRD, MetaImage, PNG, TIFF, NPY as the input (JPEG becomes
        PNG). A cached case becomes NIfTI where it has an affine, else PNG in 2D and NPY in 3D.
    probabilities : bool
        Also write ``NAME.probabilities.npz``: ``probabilities`` float32 (K, *spatial) and
        ``class_values``.
    device : str
    window : sequence of int, optional
        Sliding window; default that of the recipe.
    spacing_mm : tuple of float, optional
        Distance of pixels of image files that state none, which the steps go by.
    weights : Path, optional
        The file of weights that images were denoised with before the training, where it does not
        come with softlabel.
    masks : path or str, optional
        Masks of image files, such as those of a skull-stripping tool: a folder, or a pattern, of
        files that are named as the images are.
    progress : callable, optional
        Called with the id of every finished image.

    Returns
    -------
    PredictReport
        Images that could not be read are in it; the others are done.

    Raises
    ------
    SoftlabelError
        For a checkpoint that cannot be read, or inputs in which there is no image.
    """
    checkpoint = load_checkpoint(checkpoint_path)
    sources = find_sources(inputs, checkpoint, str(checkpoint_path))
    if out.resolve() in {file.parent.resolve() for source in sources for file in source.files}:
        raise UsageError(
            f"The folder {out} holds images to predict, which their label maps would replace; give "
            "another folder."
        )
    require_axes("The window", window, checkpoint.dims, "the images that the network takes")
    require_axes("The spacing", spacing_mm, checkpoint.dims, "the images that the network takes")
    if any(source.files for source in sources):
        require_weights(checkpoint.steps, weights)
        require_masks(checkpoint.steps, masks is not None)
    found = None
    if masks is not None:
        sources, found = _with_masks(sources, masks, checkpoint)
    net = load_network(checkpoint, str(checkpoint_path), device)
    window = window or checkpoint.recipe.evaluate.window
    require_writable(out)
    out.mkdir(parents=True, exist_ok=True)
    sweep(out)
    written: list[Path] = []
    failures: dict[str, str] = {}
    names: set[str] = set()
    notes: dict[str, tuple[str, ...]] = {}
    for source in sources:
        try:
            stem = _free_name(source.id, names)
            scan = _read(source, checkpoint, spacing_mm, weights, found)
            if scan.notes:
                notes[source.id] = scan.notes
            with explain_memory(
                "Give --window, the size of a sliding window, or use --device cpu."
            ):
                written += _predict_one(
                    source, scan, stem, checkpoint, net, window, out, probabilities
                )
        except (SoftlabelError, OSError, ValueError) as error:
            failures[source.id] = str(error)
        if progress is not None:
            progress(source.id)
    return PredictReport(tuple(written), failures, notes)


def _with_masks(
    sources: Sequence[Source], given: str | os.PathLike[str], checkpoint: Checkpoint
) -> tuple[list[Source], dict[str, Path]]:
    """The images without the masks among them, and the mask of each; refused without a say."""
    if not any(source.files for source in sources):
        raise UsageError("--masks is for image files; the cases of a cache have their own masks.")
    if not checkpoint.steps and checkpoint.intensity is not None:
        raise UsageError(
            "--masks has no meaning for this network, which was trained on whole images without "
            "steps before superpixels; leave it out."
        )
    masks = mask_files(given)
    taken = {path.resolve() for path in masks.paths}
    images = [s for s in sources if not taken.intersection(file.resolve() for file in s.files)]
    scans = [source.id for source in images if source.files]
    if not scans:
        raise UsageError(f"All images to predict are masks of --masks {given}; give images too.")
    return images, match_masks(masks, scans)


def find_sources(
    inputs: Sequence[Path], checkpoint: Checkpoint, name: str = "of the run"
) -> list[Source]:
    """The images in files, folders and caches, in natural order.

    Raises
    ------
    UsageError
        When there is none, an input does not exist, or a cache went through other steps than the
        training.
    """
    sources: list[Source] = []
    for path in inputs:
        if not path.exists():
            raise UsageError(f"The input {path} does not exist.")
        if path.suffix == ".h5":
            cache = open_cache(path)
            require_same_steps(cache, checkpoint.steps, name)
            sources += [Source(i, case=case) for i, case in cache.items()]
            continue
        files = [path]
        if path.is_dir():
            files = images_in(path)
        elif not is_image_file(path):
            raise UsageError(
                f"The input {path} is no image that is known; expected one of "
                f"{', '.join(ENDINGS)}, a folder of them, or a cache .h5."
            )
        sources += _by_channels(files, checkpoint.channels)
    if not sources:
        raise UsageError(
            f"There is no image in {', '.join(map(str, inputs))}; expected files that end in "
            f"{', '.join(ENDINGS)}."
        )
    return sources


_CHANNEL = re.compile(r"(.+)_(\d{4})")


def _by_channels(files: Sequence[Path], channels: int) -> list[Source]:
    """Files NAME_0000 … NAME_000C as one source when each is one of the network's channels.

    A file that has all channels by itself is an image of its own: numbered frames in colour are
    no channels.
    """
    groups: dict[str, list[Path]] = {}
    for file in files:
        stem = stem_of(file.name)
        match = _CHANNEL.fullmatch(stem)
        groups.setdefault(match[1] if match else stem, []).append(file)
    sources = []
    for name, members in groups.items():
        numbered = [m for m in (_CHANNEL.fullmatch(stem_of(f.name)) for f in members) if m]
        complete = len(numbered) == len(members) and [int(m[2]) for m in numbered] == list(
            range(len(members))
        )
        alone = complete and len(members) == 1
        if alone or (complete and len(members) == channels and not _is_whole(members[0], channels)):
            sources.append(Source(name, tuple(members)))
        else:
            sources += [Source(stem_of(f.name), (f,)) for f in members]
    return sources


def _is_whole(file: Path, channels: int) -> bool:
    """Whether a file has all channels of the network by itself."""
    try:
        return len(read_pixels(file).channels_first()) == channels
    except CaseError:
        return False  # it fails, with its reason, when it is predicted


@dataclass(frozen=True, eq=False)
class Scan:
    """An image as the network takes it, and what brings its prediction back.

    Attributes
    ----------
    image : ndarray, shape (C, *spatial)
        After the steps.
    mask : ndarray of bool, shape (*spatial), or None
    records : tuple of Record
        What the steps did.
    affine, spacing_mm
        Of the image before the steps.
    notes : tuple of str
        What the steps took one way, though it could mean another.
    """

    image: Array
    mask: Array | None
    records: tuple[Record, ...]
    affine: Array | None
    spacing_mm: tuple[float, ...] | None
    notes: tuple[str, ...] = ()


def _predict_one(
    source: Source,
    scan: Scan,
    stem: str,
    checkpoint: Checkpoint,
    net: nn.Module,
    window: Sequence[int] | None,
    out: Path,
    with_probabilities: bool,
) -> list[Path]:
    intensity = checkpoint.intensity or _own_intensity(scan.image, scan.mask)
    device = next(net.parameters()).device
    tensor = normalised(scan.image, intensity).to(device)
    values, recipe = np.asarray(checkpoint.classes.values), checkpoint.recipe.evaluate
    how: dict[str, Any] = {"window": window, "overlap": recipe.overlap, "flips": recipe.flips}
    found: Array | None = None
    if with_probabilities:
        found = predict_probabilities(net, tensor, **how).cpu().numpy()
        index = found.argmax(0)
        found = restore(scan.records, found, "soft")
    else:
        index = predict_classes(net, tensor, **how).numpy()
    labels = restore(scan.records, values[index], "labels")
    labels = labels.astype(label_dtype(labels))
    file = source.files[0] if source.files else None
    written = [write_label_map(out, stem, labels, file, scan.affine, scan.spacing_mm)]
    if found is not None:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, probabilities=found, class_values=values)
        path = out / f"{stem}.probabilities.npz"
        publish(path, buffer.getvalue())
        written.append(path)
    return written


def _read(
    source: Source,
    checkpoint: Checkpoint,
    spacing_mm: tuple[float, ...] | None = None,
    weights: Path | None = None,
    masks: Mapping[str, Path] | None = None,
) -> Scan:
    """An image after the steps; it must fit what the network takes."""
    if source.case is not None:
        case = source.case
        mask = None if case.mask is None else case.mask[...] > 0
        scan = Scan(
            case.image[...], mask, case.preprocessing, case.original_affine,
            case.original_spacing_mm,
        )  # fmt: skip
        _require_fit(scan.image, source, checkpoint)
        return scan
    pixels = [read_pixels(file) for file in source.files]
    parts = [_channels_first(p, checkpoint) for p in pixels]
    if len({p.shape[1:] for p in parts}) > 1:
        raise CaseError(
            f"The channels {', '.join(f.name for f in source.files)} have the shapes "
            f"{', '.join(str(p.shape[1:]) for p in parts)}; they must agree."
        )
    first = pixels[0]
    image, spacing = np.concatenate(parts), first.spacing_mm or spacing_mm
    require_finite(image, source.files[0])
    _require_fit(image, source, checkpoint)
    mask = None if masks is None else read_mask(masks, source.id, first, source.files[0])
    if not checkpoint.steps:
        return Scan(image, mask, (), first.affine, first.spacing_mm)
    raw = scan_case(
        source.id, source.files[0].name, image, checkpoint.classes, checkpoint.ignore, spacing,
        first.affine, first.slice_axis, mask,
    )  # fmt: skip
    done = apply_steps(raw, checkpoint.steps, weights)
    notes = tuple(note.text for note in done.case.notes)
    return Scan(
        done.case.image, done.case.mask, done.records, first.affine, first.spacing_mm, notes
    )


def _require_fit(image: Array, source: Source, checkpoint: Checkpoint) -> None:
    if (len(image), image.ndim - 1) != (checkpoint.channels, checkpoint.dims):
        raise CaseError(
            f"{source.files[0] if source.files else source.id} has {len(image)} channels and "
            f"{image.ndim - 1} spatial axes; the network takes {checkpoint.channels} and "
            f"{checkpoint.dims}."
        )


def _channels_first(pixels: Pixels, checkpoint: Checkpoint) -> Array:
    """The image (C, *spatial) of a file; arrays do not say which axis holds the channels."""
    image = pixels.channels_first()
    if not pixels.axes_known and pixels.values.ndim == checkpoint.dims + 1:
        axes = [a for a, n in enumerate(pixels.values.shape) if n == checkpoint.channels]
        if axes:
            first = 0 if 0 in axes else axes[-1]
            image = np.moveaxis(pixels.values, first, 0)
    if len(image) in (3, 4) and checkpoint.channels == 1 and all(
        np.array_equal(image[0], c) for c in image[1:3]
    ):  # fmt: skip
        image = image[:1]  # a grey image that was saved in colour
    return image


def _own_intensity(image: Array, mask: Array | None) -> Intensity:
    pixels = image.astype(np.float64)[:, mask] if mask is not None else image.astype(np.float64)
    flat = pixels.reshape(len(image), -1)
    return Intensity.of([{
        "pixels": flat.shape[1], "intensity_sum": flat.sum(1),
        "intensity_sum_squares": (flat**2).sum(1),
    }])  # fmt: skip


def _free_name(case_id: str, taken: set[str]) -> str:
    """An id as a file name: never a path, never that of another id in this run."""
    stem = readable_stem(case_id)
    name, n = stem, 1
    while name.lower() in taken:
        n += 1
        name = f"{stem}_{n}"
    taken.add(name.lower())
    return name
