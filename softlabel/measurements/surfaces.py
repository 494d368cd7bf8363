"""Which cases are measured against what, volume by volume."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from softlabel.errors import SoftlabelError, UsageError
from softlabel.ids import natural_key
from softlabel.measurements.scans import (
    Compared,
    Layers,
    Scales,
    ScanSurfaces,
    scan_surfaces,
    volume_of,
)
from softlabel.measurements.sources import LABELS, LabelSource, reference_ids
from softlabel.measurements.volumes import Volume, volume_from


@dataclass(frozen=True)
class Comparison:
    """What is measured.

    Attributes
    ----------
    source : LabelSource
    rater : str
        Which label map of each case.
    reference : LabelSource or None
        What the surfaces are compared with; may be ``source`` itself.
    reference_rater : str
    layers : Layers
    scales : Scales
    bscan_mm : float or None
        Distance of B-scans that lie in cases of their own.
    """

    source: LabelSource
    rater: str = LABELS
    reference: LabelSource | None = None
    reference_rater: str = LABELS
    layers: Layers = field(default_factory=Layers)
    scales: Scales = field(default_factory=Scales)
    bscan_mm: float | None = None

    def __post_init__(self) -> None:
        same = self.reference is not None and self.reference.path == self.source.path
        if same and self.rater == self.reference_rater:
            raise UsageError(
                f"The label map {self.rater!r} of {self.source.path} would be compared with "
                "itself; give another source with --against, or another of its label maps with "
                "--against-rater."
            )


def measure_surfaces(
    comparison: Comparison,
    *,
    with_images: bool = False,
    failed: Callable[[str, str], None] = lambda case_id, reason: None,
    done: Callable[[str], None] = lambda case_id: None,
    unmatched: Callable[[str], None] = lambda case_id: None,
) -> Iterator[Volume]:
    """Measure every case, and put the B-scans of a volume together.

    Parameters
    ----------
    comparison : Comparison
    with_images : bool
        Keep the image of each case.
    failed : callable (id, reason)
        Called for each case that cannot be measured; the others go on.
    done : callable (id)
        Called after each case, whether or not it could be measured.
    unmatched : callable (id)
        Called for each case that the reference does not have, which is measured without errors.

    Raises
    ------
    UsageError
        When the reference has none of the cases.
    """
    source, reference = comparison.source, comparison.reference
    partners = {} if reference is None else reference_ids(source, reference)
    for case_id, reason in source.problems.items():
        failed(case_id, reason)
    for name, ids in _volumes(source.ids).items():
        scans: list[ScanSurfaces] = []
        for case_id in ids:
            partner = partners.get(case_id)
            if reference is not None and partner is None:
                unmatched(case_id)
            try:
                scans.append(_measured(comparison, case_id, partner, with_images))
            except (SoftlabelError, OSError, ValueError) as error:
                failed(case_id, str(error))
            done(case_id)
        if not scans:
            continue
        try:
            yield volume_from(name, scans, comparison.bscan_mm)
        except SoftlabelError as error:
            failed(name, str(error))


def _measured(
    comparison: Comparison, case_id: str, partner: str | None, with_image: bool
) -> ScanSurfaces:
    reference = None
    if comparison.reference is not None and partner is not None:
        reference = comparison.reference.read(partner)
    compared = Compared(
        comparison.source.read(case_id), comparison.rater, reference, comparison.reference_rater
    )
    return scan_surfaces(compared, comparison.layers, comparison.scales, with_image=with_image)


def _volumes(ids: tuple[str, ...]) -> dict[str, list[str]]:
    """Cases by volume, in natural order; B-scans of a volume by their numbers.

    Two cases of one number are two volumes, and so is a case that has the name of a volume.

    Examples
    --------
    >>> _volumes(("a_bscan_2", "a_bscan_1", "b_bscan_0", "b"))
    {'a': ['a_bscan_1', 'a_bscan_2'], 'b': ['b'], 'b_bscan_0': ['b_bscan_0']}
    """
    volumes: dict[str, dict[int | None, str]] = {}
    for case_id in sorted(ids, key=natural_key):
        name, number = volume_of(case_id)
        if name in ids or number in volumes.get(name, {}):
            name = case_id
        volumes.setdefault(name, {})[number] = case_id
    return {
        name: [case_id for _, case_id in sorted(cases.items(), key=lambda item: item[0] or 0)]
        for name, cases in volumes.items()
    }
