"""Where the numbers of a run go: each logger with its own package, offline."""

from __future__ import annotations

import sqlite3
import struct

import numpy as np
import pytest
from softlabel_train import loggers
from softlabel_train.config import load_recipe
from softlabel_train.loggers import (
    Logged,
    check_loggers,
    close_all,
    open_boards,
    shared_settings,
)
from softlabel_train.record import RunRecord

from softlabel.errors import UsageError

PICTURE = np.zeros((4, 4, 3), np.uint8)


def recipe_of(logger, *overrides):
    return load_recipe("smoke", [f"train.logger={logger}", *overrides])


def run_in(folder, recipe, first_step, steps):
    """A part of a run: its training steps, and a validation of a class without a score."""
    boards = open_boards(recipe, folder, first_step)
    with RunRecord(folder, ["ä:b", "c"], first_step=first_step, steps=9, batch_size=1,
                   boards=boards, show=False) as record:  # fmt: skip
        for step in steps:
            record.training(step, 0, 0.1, {"loss": float(step), "ce": 0.5})
        record.validation(steps[-1], 0, 0.1, 0.75, {"ä:b": 0.75, "c": float("nan")})
        record.picture(steps[-1], "case", PICTURE)


@pytest.mark.parametrize("logger", ["wandb", "mlflow", "[csv, wandb]"])
def test_a_logger_that_is_not_installed_is_refused_in_a_sentence(logger, monkeypatch):
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"^train\.logger is (\w+), and \1 is not installed; run"):
        check_loggers(recipe_of(logger))
    check_loggers(recipe_of("csv"))


def test_a_logger_that_nobody_knows_is_named():
    with pytest.raises(UsageError, match=r"train\.logger"):
        recipe_of("visdom")


def test_csv_alone_writes_no_other_file(tmp_path):
    run_in(tmp_path, recipe_of("csv"), 0, [1, 2])
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.csv", "pictures"}


def test_a_logger_that_is_named_twice_is_one():
    assert recipe_of("[wandb, csv, wandb]").train.loggers == ("wandb", "csv")


def test_no_path_and_no_patient_is_shared():
    recipe = recipe_of(
        "csv", "data.source=/home/secret", "data.cache=secret.h5", "data.split.kind=named",
        "data.split.train=[secret]", "data.format_options={images: secret}",
        "model.encoder_weights=secret.pt",
    )  # fmt: skip
    shared = shared_settings(recipe)
    assert "secret" not in str(shared)
    assert shared["loss.beta"] == recipe.loss.beta and "train.steps" in shared


def test_every_board_is_closed_though_one_cannot_be():
    closed = []

    class Broken:
        def close(self):
            closed.append(self)
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        close_all([Broken(), Broken()])
    assert len(closed) == 2


def leveldb_log(content):
    """Records of a log as LevelDB writes it, behind the seven bytes that W&B begins its file with.

    A record has a checksum (4 bytes), a length (2) and a kind (1: whole, 2 to 4: its parts);
    blocks of 32 KiB, counted from the beginning of the file, are filled up with zeros.
    """
    at, parts = 0, b""
    while at + 7 <= len(content):
        left = 32768 - (at + 7) % 32768
        if left < 7:
            at += left
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield parts
            parts = b""


def test_a_number_that_was_logged_is_not_logged_again(tmp_path):
    """Of each name by itself: a run may be killed between training and validation of a step."""
    path = tmp_path / "board" / "logged.json"
    for step in (1, 2):
        Logged(path).note(["loss"], step)
    Logged(path).note(["validation/dice"], 1)
    numbers = {"loss": 0.5, "validation/dice": 0.25, "new": 1.0, "unknown": float("nan")}
    assert Logged(path).missing(numbers, 1) == {"new": 1.0}
    assert Logged(path).missing(numbers, 2) == {"validation/dice": 0.25, "new": 1.0}
    assert Logged(path).missing(numbers, 3) == {"loss": 0.5, "validation/dice": 0.25, "new": 1.0}


KILLED = (0, [1, 2, 3]), (1, [2, 3, 4])
"""A run that was killed two steps behind its checkpoint, and what does these steps again."""


@pytest.mark.slow
def test_weights_and_biases_writes_one_run_offline(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="needs wandb: pip install wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    monkeypatch.delenv("WANDB_MODE", raising=False)
    recipe = recipe_of("wandb", "data.source=secret")
    for first_step, steps in KILLED:
        run_in(tmp_path, recipe, first_step, steps)
    wandb.teardown()  # its own process writes
    history, files = [], sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    assert len(files) == 2 and len({path.name for path in files}) == 1, "the same run goes on"
    for path in files:
        for data in leveldb_log(path.read_bytes()[7:]):
            record = Record()
            record.ParseFromString(data)
            items = {(i.key or ".".join(i.nested_key)): i.value_json for i in record.history.item}
            if "loss" in items:
                history.append((record.history.step.num, float(items["loss"])))
            assert "secret" not in str(record.run)
    assert sorted(history) == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]


@pytest.mark.slow
def test_mlflow_writes_one_run_into_the_folder(tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="needs MLflow: pip install mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    recipe = recipe_of("mlflow", "data.source=secret")
    for first_step, steps in KILLED:
        run_in(tmp_path, recipe, first_step, steps)
    with sqlite3.connect(tmp_path / "mlflow" / "mlflow.db") as database:
        losses = database.execute("SELECT step, value FROM metrics WHERE key = 'loss'").fetchall()
        dice = database.execute(
            "SELECT key, step FROM metrics WHERE key LIKE 'validation_dice/%'"
        ).fetchall()
        status = database.execute("SELECT status FROM runs").fetchall()
        params = dict(database.execute("SELECT key, value FROM params").fetchall())
    assert sorted(losses) == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]
    assert sorted(dice) == [("validation_dice/__b", 3), ("validation_dice/__b", 4)]
    assert status == [("FINISHED",)]
    assert params["loss.beta"] == "1.0" and "secret" not in str(params)
