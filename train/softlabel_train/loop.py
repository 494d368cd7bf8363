"""The training loop, written out: load, expand, forward, loss, backward, step, validate, save.

:func:`fit` prepares a run folder and starts :func:`train` in as many processes as the recipe asks
for. A run that was stopped, by Ctrl-C or by anything else, goes on from its last checkpoint when it
is started again, in the middle of an epoch too; on the CPU it ends in the same weights as an
uninterrupted one.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
import yaml
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from softlabel.cache import CachedCase
from softlabel.errors import SoftlabelError, UsageError
from softlabel.softmaps import class_index_map, ignored_index
from softlabel_train.checkpoint import (
    BEST,
    LAST,
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    load_model_state,
    publish,
    save_checkpoint,
)
from softlabel_train.config import OptimizerConfig, Recipe
from softlabel_train.data import Batch, CacheDataset, Intensity, StepSampler, make_loader
from softlabel_train.losses import SoftLabelLoss
from softlabel_train.metrics import CLASS_SETS, ClassSet, evaluate
from softlabel_train.models import AnySize, build_model, check_network
from softlabel_train.predict import normalised, predict_probabilities
from softlabel_train.prepare import TrainingData, find_cache, open_data
from softlabel_train.record import LOSS_TERMS, RunRecord, picture_of, software_versions

MAY_CHANGE = (
    "name", "about", "data.cache", "data.source", "data.cache_folder", "data.format",
    "data.format_options", "data.workers",
    "data.keep_mb",
    "train.steps", "train.accelerator", "train.devices", "train.nodes", "train.threads",
    "train.log_steps", "train.checkpoint_steps", "train.pictures",
)  # fmt: skip
"""Keys in which a run may differ from its earlier part when it goes on; all of ``evaluate`` too."""


class TrainingError(SoftlabelError):
    """A run that cannot go on."""


@dataclass(frozen=True)
class FitResult:
    """How a run ended.

    Attributes
    ----------
    folder : str
    steps : int
        Steps that are done.
    best_score : float or None
        Best mean Dice of the validation patients.
    best_step : int
    seconds : float
        Of training in all its parts.
    interrupted : bool
    """

    folder: str
    steps: int
    best_score: float | None
    best_step: int
    seconds: float
    interrupted: bool


@dataclass
class LoopState:
    """Counters of the loop; they go into every checkpoint."""

    step: int = 0
    best_score: float | None = None
    best_step: int = 0
    stale_epochs: int = 0
    seconds: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)
    summed: int = 0

    def is_better(self, score: float) -> bool:
        """Whether a validation score is the best so far; one that is undefined never is."""
        return math.isfinite(score) and (self.best_score is None or score > self.best_score)

    def add(self, terms: Mapping[str, float]) -> None:
        """Add one step's loss terms to those that are not yet logged."""
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.summed += 1

    def take_means(self) -> dict[str, float]:
        """Means of the loss terms since the last call."""
        means = {name: value / max(self.summed, 1) for name, value in self.sums.items()}
        self.sums, self.summed = {}, 0
        return means


def fit(
    recipe: Recipe,
    folder: str | os.PathLike[str],
    *,
    jobs: int = 1,
    overwrite: bool = False,
    show: bool = True,
) -> FitResult:
    """Train a network as a recipe says.

    Parameters
    ----------
    recipe : Recipe
    folder : path
        The run: checkpoints, metrics, the recipe as it was resolved. A run that is there already
        goes on from its last checkpoint.
    jobs : int
        Processes that generate the cache, where it is missing.
    overwrite : bool
        Start anew instead.
    show : bool
        Progress on stderr.

    Returns
    -------
    FitResult

    Raises
    ------
    SoftlabelError
        In one sentence: data that do not fit the recipe, a run folder of another recipe, devices
        that are not there, a loss that is not a number, memory that is not enough.
    """
    folder = Path(folder)
    check_devices(recipe)
    check_network(recipe.model)
    _check_folder(folder, recipe, overwrite)
    cache = find_cache(recipe, jobs=jobs)
    data = open_data(recipe, cache)
    validated_classes(recipe, data)
    _describe(folder, recipe, data)
    fabric = make_fabric(recipe)
    with contextlib.ExitStack() as stack:
        if recipe.train.devices > 1:
            # Ctrl-C reaches the processes too, which save and stop; this one waits for them.
            stack.enter_context(stop_on_signal())
        result = fabric.launch(_train_in_process, recipe, folder, cache, show)
    assert isinstance(result, dict)
    return FitResult(**result)


def _train_in_process(fabric: Fabric, *arguments: Any) -> dict[str, Any]:
    """What is launched: plain values find their way back from other processes."""
    with explain_memory(arguments[0]):
        return asdict(train(fabric, *arguments))


def train(
    fabric: Fabric, recipe: Recipe, folder: Path, cache_path: Path, show: bool = True
) -> FitResult:
    """Run the loop in this process, one of ``fabric.world_size``."""
    run = start(fabric, recipe, folder, cache_path)
    model, optimizer, state, sampler = run.model, run.optimizer, run.state, run.sampler
    started, before = time.perf_counter(), state.seconds
    memory: Tensor | None = None
    interrupted = False
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(stop_on_signal())
        record = _start_record(stack, run, show) if fabric.is_global_zero else None

        for batch in run.loader:
            epoch = state.step // sampler.steps_per_epoch
            image, labels, soft = batch.to(fabric.device).expand(memory)
            memory = soft  # the next batch is expanded into the same memory

            model.train()
            logits = model(image)
            total, parts = run.loss(logits, labels, soft)
            # one copy from the device for all of them
            numbers = torch.stack([total.detach(), *parts.values()]).tolist()
            terms = dict(zip(("loss", *parts), numbers, strict=True))
            if not math.isfinite(terms["loss"]):
                raise _not_a_number(state.step, terms, batch, logits, fabric)

            optimizer.zero_grad()
            fabric.backward(total)
            if recipe.optimizer.clip_norm is not None:
                fabric.clip_gradients(model, optimizer, max_norm=recipe.optimizer.clip_norm)
            optimizer.step()

            state.step += 1
            state.add(terms)
            state.seconds = before + time.perf_counter() - started
            lr = optimizer.param_groups[0]["lr"]
            done = state.step == recipe.train.steps
            if record is not None:
                record.advance(state.step, epoch, terms)
                if state.step % recipe.train.log_steps == 0 or done:
                    record.training(state.step, epoch, lr, state.take_means())

            epoch_done = state.step % sampler.steps_per_epoch == 0
            if done or (epoch_done and (epoch + 1) % recipe.train.validate_epochs == 0):
                score, scores = validate(fabric, model, recipe, run.data, record, state.step)
                if record is not None:
                    record.validation(state.step, epoch, lr, score, scores)
                if state.is_better(score):
                    state.best_score, state.best_step, state.stale_epochs = score, state.step, 0
                    run.save(BEST)
                else:
                    state.stale_epochs += recipe.train.validate_epochs
                if state.stale_epochs >= recipe.optimizer.patience:
                    state.stale_epochs = 0
                    for group in optimizer.param_groups:
                        group["lr"] *= recipe.optimizer.factor

            interrupted = _anywhere(fabric, stop.is_set()) and not done
            if interrupted or done or state.step % recipe.train.checkpoint_steps == 0:
                run.save(LAST)
            if interrupted:
                break

    result = FitResult(
        str(folder), state.step, state.best_score, state.best_step, state.seconds, interrupted
    )
    if fabric.is_global_zero:
        publish(folder / "result.json", json.dumps(asdict(result), indent=2).encode())
    fabric.barrier()
    return result


@dataclass(frozen=True)
class Run:
    """What the loop works with.

    Attributes
    ----------
    fabric : Fabric
    recipe : Recipe
    folder : Path
    data : TrainingData
    net : Module
        The network itself.
    model : Module
        The network as Fabric wraps it.
    optimizer : Optimizer
    loss : SoftLabelLoss
    sampler : StepSampler
    loader : DataLoader
    state : LoopState
    """

    fabric: Fabric
    recipe: Recipe
    folder: Path
    data: TrainingData
    net: nn.Module
    model: nn.Module
    optimizer: Any
    loss: SoftLabelLoss
    sampler: StepSampler
    loader: DataLoader[Batch]
    state: LoopState

    def save(self, name: str) -> None:
        """Write a checkpoint; one process does."""
        if self.fabric.is_global_zero:
            checkpoint = Checkpoint(
                recipe=self.recipe, classes=self.data.classes, ignore=self.data.cache.ignore,
                channels=self.data.channels, dims=self.data.dims, intensity=self.data.intensity,
                model=self.net.state_dict(), optimizer=self.optimizer.state_dict(),
                scaler=self.fabric.strategy.precision.state_dict(), loop=asdict(self.state),
                rng=torch.get_rng_state(),
            )  # fmt: skip
            save_checkpoint(self.folder / name, checkpoint)


def start(fabric: Fabric, recipe: Recipe, folder: Path, cache_path: Path) -> Run:
    """Everything in place for the next step, the first one or the one after a checkpoint."""
    if recipe.train.threads:
        torch.set_num_threads(recipe.train.threads)
    torch.manual_seed(recipe.seed)
    data = open_data(recipe, cache_path)
    net: nn.Module = make_network(recipe, data)
    loss = make_loss(recipe, data, fabric).to(fabric.device)
    state, last = LoopState(), None
    if (folder / LAST).is_file():
        last = load_checkpoint(folder / LAST)
        load_model_state(net, last, str(folder / LAST))
        state = LoopState(**last.loop)
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        # a process alone sees too few images for statistics of the batch
        net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    model, optimizer = fabric.setup(net, make_optimizer(recipe.optimizer, net))
    if last is not None:
        optimizer.load_state_dict(dict(last.optimizer))
        fabric.strategy.precision.load_state_dict(dict(last.scaler))
        if last.rng is not None:
            torch.set_rng_state(last.rng)
    dataset = CacheDataset(
        data.cache, data.split.train, crop=recipe.data.crop, balance=recipe.data.balance,
        augment=recipe.augment, seed=recipe.seed, intensity=data.intensity,
        keep_mb=recipe.data.keep_mb,
    )  # fmt: skip
    sampler = StepSampler(
        len(dataset), recipe.data.batch_size, recipe.train.steps, seed=recipe.seed,
        first_step=state.step, rank=fabric.global_rank, world=fabric.world_size,
    )  # fmt: skip
    loader = make_loader(
        dataset, sampler, workers=recipe.data.workers, pin_memory=fabric.device.type == "cuda"
    )
    return Run(
        fabric, recipe, folder, data, net, model, optimizer, loss, sampler, loader, state
    )  # fmt: skip


def _start_record(stack: contextlib.ExitStack, run: Run, show: bool) -> RunRecord:
    names = list(validated_classes(run.recipe, run.data).values())
    record = stack.enter_context(
        RunRecord(run.folder, names, first_step=run.state.step, steps=run.recipe.train.steps,
                  batch_size=run.recipe.data.batch_size, show=show)
    )  # fmt: skip
    for warning in run.data.warnings:
        record.say(f"warning: {warning}")
    if run.state.step:
        record.say(f"Going on from step {run.state.step}.")
    return record


def make_network(recipe: Recipe, data: TrainingData) -> AnySize:
    """The recipe's network for these data."""
    return build_model(
        recipe.model.architecture, recipe.model.encoder, in_channels=data.channels,
        n_classes=len(data.classes), dims=data.dims,
        encoder_weights=recipe.model.encoder_weights, options=recipe.model.options,
    )  # fmt: skip


def make_loss(recipe: Recipe, data: TrainingData, fabric: Fabric | None = None) -> SoftLabelLoss:
    """The recipe's loss, over all processes of ``fabric``."""
    config = recipe.loss

    def over_processes(sums: Tensor) -> Tensor:
        assert fabric is not None
        reduced = fabric.all_reduce(sums, reduce_op="sum")
        assert isinstance(reduced, Tensor)
        return reduced

    return SoftLabelLoss(
        config.alpha, config.beta,
        class_weights=data.class_weights(config.class_weights),
        ignore=ignored_index(np.uint8 if len(data.classes) < 255 else np.uint16),
        dice=config.dice, denominator=config.denominator, dice_background=config.dice_background,
        reduction=config.reduction, kl_class_weights=config.kl_class_weights,
        target=config.target,
        reduce=over_processes if fabric is not None and fabric.world_size > 1 else None,
    )  # fmt: skip


def make_optimizer(config: OptimizerConfig, net: nn.Module) -> Optimizer:
    """The recipe's optimizer."""
    parameters = [p for p in net.parameters() if p.requires_grad]
    if config.name == "sgd":
        return torch.optim.SGD(
            parameters, config.lr, momentum=config.momentum, weight_decay=config.weight_decay,
            nesterov=config.momentum > 0,
        )  # fmt: skip
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(parameters, config.lr, weight_decay=config.weight_decay)


# -- validation ------------------------------------------------------------------------------------


def validated_classes(recipe: Recipe, data: TrainingData) -> dict[int, str]:
    """Label values and names of the classes that are scored."""
    return scored_classes(recipe.evaluate.classes, dict(data.classes))


def scored_classes(
    chosen: str | tuple[int, ...] | None, names: Mapping[int, str]
) -> dict[int, str]:
    """Label values and names of the classes of ``evaluate.classes``.

    Raises
    ------
    UsageError
        When the data do not have one of them.
    """
    if chosen is None:
        values = tuple(names)[1:]
    else:
        values = CLASS_SETS[chosen].values if isinstance(chosen, str) else tuple(chosen)
    if missing := [v for v in values if v not in names]:
        raise UsageError(
            f"evaluate.classes asks for the label values {missing}, which the data do not have; "
            f"they have {', '.join(f'{v} ({n})' for v, n in names.items())}."
        )
    return {v: names[v] for v in values}


def scored_set(chosen: str | tuple[int, ...] | None, values: Mapping[int, str]) -> ClassSet:
    """The same with what is excluded, as :func:`softlabel_train.metrics.evaluate` takes it."""
    excluded = CLASS_SETS[chosen].excluded if isinstance(chosen, str) else ()
    return ClassSet(tuple(values), excluded)


def validate(
    fabric: Fabric,
    model: nn.Module,
    recipe: Recipe,
    data: TrainingData,
    record: RunRecord | None,
    step: int,
) -> tuple[float, dict[str, float]]:
    """Mean Dice over the validation cases, and of each class; each process does its share."""
    classes = validated_classes(recipe, data)
    chosen = scored_set(recipe.evaluate.classes, classes)
    # rows: sum and count of the cases' means, then of each class
    sums = torch.zeros(2, 1 + len(classes), dtype=torch.float64)
    drawn = 0
    model.eval()
    for case_id in data.split.validation[fabric.global_rank :: fabric.world_size]:
        case = data.cache[case_id]
        image = case_image(case, data.intensity)
        probabilities = predict_probabilities(
            model, image.to(fabric.device), window=recipe.evaluate.window,
            overlap=recipe.evaluate.overlap,
        )  # fmt: skip
        index = probabilities.argmax(0).cpu().numpy()
        values = np.asarray(data.classes.values)[index]
        labels = case.labels[...]
        found = evaluate(values, labels, chosen, ignore=data.cache.ignore, distances=False)
        dice = torch.tensor([found[v]["dice"] for v in classes], dtype=torch.float64)
        row = torch.cat([torch.nanmean(dice).unsqueeze(0), dice])
        sums += torch.stack([row.nan_to_num(0), (~row.isnan()).double()])
        if record is not None and drawn < recipe.train.pictures:
            drawn += 1
            truth = class_index_map(labels, data.classes, data.cache.ignore)
            panels = picture_of(image[0, 0].numpy(), index, truth, ignored_index(truth.dtype))
            record.picture(step, case_id, panels)
    if fabric.world_size > 1:
        sums = fabric.all_reduce(sums.to(fabric.device), reduce_op="sum").cpu()  # type: ignore[union-attr]
    score, *each = (sums[0] / sums[1]).tolist()
    return score, dict(zip(classes.values(), each, strict=True))


def case_image(case: CachedCase, intensity: Intensity | None) -> Tensor:
    """A cached image as the network sees it, float32 (1, C, *spatial)."""
    return normalised(case.image[...], intensity or Intensity.of([case.statistics]))


# -- devices, signals, errors ----------------------------------------------------------------------


def check_devices(recipe: Recipe) -> None:
    """Refuse devices that are not there.

    Raises
    ------
    UsageError
    """
    config = recipe.train
    if config.accelerator == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            "train.accelerator is cuda, and PyTorch sees no CUDA device here (driver, "
            "CUDA_VISIBLE_DEVICES, or a PyTorch built for the CPU only); set "
            "train.accelerator=cpu or auto."
        )
    if config.accelerator == "mps" and not torch.backends.mps.is_available():
        raise UsageError("train.accelerator is mps, and there is no such device; set cpu or auto.")
    on_cuda = config.accelerator == "cuda" or (
        config.accelerator == "auto" and torch.cuda.is_available()
    )
    if on_cuda and config.devices > torch.cuda.device_count():
        raise UsageError(
            f"train.devices is {config.devices} and there are {torch.cuda.device_count()} CUDA "
            "devices."
        )
    if config.precision == "16-mixed" and not on_cuda:
        raise UsageError("train.precision=16-mixed needs CUDA; set bf16-mixed or 32-true.")
    processes = config.devices * config.nodes
    if recipe.data.batch_size % processes:
        raise UsageError(
            f"data.batch_size is {recipe.data.batch_size}, which {processes} processes cannot "
            f"share evenly; use a multiple of {processes}."
        )


def make_fabric(recipe: Recipe) -> Fabric:
    """Devices, precision and processes of a recipe."""
    config = recipe.train
    strategy = "auto"
    if config.devices * config.nodes > 1:
        # under torchrun or SLURM the processes are there; else this one starts them
        started = "RANK" in os.environ or "SLURM_NTASKS" in os.environ or config.nodes > 1
        strategy = "ddp" if started else "ddp_spawn"
    return Fabric(
        accelerator=config.accelerator, devices=config.devices, num_nodes=config.nodes,
        precision=config.precision, strategy=strategy,
    )  # fmt: skip


@contextlib.contextmanager
def stop_on_signal() -> Iterator[threading.Event]:
    """An event that Ctrl-C or a request to terminate sets; the second Ctrl-C works as usual."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    usual = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: FrameType | None) -> None:
        event.set()
        for s, handler in usual.items():
            signal.signal(s, handler)

    for s in usual:
        signal.signal(s, ask)
    try:
        yield event
    finally:
        for s, handler in usual.items():
            signal.signal(s, handler)


@contextlib.contextmanager
def explain_memory(recipe: Recipe) -> Iterator[None]:
    """Turn the many ways to run out of memory into one sentence that says what to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error).lower()
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and not (
            "out of memory" in text or "can't allocate memory" in text
        ):
            raise
        crop = "data.crop" if recipe.data.crop else "data.crop (whole images are trained on now)"
        raise TrainingError(
            f"The memory ran out. Lower data.batch_size (now {recipe.data.batch_size}) or {crop}, "
            f"set train.precision=bf16-mixed (now {recipe.train.precision}), choose a smaller "
            "model.encoder, or set evaluate.window if it happened while validating."
        ) from error


def _anywhere(fabric: Fabric, flag: bool) -> bool:
    """Whether the flag is set in any process, so that all of them stop at the same step."""
    if fabric.world_size == 1:
        return flag
    votes = fabric.all_reduce(torch.tensor(float(flag), device=fabric.device), reduce_op="sum")
    assert isinstance(votes, Tensor)
    return votes.item() > 0


def _not_a_number(
    step: int, terms: Mapping[str, float], batch: Batch, logits: Tensor, fabric: Fabric
) -> TrainingError:
    values = ", ".join(f"{name} {value:g}" for name, value in terms.items())
    finite = torch.isfinite(logits.detach()).flatten(1).all(1).tolist()
    suspects = [c for c, ok in zip(batch.ids, finite, strict=True) if not ok]
    where = f" of process {fabric.global_rank}" if fabric.world_size > 1 else ""
    whose = f" The network's output is not finite for {', '.join(suspects)}." if suspects else ""
    return TrainingError(
        f"The loss is not a number at step {step} ({values}). The batch{where} holds the cases "
        f"{', '.join(batch.ids)}.{whose} Look at these cases (`softlabel inspect`), lower "
        "optimizer.lr, set optimizer.clip_norm, or set train.precision=32-true; the last "
        "checkpoint is from before."
    )


# -- the run folder --------------------------------------------------------------------------------


def _check_folder(folder: Path, recipe: Recipe, overwrite: bool) -> None:
    last = folder / LAST
    if overwrite:
        for name in (LAST, BEST, "metrics.csv", "result.json"):
            (folder / name).unlink(missing_ok=True)
        for name in ("tensorboard", "pictures", "evaluation"):
            shutil.rmtree(folder / name, ignore_errors=True)
        return
    if not last.is_file():
        if (folder / "recipe.yaml").is_file() or not folder.exists() or not any(folder.iterdir()):
            return
        raise UsageError(
            f"The folder {folder} holds something else than a run; give a new folder for the run."
        )
    before = load_checkpoint(last)
    differ = [
        key
        for key, value in before.recipe.flat().items()
        if key not in MAY_CHANGE and not key.startswith("evaluate.")
        and recipe.flat().get(key) != value
    ]  # fmt: skip
    if differ:
        key = differ[0]
        raise UsageError(
            f"The run {folder} was started with {key}={before.recipe.flat()[key]} and now has "
            f"{key}={recipe.flat().get(key)}"
            + (f" ({len(differ) - 1} more keys differ)" if len(differ) > 1 else "")
            + "; give another folder, or --overwrite to start anew."
        )


def _describe(folder: Path, recipe: Recipe, data: TrainingData) -> None:
    """Write what the run was made with."""
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    publish(folder / "recipe.yaml", text.encode())
    about = {
        "software": software_versions(),
        "cache": str(data.cache.path),
        "cache_fingerprint": data.cache.header.fingerprint,
        "split": data.split.as_dict(),
        "classes": dict(data.classes),
        "class_pixels": data.class_pixels.tolist(),
    }
    publish(folder / "about.json", json.dumps(about, indent=2).encode())


__all__ = [
    "BEST",
    "LAST",
    "LOSS_TERMS",
    "CheckpointError",
    "FitResult",
    "LoopState",
    "TrainingError",
    "fit",
    "make_loss",
    "make_network",
    "train",
]
