"""Checkpoints are complete or absent, and say what is wrong with them."""

from __future__ import annotations

import errno
import os
import zipfile
from dataclasses import replace

import pytest
import torch
from softlabel_train import checkpoint as module
from softlabel_train.checkpoint import (
    Checkpoint,
    CheckpointError,
    find_checkpoint,
    load_checkpoint,
    load_model_state,
    save_checkpoint,
)
from softlabel_train.config import load_recipe
from softlabel_train.data import Intensity
from softlabel_train.models import build_model
from softlabel_train.predict import load_network

from softlabel.errors import UsageError
from softlabel.types import ClassTable

SMALL = {"architecture": "monai_unet", "in_channels": 1, "n_classes": 2,
         "options": {"channels": (2, 2, 2, 2, 2)}}  # fmt: skip


def make(**changes):
    torch.manual_seed(0)
    net = build_model(**SMALL)
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.zeros(1, 1, 32, 32)).sum().backward()
    optimizer.step()
    values = {
        "recipe": load_recipe("smoke"), "classes": ClassTable((0, 7), ("back", "lesion")),
        "ignore": 255, "channels": 1, "dims": 2, "intensity": Intensity((1.0,), (2.0,)),
        "fingerprint": "abc",
        "split": {"train": ("a",), "validation": ("b",), "evaluation": ("c",)},
        "model": net.state_dict(), "optimizer": optimizer.state_dict(),
        "loop": {"step": 3, "best": 0.5},
    } | changes  # fmt: skip
    return Checkpoint(**values)


def test_everything_comes_back(tmp_path):
    path = tmp_path / "deep" / "last.pt"
    before = make()
    save_checkpoint(path, before)
    after = load_checkpoint(path)
    for name in ("recipe", "classes", "ignore", "channels", "dims", "intensity", "loop",
                 "fingerprint", "split"):  # fmt: skip
        assert getattr(after, name) == getattr(before, name), name
    assert all(torch.equal(after.model[k], before.model[k]) for k in before.model)
    assert after.optimizer["param_groups"] == before.optimizer["param_groups"]
    net = build_model(**SMALL)
    load_model_state(net, after, "last.pt")
    assert [p.name for p in path.parent.iterdir()] == ["last.pt"], "no temporary file is left"


def test_nothing_half_written_is_visible(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    save_checkpoint(path, make())
    good = path.read_bytes()

    def full(_fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"last\.pt cannot be written \(No space left"):
        save_checkpoint(path, make(ignore=None))
    assert path.read_bytes() == good and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_truncated_files_are_named(tmp_path, keep):
    path = tmp_path / "last.pt"
    save_checkpoint(path, make())
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if keep < 1 else keep])
    with pytest.raises(CheckpointError, match=r"last\.pt is truncated, damaged or none"):
        load_checkpoint(path)


def test_a_flipped_bit_is_found(tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, make())
    data = bytearray(path.read_bytes())
    weights = make().model
    needle = max(weights.values(), key=lambda t: t.numel()).numpy().tobytes()
    where = bytes(data).find(needle)
    assert where > 0
    data[where + 5] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="checksum"):
        load_checkpoint(path)


def test_foreign_and_newer_files(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "foreign.pt")
    with pytest.raises(CheckpointError, match=r"foreign\.pt is no checkpoint .*'format'"):
        load_checkpoint(tmp_path / "foreign.pt")
    torch.save([1], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        load_checkpoint(tmp_path / "list.pt")
    torch.save({"format": module.FORMAT, "format_version": 99}, tmp_path / "new.pt")
    with pytest.raises(CheckpointError, match="format version 99"):
        load_checkpoint(tmp_path / "new.pt")
    with pytest.raises(CheckpointError, match="does not exist"):
        load_checkpoint(tmp_path / "none.pt")


def test_the_checkpoint_of_a_run_is_found_or_missed_in_a_sentence(tmp_path):
    with pytest.raises(UsageError, match=r"run .*gone does not exist"):
        find_checkpoint(tmp_path / "gone")
    with pytest.raises(UsageError, match=r"has no best\.pt or last\.pt; it is no run"):
        find_checkpoint(tmp_path)
    (tmp_path / "last.pt").touch()
    assert (
        find_checkpoint(tmp_path) == find_checkpoint(tmp_path / "last.pt") == tmp_path / "last.pt"
    )
    with pytest.raises(UsageError, match=r"has no best\.pt; it has last\.pt"):
        find_checkpoint(tmp_path, "best.pt")
    (tmp_path / "best.pt").touch()
    assert find_checkpoint(tmp_path) == tmp_path / "best.pt"
    assert find_checkpoint(tmp_path, "last.pt") == tmp_path / "last.pt"
    with pytest.raises(UsageError, match="two checkpoints; give one"):
        find_checkpoint(tmp_path / "best.pt", "last.pt")


@pytest.mark.parametrize("change", [
    {"model": {"a": 1}}, {"model": [1]}, {"split": 3}, {"split": {"train": 5}}, {"recipe": 7},
    {"class_values": 3}, {"mean": 5}, {"class_values": ["0", "1"]}, {"class_names": [1, 2]},
    {"class_values": [1, 0]}, {"channels": "x"}, {"channels": 10**9}, {"dims": True},
    {"dims": 7}, {"ignore": 1.5}, {"mean": [float("nan")]}, {"split": {"train": [1]}},
    {"recipe": "[" * 100_000}, {"recipe": '{"seed": 1, "seed": 2}'}, {"recipe": '{"seed": "x"}'},
    {"optimizer": [1]}, {"loop": None}, {"format_version": "2"}, {"steps": "[" * 100_000},
    {"model": {"a": torch.zeros(1).expand(1 << 40)}},
    {"optimizer": {"state": {0: {"exp_avg": torch.zeros(1).expand(1 << 20, 1 << 20)}}}},
])  # fmt: skip
def test_garbled_content_is_a_sentence(tmp_path, change):
    save_checkpoint(tmp_path / "last.pt", make())
    content = torch.load(tmp_path / "last.pt", weights_only=True)
    torch.save(content | change, tmp_path / "garbled.pt")
    with pytest.raises(CheckpointError, match="is no checkpoint of softlabel-train"):
        load_checkpoint(tmp_path / "garbled.pt")


def test_packed_entries_are_not_unpacked(tmp_path):
    """A megabyte of deflate would become a gigabyte of memory."""
    save_checkpoint(tmp_path / "last.pt", make())
    with (
        zipfile.ZipFile(tmp_path / "last.pt") as plain,
        zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    with pytest.raises(CheckpointError, match="entries are compressed"):
        load_checkpoint(tmp_path / "packed.pt")


def test_no_code_is_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "written"), "w"))

    torch.save({"format": module.FORMAT, "x": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "evil.pt")
    assert not (tmp_path / "written").exists()


def test_a_checkpoint_of_another_network_names_the_difference():
    for change, what in [
        ({"n_classes": 3}, "has the shape"), ({"options": {"channels": (2, 2, 2)}, }, "network"),
        ({"options": {"channels": (2, 2, 2, 2, 2), "num_res_units": 0}}, "network"),
    ]:  # fmt: skip
        options = {**SMALL, **change}
        if "channels" in options["options"] and len(options["options"]["channels"]) == 3:
            options["options"]["strides"] = (2, 2)
        with pytest.raises(CheckpointError, match=f"of another network: .*{what}|{what}"):
            load_model_state(build_model(**options), make(), "last.pt")


@pytest.mark.parametrize("size", [1 << 20, 10**12])
def test_a_network_that_no_memory_holds_is_not_made(size):
    """Its weights would take terabytes, and the checkpoint has none of them."""
    options = {"channels": (size, size), "strides": (2,)}
    recipe = make().recipe
    model = recipe.model.model_copy(update={"architecture": "monai_unet", "options": options})
    hostile = replace(make(), recipe=recipe.model_copy(update={"model": model}))
    with pytest.raises(CheckpointError, match=r"another network|cannot be made"):
        load_network(hostile, "best.pt", "cpu")
