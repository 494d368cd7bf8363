"""What a run writes down while it trains."""

from __future__ import annotations

import csv
import time

from softlabel_train.config import Recipe
from softlabel_train.loggers import open_boards
from softlabel_train.record import RunRecord


def record(folder, first_step):
    boards = open_boards(Recipe(), folder, first_step)
    return RunRecord(
        folder, ["a"], first_step=first_step, steps=9, batch_size=1, boards=boards, show=False
    )


def rows(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return [row["step"] for row in csv.DictReader(file)]


def test_a_line_that_was_cut_off_does_not_stop_the_next_run(tmp_path):
    with record(tmp_path, 0) as first:
        for step in (1, 2, 3):
            first.training(step, 0, 0.1, {"loss": 1.0})
    path = tmp_path / "metrics.csv"
    path.write_bytes(path.read_bytes().rstrip() + b"\r\n,")
    with record(tmp_path, 2) as second:
        second.training(3, 0, 0.1, {"loss": 1.0})
    assert rows(tmp_path) == ["1", "2", "3"]


def test_tensorboard_has_every_step_of_a_resumed_run_once(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for first, steps in ((0, (1, 2, 3, 4)), (3, (4, 5))):
        if first:  # TensorBoard reads files by name, which begins with the second
            time.sleep(1.1)
        with record(tmp_path, first) as part:
            for step in steps:
                part.training(step, 0, 0.1, {"loss": float(10 * first + step)})
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    found = {event.step: event.value for event in events.Scalars("loss")}
    assert found == {1: 1, 2: 2, 3: 3, 4: 34, 5: 35}
    assert len(events.Scalars("loss")) == 5
