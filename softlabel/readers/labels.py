"""Label maps as files hold them: whole numbers, not negative, of known classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from softlabel.errors import CaseError
from softlabel.mapping import MAX_LABEL
from softlabel.types import Array, ClassTable

ROUNDING = 1e-3
"""Labels stored with an intensity scaling come back as 0.99998; an interpolated map does not."""

_BLOCK = 1 << 22


def whole_numbers(values: Array, path: Path, step: float | None = None) -> Array:
    """Return label values as a contiguous array of an integer type.

    Integer types stay as they are. Floating-point numbers that are whole up to
    :data:`ROUNDING` become the smallest unsigned type that holds them.

    Parameters
    ----------
    values : ndarray of numbers
    path : Path
        The file, for the message.
    step : float or None
        Distance of neighbouring values that the file can store (``scl_slope``). Up to 1, values
        within half of it of a whole number are that number; a wider one has lost labels unless
        every value is whole.

    Raises
    ------
    CaseError
        For NaN, infinite, fractional or negative values, with examples and their number.

    Examples
    --------
    >>> whole_numbers(np.array([0.0, 2.0, 255.0]), Path("seg.npy"))
    array([  0,   2, 255], dtype=uint8)
    """
    if values.dtype.kind == "f":
        values = _rounded(values, path, step)
    negative = int(np.count_nonzero(values < 0)) if values.dtype.kind == "i" else 0
    if negative:
        raise CaseError(
            f"{path} has {negative} negative label values (smallest {int(values.min())}); expected "
            "values of at least 0. If they mean 'not annotated', replace them by a positive value "
            "and give that as the ignore label."
        )
    if values.dtype == np.uint64 and values.size and int(values.max()) > MAX_LABEL:
        raise CaseError(
            f"{path} has label values up to {int(values.max())}; expected values below 2^63. "
            "Check that it is a label map."
        )
    return np.ascontiguousarray(values)


def _rounded(values: Array, path: Path, step: float | None) -> Array:
    if values.dtype.itemsize < 4:
        values = values.astype(np.float32)  # float16 ends at 65504, below the limits compared with
    finite = np.isfinite(values)
    if not finite.all():
        raise CaseError(
            f"{path} has {values.size - np.count_nonzero(finite)} labels that are NaN or infinite; "
            "expected whole numbers. Replace them by a value of their own and give that as the "
            "ignore label."
        )
    rounded = np.rint(values)
    allowed = ROUNDING if step is None or step > 1 else max(ROUNDING, step * (0.5 + ROUNDING))
    fractional = np.abs(values - rounded) > allowed
    if fractional.any():
        examples = ", ".join(f"{v:.4g}" for v in np.unique(values[fractional])[:5])
        if step is not None:
            raise CaseError(
                f"{path} stores integers times a slope (scl_slope) of {step:.6g}, by which "
                f"{np.count_nonzero(fractional)} labels are not whole numbers ({examples} …); "
                "expected a label map with slope 1. Save it again as integers without scaling, "
                "from the original if there is one."
            )
        raise CaseError(
            f"{path} has {np.count_nonzero(fractional)} labels that are not whole numbers "
            f"({examples} …); expected a label map. If it was resampled, resample it again with "
            f"nearest-neighbour interpolation.{_if_probabilities(values)}"
        )
    if rounded.size and np.abs(rounded).max() > 2**53:
        raise CaseError(
            f"{path} has label values up to {rounded.max():.4g}; expected values below 2^53. "
            "Check that it is a label map."
        )
    whole = rounded.astype(np.int64)
    if whole.size and whole.min() < 0:
        return whole
    return whole.astype(np.min_scalar_type(int(whole.max(initial=0))))


def _if_probabilities(values: Array) -> str:
    if values.min() < 0 or values.max() > 1:
        return ""
    return (
        " If these are probabilities, keep them with --soft-range 1 and --method given, or make a "
        "mask of them with --threshold 0.5."
    )


def distinct_values(labels: Array) -> list[int]:
    """Ascending list of the values that occur.

    Examples
    --------
    >>> distinct_values(np.array([[0, 255], [7, 0]], dtype=np.uint8))
    [0, 7, 255]
    """
    if labels.size == 0:
        return []
    if int(labels.max()) >= 1 << 16:
        return [int(v) for v in np.unique(labels)]
    # Marking is many times faster than sorting; by blocks, since indexing widens to 64 bits.
    seen = np.zeros(int(labels.max()) + 1, dtype=bool)
    flat = labels.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        seen[flat[start : start + _BLOCK]] = True
    return [int(v) for v in np.flatnonzero(seen)]


def _if_sums(outside: list[int], classes: ClassTable) -> str:
    """A hint where classes are flags (1, 2, 4 …) and every strange value is a sum of them."""
    flags = [value for value in classes.values if value]
    every_flag = sum(flags)
    if not all(value & (value - 1) == 0 for value in flags):
        return ""
    if not all(value and value & ~every_flag == 0 for value in outside):
        return ""
    return (
        " These could be sums of classes, where overlapping masks were added: then give each sum a "
        "class of its own."
    )


def check_values(labels: Array, classes: ClassTable | None, ignore: int | None, path: Path) -> None:
    """Raise unless every label is in the class table or is the ignore label.

    Raises
    ------
    CaseError
        Listing the values that are not, and how many pixels have each.
    """
    if classes is None:
        return
    known = {*classes.values, ignore}
    outside = [value for value in distinct_values(labels) if value not in known]
    if outside:
        found = ", ".join(
            f"{value} ({np.count_nonzero(labels == value)} pixels)" for value in outside[:8]
        )
        more = f" and {len(outside) - 8} more" if len(outside) > 8 else ""
        table = ", ".join(map(str, classes.values[:20])) + (" …" if len(classes) > 20 else "")
        raise CaseError(
            f"{path} has label values outside the class table: {found}{more}; expected {table}"
            + (f" or the ignore label {ignore}" if ignore is not None else "")
            + ". Correct the label map, or add the values to the class table."
            + _if_sums(outside, classes)
        )
