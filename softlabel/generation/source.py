"""The data set of a path, and what is said of a path that is a cache instead."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from softlabel.cache import says_it_is_ours
from softlabel.errors import SourceError
from softlabel.mapping import LabelMapping
from softlabel.readers import list_dataset
from softlabel.types import Dataset


def list_source(
    source: Path,
    format: str = "auto",
    options: Mapping[str, Any] | None = None,
    mapping: LabelMapping | None = None,
) -> Dataset:
    """List a data set as :func:`softlabel.readers.list_dataset` does.

    Readers know nothing of caches: of one they say only which formats they looked for.

    Raises
    ------
    SourceError
        When the data set cannot be listed.
    UsageError
        For an unknown format, an option that the format does not have, or a value it cannot take.
    """
    try:
        return list_dataset(source, format, options, mapping)
    except SourceError as error:
        # of other files the parts of a cache that lies beside them would say so
        if source.suffix == ".h5" and source.is_file() and says_it_is_ours(source):
            raise SourceError(
                f"{source} is a cache of softlabel, expected a data set; give the one that the "
                "cache was made of."
            ) from error
        raise
