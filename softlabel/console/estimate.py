"""What a run will take, told from one case that was computed for that."""

from __future__ import annotations

from softlabel.console.display import duration, percent, size
from softlabel.errors import plural
from softlabel.generation import CaseReport


def estimate_text(sample: CaseReport, cases: int, workers: int) -> str:
    """Time and size of a run, and the share of the steps before superpixels in that time.

    Parameters
    ----------
    sample : CaseReport
        Of a case that was computed.
    cases : int
        Cases to compute.
    workers : int
        Processes that compute them.

    Examples
    --------
    >>> sample = CaseReport("a", seconds=2.0, step_seconds={"denoise": 0.5})
    >>> print(steps_text(sample, cases=20, workers=2))
    Of that the steps before superpixels take about 5.0 s (denoise 25.0 % of the time of a).
    """
    softened = percent(sample.softened_pixels / max(1, sample.pixels))
    text = (
        f"From {sample.id} ({duration(sample.seconds)}, {size(sample.bytes)}, "
        f"{sample.n_superpixels} superpixels of {sample.n_superpixels_asked} asked, "
        f"{softened} softened): about {duration(sample.seconds * cases / workers)} with "
        f"{plural(workers, 'worker')}, {size(sample.bytes * cases)}."
    )
    return f"{text} {steps_text(sample, cases, workers)}".rstrip()


def steps_text(sample: CaseReport, cases: int, workers: int) -> str:
    """How much of the time the steps before superpixels take; empty without steps."""
    if not sample.step_seconds:
        return ""
    total = sum(sample.step_seconds.values()) * cases / workers
    shares = ", ".join(
        f"{step} {percent(seconds / max(sample.seconds, 1e-9))}"
        for step, seconds in sample.step_seconds.items()
    )
    return (
        f"Of that the steps before superpixels take about {duration(total)} ({shares} of the time "
        f"of {sample.id})."
    )
