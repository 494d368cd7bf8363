"""How much memory a run will take, counted before it starts.

One training step and one prediction are carried out on fake tensors, which have shapes and no
memory, and the largest sum of what is alive at a time is counted: so the estimate follows the
network, the batch, the patch and the largest image, and takes seconds. It leaves out what it cannot
see: workspaces of the libraries, and freed memory that the allocator keeps.
"""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from softlabel_train.config import OptimizerConfig, Recipe
from softlabel_train.dynunet import supervised
from softlabel_train.losses import SoftLabelLoss
from softlabel_train.prepare import TrainingData
from softlabel_train.windows import held_voxels


@dataclass(frozen=True)
class Footprint:
    """Bytes on the training device.

    Attributes
    ----------
    libraries : int
        What this process takes already; 0 for a GPU.
    network : int
        Weights, gradients and the optimizer's moments.
    step : int
        Most of what else is alive in a training step, activations above all.
    prediction : int
        The same while the largest image is predicted, in windows where these are set.
    """

    libraries: int
    network: int
    step: int
    prediction: int

    @property
    def peak(self) -> int:
        """All that is there at a time."""
        return self.libraries + self.network + max(self.step, self.prediction)

    def sentence(self, device: str) -> str:
        """What ``fit`` prints."""
        parts = {
            "libraries": self.libraries, "network and optimizer": self.network,
            "a training step": self.step, "a prediction": self.prediction,
        }  # fmt: skip
        listed = ", ".join(f"{name} {n / 1e9:.2f}" for name, n in parts.items() if n)
        return (
            f"Memory on {device}: at least about {self.peak / 1e9:.1f} GB ({listed}), and for "
            "workspaces and what the allocator keeps up to half as much again."
        )


class LiveBytes(TorchDispatchMode):
    """Counts the memory of the tensors that are made inside of it.

    Attributes
    ----------
    now, peak : int
        Bytes that are alive, and the most of them at a time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._alive: set[int] = set()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Carry out an operation and count the storages that it made."""
        result = function(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self._count(value.untyped_storage())
        return result

    def _count(self, storage: Any) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._alive:  # a view, or an operation in place
            return
        self._alive.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self.now -= size


def footprint(
    recipe: Recipe,
    data: TrainingData,
    make_network: Callable[[Recipe, TrainingData], nn.Module],
    device: torch.device,
) -> Footprint:
    """Estimate the memory of a run on these data.

    Parameters
    ----------
    recipe : Recipe
    data : TrainingData
    make_network : callable
        Makes the network of the recipe for the data.
    device : torch.device

    Raises
    ------
    RuntimeError
        When the network cannot be carried out without memory.
    """
    shapes = [data.cache[case_id].shape for case_id in data.cache]
    largest = max(shapes, key=math.prod)
    patch = recipe.data.crop or largest
    window = recipe.evaluate.window or largest
    channels, n_classes = data.channels, len(data.classes)
    batch = -(-recipe.data.batch_size // max(1, recipe.train.devices * recipe.train.nodes))
    with FakeTensorMode(), _autocast(recipe):
        net = make_network(recipe, data)
        weights = sum(t.nbytes for t in (*net.parameters(), *net.buffers()))
        trained = sum(p.nbytes for p in net.parameters() if p.requires_grad)
        step = _step_bytes(net, recipe, (batch, channels, *patch), n_classes)
        prediction = _prediction_bytes(net, (1, channels, *window))
    prediction += 4 * channels * math.prod(largest)
    if recipe.evaluate.window is None:
        prediction += 4 * n_classes * math.prod(largest)
    else:  # the sums that windows are blended in, before and after a step of theirs
        prediction += 2 * 4 * n_classes * held_voxels(largest, recipe.evaluate.window)
    network = weights + trained * (1 + _moments(recipe.optimizer))
    libraries = resident_bytes() if device.type == "cpu" else 0
    return Footprint(libraries, network, step - trained, prediction)


def _autocast(recipe: Recipe) -> Any:
    types = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    kind = types.get(recipe.train.precision)
    return torch.autocast("cpu", dtype=kind, enabled=kind is not None)


def _moments(config: OptimizerConfig) -> int:
    """Values that the optimizer keeps for each weight."""
    return int(config.momentum > 0) if config.name == "sgd" else 2


def _step_bytes(net: nn.Module, recipe: Recipe, shape: tuple[int, ...], n_classes: int) -> int:
    """Peak of a training step, gradients of the weights included."""
    loss = SoftLabelLoss(
        recipe.loss.alpha, recipe.loss.beta, ignore=255, dice=recipe.loss.dice,
        denominator=recipe.loss.denominator, target=recipe.loss.target,
        nacl=recipe.loss.nacl,
    )  # fmt: skip
    net.train()
    with LiveBytes() as live:
        image = torch.zeros(shape)
        labels = torch.zeros((shape[0], *shape[2:]), dtype=torch.uint8)
        soft = torch.zeros((shape[0], n_classes, *shape[2:]))
        total, _ = supervised(loss.unchecked, net(image), labels, soft, loss.ignore)
        total.backward()  # type: ignore[no-untyped-call]
    net.zero_grad()
    return live.peak


def _prediction_bytes(net: nn.Module, shape: tuple[int, ...]) -> int:
    net.eval()
    with LiveBytes() as live, torch.no_grad():
        torch.softmax(net(torch.zeros(shape)).float(), 1)
    return live.peak


def resident_bytes() -> int:
    """Memory of this process; 0 where the system does not tell."""
    with suppress(OSError, ValueError, IndexError):
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    return 0
