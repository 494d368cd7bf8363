"""What a run will take, in words."""

from __future__ import annotations

from softlabel.console.estimate import estimate_text, steps_text
from softlabel.generation import CaseReport

SAMPLE = CaseReport(
    "a", seconds=4.0, bytes=1_000, pixels=100, softened_pixels=25, n_superpixels=9,
    n_superpixels_asked=10,
)  # fmt: skip


def test_time_and_size_are_those_of_all_cases():
    text = estimate_text(SAMPLE, cases=30, workers=3)
    assert text == (
        "From a (4.0 s, 1.0 kB, 9 superpixels of 10 asked, 25.0 % softened): about 40 s with 3 "
        "workers, 30.0 kB."
    )
    assert steps_text(SAMPLE, 30, 3) == ""


def test_steps_are_told_with_their_shares():
    sample = CaseReport("a", seconds=4.0, step_seconds={"denoise": 2.0, "crop": 0.1})
    text = estimate_text(sample, cases=30, workers=3)
    assert text.endswith(
        "Of that the steps before superpixels take about 21 s (denoise 50.0 %, crop 2.5 % of the "
        "time of a)."
    )
