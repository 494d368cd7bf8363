"""Devices, precision and processes of a run: whether they are there, and Fabric for them."""

from __future__ import annotations

import multiprocessing
import os
import signal

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy

from softlabel.errors import UsageError
from softlabel_train.config import Recipe


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
    strategy: str | DDPStrategy = "auto"
    if config.devices * config.nodes > 1:
        # some architectures leave the deepest stages of their encoder unused
        strategy = DDPStrategy(
            start_method="popen" if several_were_started(recipe) else "spawn",
            find_unused_parameters=True,
        )
    return Fabric(
        accelerator=config.accelerator, devices=config.devices, num_nodes=config.nodes,
        precision=config.precision, strategy=strategy,
    )  # fmt: skip


def several_were_started(recipe: Recipe) -> bool:
    """Whether this is one of several processes that torchrun or SLURM started.

    Otherwise several devices are served by processes that this one starts.
    """
    config = recipe.train
    found = "RANK" in os.environ or "SLURM_NTASKS" in os.environ or config.nodes > 1
    return config.devices * config.nodes > 1 and found


def pass_sigterm_on(number: int) -> None:
    """What a process that waits for those that train does about a signal: they save and stop.

    Ctrl-C reaches all processes of a terminal; SIGTERM may come to this one alone.
    """
    if number == signal.SIGTERM:
        for process in multiprocessing.active_children():
            process.terminate()
