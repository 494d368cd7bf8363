"""What a report calls cases, patients and files: by their names, or by hashes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from softlabel.cache import Cache

DIGITS = 10
"""Of a hash: two of 10,000 cases have the same one less often than once in 20,000 caches."""

LEFT_OUT = "(left out: it may name a file)"


def from_dicom(cache: Cache) -> bool:
    """Whether a cache was made from DICOM, of which a report is anonymous unless told otherwise."""
    return bool(json.loads(cache.header.settings).get("format") == "dicom")


@dataclass(frozen=True)
class Names:
    """How a report calls things.

    Attributes
    ----------
    anonymous : bool
    key : str
        What the hashes depend on beside the text: in the reports of one cache a case has the same
        name every time, in those of others another one.
    """

    anonymous: bool
    key: str = ""

    def of(self, text: str) -> str:
        """The name of a case or a patient.

        Examples
        --------
        >>> Names(False).of("Jane Doe"), len(Names(True, "k").of("Jane Doe"))
        ('Jane Doe', 10)
        """
        if not self.anonymous:
            return text
        key = hashlib.sha256(self.key.encode()).digest()
        data = text.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(data, key=key, digest_size=DIGITS // 2).hexdigest()

    def sentence(self, text: str, instead: str = LEFT_OUT) -> str:
        """A sentence that may name files or cases: itself, or what is said instead."""
        return instead if self.anonymous else text

    def settings(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings; of an anonymous report without those that hold a path.

        Examples
        --------
        >>> Names(True).settings({"scale": 1, "files": {"mask": "/home/doe/m"}})
        {'scale': 1, 'files': '(left out: it may name a file)'}
        """
        if not self.anonymous:
            return dict(settings)
        return {
            name: LEFT_OUT if any(c in str(value) for c in "/\\") else value
            for name, value in settings.items()
        }
