"""Several annotators: the option ``raters``, which says in every format whose label maps to take.

It names two or more places, separated by commas, in the order in which the raters count. What a
place is depends on the format: a folder, a pattern, a derivative, an array.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from softlabel.errors import CaseError, UsageError
from softlabel.raters import places_of, rater_names
from softlabel.readers.registry import ReaderOption
from softlabel.readers.safety import path_inside, relative_name


def raters_option(places: str) -> ReaderOption:
    """The option of a reader: ``places`` says what it names."""
    return ReaderOption("raters", None, f"{places}, separated by commas, the first one first.")


def split_places(text: str | None) -> tuple[str, ...]:
    """The places that were given; empty for none.

    Raises
    ------
    UsageError
        When there is only one, or one twice.

    Examples
    --------
    >>> split_places("labelsTr, labelsTr_second")
    ('labelsTr', 'labelsTr_second')
    """
    if text is None:
        return ()
    places = places_of(text)
    if len(places) < 2 or len(set(places)) < len(places):
        raise UsageError(
            f"The option raters is {text!r}; expected two or more places that differ, separated "
            "by commas. With one annotator leave it out."
        )
    return places


def label_maps_in_folders(
    root: Path, folders: Sequence[str], name: str, case: str
) -> dict[str, str]:
    """Rater and relative path of the label map of a case, which lies in the folder of each rater.

    Parameters
    ----------
    root : Path
    folders : sequence of str
        Relative to ``root``.
    name : str
        Of the label map.
    case : str
        For messages.

    Raises
    ------
    CaseError
        When a rater has none.
    """
    found = {}
    for rater, folder in zip(rater_names(folders), folders, strict=True):
        path = path_inside(root, f"{folder}/{name}", "The option raters")
        if not path.is_file():
            raise CaseError(
                f"{path} does not exist; expected it as the label map of case {case} by the rater "
                f"{rater}. Put it there, or leave the case out."
            )
        found[rater] = relative_name(path, root)
    return found
