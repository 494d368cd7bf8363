"""Names for files made of ids and other free text: safe on every file system, never a path."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence


def file_names(names: Sequence[str]) -> dict[str, str]:
    """Names for files, one for each different text: safe on every file system, and never a path.

    A text that had to be changed, or that differs from another one only in upper and lower case,
    gets a short hash behind it.

    Examples
    --------
    >>> list(file_names(["scan_1", "a/b", "../x"]).values())
    ['scan_1', 'a_b-c14cddc0', 'x-d6b96a97']
    """
    stems = {name: safe_stem(name) for name in names}
    uses = Counter(stem.lower() for stem in stems.values())
    result = {}
    for name, stem in stems.items():
        if stem == name and uses[stem.lower()] == 1 and not _is_taken(stem):
            result[name] = stem
        else:
            digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
            result[name] = f"{stem.replace('.', '_')}-{digest}" if stem else digest
    return result


def file_name(name: str) -> str:
    """As :func:`file_names`, of one text."""
    return file_names([name])[name]


def readable_stem(name: str) -> str:
    """A text as people wrote it, as far as files may be named by it: predictions of a case are.

    Letters of any script stay; unlike :func:`file_names` it does not tell all texts apart.

    Examples
    --------
    >>> readable_stem("Fall ß: 1/2"), readable_stem("../x"), readable_stem("aux")
    ('Fall ß_ 1_2', '_x', '_aux')
    """
    plain = "".join(c if c.isalnum() or c in "-_. " else "_" for c in name)
    stem = plain[:120].strip(" .") or "_"
    return f"_{stem}" if is_device(stem) else stem


def is_device(stem: str) -> bool:
    """Whether it names a device of Windows, whatever its ending.

    Examples
    --------
    >>> is_device("CON"), is_device("aux.nii.gz"), is_device("contour")
    (True, True, False)
    """
    return bool(re.fullmatch(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", stem, re.IGNORECASE))


def _is_taken(stem: str) -> bool:
    """Whether it names a device, or could be another text's stem with its hash."""
    return is_device(stem) or bool(re.fullmatch(r"(.*-)?[0-9a-f]{8}", stem))


def safe_stem(name: str) -> str:
    """Letters (without their accents), digits, dots, dashes, underscores and ``=`` of a text."""
    plain = unicodedata.normalize("NFKD", name)
    plain = "".join(ch for ch in plain if not unicodedata.combining(ch))
    return re.sub(r"[^A-Za-z0-9._=-]+", "_", plain).strip("._")[:80]
