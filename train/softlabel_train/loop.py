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
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from softlabel.errors import SoftlabelError
from softlabel.interrupt import stop_on_signals
from softlabel.softmaps import ignored_index, index_dtype
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
from softlabel_train.data import Batch, CacheDataset, StepSampler, make_loader
from softlabel_train.devices import (
    check_devices,
    make_fabric,
    pass_sigterm_on,
    several_were_started,
)
from softlabel_train.dynunet import supervised
from softlabel_train.footprint import footprint
from softlabel_train.loggers import check_loggers, open_boards
from softlabel_train.losses import SoftLabelLoss
from softlabel_train.memory import explain_memory, give_back
from softlabel_train.models import AnySize, build_model, check_network
from softlabel_train.owndata import untold
from softlabel_train.prepare import (
    FoundCache,
    LeftOut,
    TrainingData,
    find_cache,
    open_data,
    with_network_shape,
)
from softlabel_train.record import LOSS_TERMS, RunRecord
from softlabel_train.runfolder import RESULT, begin, check_folder, held
from softlabel_train.splits import group_parts
from softlabel_train.steps import steps_of
from softlabel_train.validation import validate, validated_classes


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
    """Counters of the loop; they go into every checkpoint.

    ``epoch_steps`` is the length of an epoch; 0 in checkpoints from before it was a key, whose
    epochs showed every image once, of volumes too.
    """

    step: int = 0
    epoch_steps: int = 0
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
    check_loggers(recipe)
    check_network(recipe.model)
    fabric = make_fabric(recipe)
    if several_were_started(recipe):
        fabric.launch()
        with contextlib.ExitStack() as stack:
            with fabric.rank_zero_first():  # it generates and writes; the others find it done
                first = stack if fabric.is_global_zero else None
                again = overwrite and first is not None
                found = _prepare(recipe, folder, jobs, again, first, show and first is not None)
            return FitResult(**_train_in_process(fabric, recipe, folder, found, show))
    with contextlib.ExitStack() as stack:
        found = _prepare(recipe, folder, jobs, overwrite, stack, show)
        if recipe.train.devices > 1:
            stack.enter_context(stop_on_signals(pass_sigterm_on))
        # bound, since Fabric looks into arguments and refuses frozen dataclasses
        work = partial(_train_in_process, recipe=recipe, folder=folder, found=found, show=show)
        result = fabric.launch(work)
    assert isinstance(result, dict)
    return FitResult(**result)


def _prepare(
    recipe: Recipe,
    folder: Path,
    jobs: int,
    overwrite: bool,
    stack: contextlib.ExitStack | None,
    show: bool,
) -> FoundCache:
    """Check everything, generate the cache if it is missing, and make the folder ready.

    With a stack, the folder is held until that is closed.
    """
    check_folder(folder, recipe, overwrite)
    found = find_cache(recipe, jobs=jobs)
    for warning in found.warnings if show else ():
        print(f"warning: {warning}", file=sys.stderr)
    data = open_data(recipe, found.path, found.left_out)
    validated_classes(recipe, data)
    if stack is not None:
        stack.enter_context(held(folder))
    begin(folder, with_network_shape(recipe, data), data, overwrite)
    return found


def _train_in_process(
    fabric: Fabric, recipe: Recipe, folder: Path, found: FoundCache, show: bool
) -> dict[str, Any]:
    """The function that is launched; it returns plain values, which processes can send back."""
    with explain_memory(memory_advice(recipe)):
        result = asdict(train(fabric, recipe, folder, found.path, show, found.left_out))
    give_back()
    return result


def train(
    fabric: Fabric,
    recipe: Recipe,
    folder: Path,
    cache_path: Path,
    show: bool = True,
    left_out: Sequence[LeftOut] = (),
) -> FitResult:
    """Run the loop in this process, one of ``fabric.world_size``."""
    run = start(fabric, recipe, folder, cache_path, left_out)
    model, optimizer, state = run.model, run.optimizer, run.state
    started, before = time.perf_counter(), state.seconds
    memory: Tensor | None = None
    interrupted = False
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(stop_on_signals())
        record = _start_record(stack, run, show) if fabric.is_global_zero else None

        for batch in run.loader:
            epoch = state.step // state.epoch_steps
            image, labels, soft = batch.to(fabric.device).expand(memory)
            memory = soft  # the next batch is expanded into the same memory

            seed_step(recipe.seed, state.step, fabric.global_rank)
            model.train()
            logits = model(image)
            total, parts = supervised(run.loss, logits, labels, soft, run.loss.ignore)
            optimizer.zero_grad()
            fabric.backward(total)
            norm = gradient_norm(fabric, model, optimizer, recipe.optimizer.clip_norm)
            # one copy from the device for all of them, when all its work is under way
            *numbers, norm = torch.stack([total.detach(), *parts.values(), norm]).tolist()
            terms = dict(zip(("loss", *parts), numbers, strict=True))
            # in half precision a scaler leaves out the steps whose gradients overflow
            if not math.isfinite(terms["loss"]) or not (run.has_scaler or math.isfinite(norm)):
                raise _not_a_number(state.step, terms, norm, batch, logits, fabric)
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

            epoch_done = state.step % state.epoch_steps == 0
            if done or (epoch_done and (epoch + 1) % recipe.train.validate_epochs == 0):
                judge(run, record, epoch)

            interrupted = _anywhere(fabric, stop.asked) and not done
            if interrupted or done or state.step % recipe.train.checkpoint_steps == 0:
                run.save(LAST)
            if interrupted:
                break

    result = FitResult(
        str(folder), state.step, state.best_score, state.best_step, state.seconds, interrupted
    )
    if fabric.is_global_zero:
        publish(folder / RESULT, json.dumps(asdict(result), indent=2).encode())
    fabric.barrier()
    return result


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed torch's generators, of all devices, for one step of one process.

    So dropout does in a resumed run what it would have done, on a card as well, and no two
    processes drop alike; no state of a generator need be kept.
    """
    numbers = np.random.SeedSequence((seed, step, rank)).generate_state(2, np.uint32)
    torch.manual_seed(int(numbers[0]) << 31 | int(numbers[1]) >> 1)


def judge(run: Run, record: RunRecord | None, epoch: int) -> None:
    """Validate, save the best network, and lower a rate that has not helped for long."""
    state, recipe, groups = run.state, run.recipe, run.optimizer.param_groups
    run.optimizer.zero_grad()
    give_back()  # or whole images would come on top of what the last step left
    score, scores = validate(run.fabric, recipe, run.data, run.net, record, state.step)
    give_back()
    if record is not None:
        record.validation(state.step, epoch, groups[0]["lr"], score, scores)
    if state.is_better(score):
        state.best_score, state.best_step, state.stale_epochs = score, state.step, 0
        run.save(BEST)
    else:
        state.stale_epochs += recipe.train.validate_epochs
    if state.stale_epochs >= recipe.optimizer.patience:
        state.stale_epochs = 0
        for group in groups:
            group["lr"] *= recipe.optimizer.factor


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
    loader: DataLoader[Batch]
    state: LoopState

    @property
    def has_scaler(self) -> bool:
        """Whether losses are scaled, as half precision needs it."""
        return self.recipe.train.precision == "16-mixed"

    def save(self, name: str) -> None:
        """Write a checkpoint; one process does."""
        if self.fabric.is_global_zero:
            checkpoint = Checkpoint(
                recipe=self.recipe, classes=self.data.classes, ignore=self.data.cache.ignore,
                channels=self.data.channels, dims=self.data.dims, intensity=self.data.intensity,
                fingerprint=self.data.cache.header.fingerprint, split=group_parts(self.data.split),
                model=self.net.state_dict(), optimizer=self.optimizer.state_dict(),
                scaler=self.fabric.strategy.precision.state_dict(), loop=asdict(self.state),
                steps=steps_of(self.data.cache), data=self.data.digests,
            )  # fmt: skip
            save_checkpoint(self.folder / name, checkpoint)


def start(
    fabric: Fabric,
    recipe: Recipe,
    folder: Path,
    cache_path: Path,
    left_out: Sequence[LeftOut] = (),
) -> Run:
    """Everything in place for the next step, the first one or the one after a checkpoint."""
    if recipe.train.threads:
        torch.set_num_threads(recipe.train.threads)
    torch.manual_seed(recipe.seed)
    data = open_data(recipe, cache_path, left_out)
    recipe = with_network_shape(recipe, data)
    net = make_network(recipe, data)
    loss = make_loss(recipe, data, fabric).to(fabric.device)
    state, last = LoopState(), None
    if (folder / LAST).is_file():
        last = load_checkpoint(folder / LAST)
        load_model_state(net, last, str(folder / LAST))
        state = LoopState(**last.loop)
        if not last.data:
            data = replace(data, warnings=(*data.warnings, untold(folder / LAST)))
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        # a process alone sees too few images for statistics of the batch
        net = nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[assignment]
    model, optimizer = fabric.setup(net, make_optimizer(recipe.optimizer, net))
    if last is not None:
        optimizer.load_state_dict(dict(last.optimizer))
        fabric.strategy.precision.load_state_dict(dict(last.scaler))
    dataset = CacheDataset(
        data.cache, data.split.train, crop=recipe.data.crop, balance=recipe.data.balance,
        augment=recipe.augment, seed=recipe.seed, intensity=data.intensity,
        keep_mb=recipe.data.keep_mb,
        raters=data.cache.raters if recipe.data.raters == "sample" else (),
    )  # fmt: skip
    sampler = StepSampler(
        len(dataset), recipe.data.batch_size, recipe.train.steps, seed=recipe.seed,
        first_step=state.step, rank=fabric.global_rank, world=fabric.world_size,
    )  # fmt: skip
    loader = make_loader(
        dataset, sampler, workers=recipe.data.workers, pin_memory=fabric.device.type == "cuda"
    )
    if last is None:
        state.epoch_steps = recipe.epoch_steps(len(dataset))
    elif not state.epoch_steps:  # a run goes on with the epochs that it was started with
        state.epoch_steps = sampler.steps_per_epoch
    return Run(fabric, recipe, folder, data, net, model, optimizer, loss, loader, state)


def _start_record(stack: contextlib.ExitStack, run: Run, show: bool) -> RunRecord:
    names = list(validated_classes(run.recipe, run.data).values())
    record = stack.enter_context(
        RunRecord(run.folder, names, first_step=run.state.step, steps=run.recipe.train.steps,
                  batch_size=run.recipe.data.batch_size, show=show,
                  terms=(*LOSS_TERMS, *(("nacl",) if run.loss.nacl else ())),
                  boards=open_boards(run.recipe, run.folder, run.state.step))
    )  # fmt: skip
    for warning in run.data.warnings:
        record.say(f"warning: {warning}")
    if show and (estimate := estimated(run)) is not None:
        record.say(estimate)
    if run.state.step >= run.recipe.train.steps:
        record.say(f"Nothing is left to do: the run has done {run.state.step} steps.")
    elif run.state.step:
        record.say(f"Going on from step {run.state.step}.")
    return record


def estimated(run: Run) -> str | None:
    """What the run will take on its device; None for a network that cannot be tried for it."""
    try:
        found = footprint(run.recipe, run.data, make_network, run.fabric.device)
    except (RuntimeError, NotImplementedError, TypeError):  # fake tensors do not know everything
        return None
    return found.sentence(str(run.fabric.device))


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
        ignore=ignored_index(index_dtype(len(data.classes))),
        dice=config.dice, denominator=config.denominator, dice_background=config.dice_background,
        reduction=config.reduction, kl_class_weights=config.kl_class_weights,
        target=config.target, nacl=config.nacl,
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


def memory_advice(recipe: Recipe) -> str:
    """What to lower when the memory runs out."""
    crop = "data.crop" if recipe.data.crop else "data.crop (whole images are trained on now)"
    return (
        f"Lower data.batch_size (now {recipe.data.batch_size}) or {crop}, set "
        f"train.precision=bf16-mixed (now {recipe.train.precision}), choose a smaller "
        "model.encoder, or set evaluate.window if it happened while validating."
    )


def _anywhere(fabric: Fabric, flag: bool) -> bool:
    """Whether the flag is set in any process, so that all of them stop at the same step."""
    if fabric.world_size == 1:
        return flag
    votes = fabric.all_reduce(torch.tensor(float(flag), device=fabric.device), reduce_op="sum")
    assert isinstance(votes, Tensor)
    return votes.item() > 0


def gradient_norm(
    fabric: Fabric, model: nn.Module, optimizer: Any, largest: float | None
) -> Tensor:
    """Norm of the gradient, which is clipped to ``largest``; it may be infinite."""
    if largest is None:
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        return torch.nn.utils.get_total_norm(gradients)
    norm = fabric.clip_gradients(model, optimizer, max_norm=largest, error_if_nonfinite=False)
    assert isinstance(norm, Tensor)
    return norm


def _not_a_number(
    step: int,
    terms: Mapping[str, float],
    norm: float,
    batch: Batch,
    logits: Tensor | Sequence[Tensor],
    fabric: Fabric,
) -> TrainingError:
    values = ", ".join(f"{name} {value:g}" for name, value in terms.items())
    finest = logits if isinstance(logits, Tensor) else logits[0]
    finite = torch.isfinite(finest.detach()).flatten(1).all(1).tolist()
    suspects = [c for c, ok in zip(batch.ids, finite, strict=True) if not ok]
    where = f" of process {fabric.global_rank}" if fabric.world_size > 1 else ""
    whose = f" The network's output is not finite for {', '.join(suspects)}." if suspects else ""
    what = "loss" if not math.isfinite(terms["loss"]) else f"gradient (norm {norm:g})"
    return TrainingError(
        f"The {what} is not a finite number at step {step} ({values}). The batch{where} "
        f"holds the cases {', '.join(batch.ids)}.{whose} Look at these cases (`softlabel "
        "inspect`), or start anew with --overwrite and a lower optimizer.lr, with "
        "optimizer.clip_norm, or train.precision=32-true. The last checkpoint is from before."
    )


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
