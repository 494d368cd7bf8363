"""A DnCNN from its first step to a file of weights.

The weights of the best validation so far are in the file at any time, so that a run that is stopped
leaves what it had.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from softlabel.errors import SoftlabelError, UsageError
from softlabel.files.atomic import publish, require_writable
from softlabel.interrupt import stop_on_signals
from softlabel.preprocess import DnCNN, DnCNNSettings, apply_dncnn, pack_network
from softlabel.types import Array
from softlabel_train.denoiser_data import DenoiserData, Patch, TrainingScan, cut_patch

INPUT_SCALE = {"noise": 1 / 16, "range": 1.0}
"""The first convolution sees images times this, so that its numbers are about 1."""

GREY_LEVELS = 255.0
VALIDATION_PATCHES = 64
PRECISIONS = ("32", "bf16")


@dataclass(frozen=True)
class DenoiserConfig:
    """How a denoiser is trained.

    Attributes
    ----------
    steps, batch_size, patch_px
    learning_rate : float
        At the start; it falls to 0 along a cosine.
    mask_px : int
        Side of the square that is hidden around a blind spot, odd.
    validate_every : int
        Steps.
    seed : int
    precision : {"32", "bf16"}
        Of the convolutions in training; weights are float32.
    """

    steps: int = 3000
    batch_size: int = 16
    patch_px: int = 64
    learning_rate: float = 2e-3
    mask_px: int = 5
    validate_every: int = 250
    seed: int = 0
    precision: str = "32"

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "patch_px", "validate_every"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be 1 or more; got {getattr(self, name)}.")
        if not 0 < self.learning_rate < math.inf:
            raise UsageError(f"learning_rate must be positive; got {self.learning_rate}.")
        if self.mask_px < 1 or self.mask_px % 2 == 0:
            raise UsageError(f"mask_px must be odd, 1 or more; got {self.mask_px}.")
        if self.precision not in PRECISIONS:
            raise UsageError(f"precision must be one of {', '.join(PRECISIONS)}.")


@dataclass(frozen=True)
class DenoiserResult:
    """How a training ended.

    Attributes
    ----------
    steps : int
        Steps that are done.
    best_step : int
    best : Score or None
        None when it was stopped before the first validation.
    seconds : float
    interrupted : bool
    """

    steps: int
    best_step: int
    best: Score | None
    seconds: float
    interrupted: bool


@dataclass(frozen=True)
class Score:
    """A validation: its words, and a number that is higher the better."""

    value: float
    text: str


def build_dncnn(settings: DnCNNSettings) -> nn.Sequential:
    """The network as it is trained, with batch normalisations of its own."""
    shapes = settings.kernel_shapes
    modules: list[nn.Module] = []
    for number, (out, into, *_) in enumerate(shapes):
        inner = 0 < number < len(shapes) - 1
        conv = nn.Conv2d(into, out, 3, padding=1, bias=not inner)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        modules.append(conv)
        modules += [nn.BatchNorm2d(out)] if inner else []
        modules += [nn.ReLU()] if number < len(shapes) - 1 else []
    nn.init.normal_(modules[-1].weight, std=1e-3)  # type: ignore[arg-type]  # begins as no change
    return nn.Sequential(*modules)


def fold(net: nn.Sequential, settings: DnCNNSettings) -> DnCNN:
    """The trained network as kernels and biases: of y = γ (Wx + b − μ) / √(σ² + ε) + β."""
    layers: list[tuple[Tensor, Tensor]] = []
    for module in net:
        if isinstance(module, nn.Conv2d):
            bias = module.bias
            zero = torch.zeros(module.out_channels) if bias is None else bias
            layers.append((module.weight.detach().double(), zero.detach().double()))
        elif isinstance(module, nn.BatchNorm2d):
            kernel, shift = layers[-1]
            mean, variance = (t.double() for t in (module.running_mean, module.running_var))  # type: ignore[union-attr]
            factor = module.weight.detach().double() / torch.sqrt(variance + module.eps)
            shift = (shift - mean) * factor + module.bias.detach().double()
            layers[-1] = (kernel * factor[:, None, None, None], shift)
    kernel, shift = layers[0]
    layers[0] = (kernel * INPUT_SCALE[settings.scaling], shift)
    folded = tuple((k.float().numpy(), b.float().numpy()) for k, b in layers)
    return DnCNN(settings, folded)


def train_denoiser(
    data: DenoiserData,
    settings: DnCNNSettings,
    config: DenoiserConfig,
    out: Path,
    progress: Callable[[str], object] = lambda text: None,
) -> DenoiserResult:
    """Train a network, and keep the weights of its best validation in a file.

    Parameters
    ----------
    data : DenoiserData
        Validation measures the peak signal-to-noise ratio where the clean images are known, else
        the error of guessing hidden pixels and neighbouring B-scans.
    settings : DnCNNSettings
    config : DenoiserConfig
    out : Path
        The file of weights; it replaces one that is there.
    progress : callable, optional
        Called with a line for each validation.

    Returns
    -------
    DenoiserResult
        Ctrl-C and SIGTERM end it early.

    Raises
    ------
    SoftlabelError
        When there is nothing to train on, the loss is no number, or the file cannot be written.
    """
    scans, validation = data.scans, data.validation
    if not scans or not validation:
        raise UsageError(
            "There are too few B-scans with noise to train on and to validate with; give two or "
            "more."
        )
    smallest = min(min(scan.image.shape) for scan in (*scans, *validation))
    config = replace(config, patch_px=min(config.patch_px, smallest))
    settings = replace(settings, trained_on=data.trained_on)
    require_writable(out.parent)
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    net = build_dncnn(settings).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(net.parameters(), config.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    started, best, best_step, step, summed = time.perf_counter(), None, 0, 0, 0.0
    with stop_on_signals() as stop:
        while step < config.steps and not stop.asked:
            net.train()
            patches = [
                cut_patch(scans[int(i)], config.patch_px, config.mask_px, rng)
                for i in rng.integers(len(scans), size=config.batch_size)
            ]
            loss = _loss(net, patches, settings, config)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            step, summed = step + 1, summed + float(loss.detach())
            if not math.isfinite(summed):
                raise SoftlabelError(f"The loss at step {step} is no number; lower the rate.")
            if step % config.validate_every and step < config.steps:
                continue

            network = fold(net.eval(), settings)
            score = validate(network, validation, config)
            if best is None or score.value > best.value:
                best, best_step = score, step
                _write(out, network)
            steps = (step - 1) % config.validate_every + 1
            progress(f"step {step} of {config.steps}: loss {summed / steps:.6f}, {score.text}")
            summed = 0.0
        interrupted = stop.asked and step < config.steps
    return DenoiserResult(step, best_step, best, time.perf_counter() - started, interrupted)


def _loss(
    net: nn.Module, patches: Sequence[Patch], settings: DnCNNSettings, config: DenoiserConfig
) -> Tensor:
    """Mean squared error of image − noise, where it counts, in the units of the network."""
    image, target, weight = (
        torch.from_numpy(np.stack([getattr(p, name) for p in patches]))[:, None]
        for name in ("image", "target", "weight")
    )
    seen = (image * INPUT_SCALE[settings.scaling]).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bf16"):
        noise = net(seen)
    error = (image - noise.float() - target) ** 2
    return (error * weight).sum() / weight.sum().clamp(min=1)


def validate(network: DnCNN, scans: Sequence[TrainingScan], config: DenoiserConfig) -> Score:
    """Score a network on B-scans that it was not trained on."""
    if all(scan.clean for scan in scans):
        errors = [_squared_error(network, scan) for scan in scans]
        decibels = float(np.mean([10 * np.log10(GREY_LEVELS**2 / error) for error in errors]))
        return Score(decibels, f"PSNR {decibels:.2f} dB on phantoms (in-domain)")
    rng = np.random.default_rng(0)
    total, count = 0.0, 0.0
    for number in range(VALIDATION_PATCHES):
        patch = cut_patch(scans[number % len(scans)], config.patch_px, config.mask_px, rng)
        error = (apply_dncnn(patch.image, network) - patch.target) ** 2
        total += float((error * patch.weight).sum())
        count += float(patch.weight.sum())
    mean = total / max(count, 1.0)
    return Score(-mean, f"error of guesses {mean:.6f}")


def _squared_error(network: DnCNN, scan: TrainingScan) -> float:
    """Mean, in the units of the image."""
    assert scan.target is not None
    clean: Array = apply_dncnn(scan.scaled(scan.image), network) * scan.unit + scan.low
    difference = (clean - scan.target)[scan.known]
    return max(float(np.mean(difference**2)), 1e-12)


def _write(path: Path, network: DnCNN) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        publish(path, pack_network(network))
    except OSError as error:
        raise SoftlabelError(
            f"The weights {path} cannot be written ({error.strerror or error}); free some space or "
            "fix the folder."
        ) from error
