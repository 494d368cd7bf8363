"""Steps of nnU-Net's training with and without soft labels, side by side.

Steps of both trainers alternate, and each is timed by the time that this process spends on the CPU,
augmentation included, so that other load on the machine hits both alike. Needs the folders of
nnU-Net (``nnUNet_preprocessed`` and so on) with a configuration that ``softlabel nnunet prepare``
has seen::

    python -m benchmarks.nnunet 1 2d --steps 20
"""

from __future__ import annotations

import argparse
import os
from statistics import median
from time import process_time

from softlabel.bridges import trainer_folder

KINDS = ("stock", "soft")
LEFT_OUT = 2
"""First steps, which set up memory and caches."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("configuration")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, help="Batch size instead of that of the plans.")
    given = parser.parse_args()
    os.environ |= {"nnUNet_n_proc_DA": "0", "nnUNet_extTrainer": str(trainer_folder())}

    import torch

    torch.set_num_threads(1)
    trainers = {kind: make_trainer(kind, given) for kind in KINDS}
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    parts: list[float] = []
    for number in range(given.steps + LEFT_OUT):
        for kind, trainer in trainers.items():
            start = process_time()
            batch = next(trainer.dataloader_train)
            loaded = process_time()
            trainer.train_step(batch)
            if number >= LEFT_OUT:
                seconds[kind].append(process_time() - start)
                parts += [loaded - start] if kind == "soft" else []
    softening = []
    for _ in range(given.steps):
        batch = next(trainers["soft"].dataloader_train)
        start = process_time()
        trainers["soft"]._with_soft_labels(batch)
        softening.append(process_time() - start)
    shape = tuple(batch["data"].shape)
    print(f"{given.configuration}, batch {shape}, {given.steps} steps, one thread, CPU seconds")
    for kind in KINDS:
        print(
            f"  {kind}: median {median(seconds[kind]):.3f} a step, in all {sum(seconds[kind]):.2f}"
        )
    print(f"  soft / stock: {sum(seconds['soft']) / sum(seconds['stock']):.3f}")
    print(f"  of soft: loading {median(parts):.3f}, softening {median(softening):.3f} a step")


def make_trainer(kind: str, given: argparse.Namespace):
    """A trainer that is ready for its first step."""
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args

    name = "nnUNetTrainer" if kind == "stock" else "nnUNetTrainerSoftLabel"
    trainer = get_trainer_from_args(
        given.dataset, given.configuration, 0, name, device=torch.device("cpu")
    )
    if given.batch:
        trainer.configuration_manager.configuration["batch_size"] = given.batch
    trainer.on_train_start()
    trainer.network.train()
    return trainer


if __name__ == "__main__":
    main()
