"""What a run writes down while it trains."""

from __future__ import annotations

import csv
import time

import numpy as np
import pytest
from softlabel_train.config import Recipe
from softlabel_train.loggers import open_boards
from softlabel_train.record import RunRecord, picture_of

from softlabel.render import class_colour


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


@pytest.mark.parametrize("first_again", [3, 0], ids=["checkpoint", "no checkpoint yet"])
def test_tensorboard_has_every_step_of_a_resumed_run_once(tmp_path, first_again):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    again = range(first_again + 1, 6)
    for first, steps in ((0, (1, 2, 3, 4)), (first_again, again)):
        if steps is again:  # TensorBoard reads files by name, which begins with the second
            time.sleep(1.1)
        with record(tmp_path, first) as part:
            for step in steps:
                part.training(step, 0, 0.1, {"loss": float(10 * (steps is again) + step)})
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    found = {event.step: event.value for event in events.Scalars("loss")}
    assert found == {step: 10 * (step in again) + step for step in range(1, 6)}
    assert len(events.Scalars("loss")) == 5


# --- pictures -------------------------------------------------------------------------------------

NAMES = ("ground", "_lesion", "$x^2$", "absent")


def halves(shape=(60, 50)):
    """An image whose lower half is class 1, predicted ten rows lower, and unknown on the left."""
    labels = np.zeros(shape, np.uint8)
    labels[shape[0] // 2 :] = 1
    prediction = np.roll(labels, 10, axis=0)
    prediction[:10] = 2
    labels[:, :5] = 255
    return labels[None].astype(np.float32), prediction, labels


def shares(picture, colour):
    """Share of a colour in each third of a picture."""
    near = (abs(picture.astype(float) - 255 * np.asarray(colour)).max(axis=-1) < 3).astype(float)
    return [part.mean() for part in np.array_split(near[30:-60], 3, axis=1)]


def test_a_picture_has_the_colours_of_all_other_pictures_and_a_legend():
    image, prediction, labels = halves()
    drawn = picture_of(image, prediction, labels, 255, NAMES, "case, step 1")
    assert drawn.dtype == np.uint8 and drawn.shape[2] == 3
    of_image, of_prediction, of_labels = shares(drawn, class_colour(1))
    assert of_image == 0 and of_prediction > 0.1 and of_labels > 0.1
    third = shares(drawn, class_colour(2))
    assert third[1] > 0.05 and third[2] == 0, "class 2 is predicted only"
    without = picture_of(image, prediction, labels, 255, ("a", "b", "c", "d"), "case, step 1")
    assert (drawn[-60:] != without[-60:]).any(), "the names are written below"
    assert (drawn[-60:] == without[-60:]).mean() > 0.9


def test_a_photo_is_shown_in_its_colours():
    _, prediction, labels = halves()
    red = np.zeros((3, *labels.shape), np.uint8)
    red[0] = 250
    drawn = picture_of(red, prediction, labels, 255, NAMES)
    assert shares(drawn, (250 / 255, 0, 0))[0] > 0.3


def test_the_middle_slice_of_a_volume_is_shown_and_told():
    image, prediction, labels = (np.repeat(a[..., None], 5, axis=-1) for a in halves())
    prediction[..., :2] = prediction[..., 3:] = 3
    drawn = picture_of(image, prediction, labels, 255, NAMES, "case")
    flat = picture_of(*(a[..., 2] for a in (image, prediction, labels)), 255, NAMES,
                      "case, slice 2 of axis 2")  # fmt: skip
    np.testing.assert_array_equal(drawn, flat)
