"""Files of OCT scanners that softlabel does not read: what they are, and what makes arrays of them.

Only the makers' programs and two libraries read them, and no such file was at hand to try a reader
with. Who gives one is told the command that saves its B-scans as an array of NumPy.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from softlabel.errors import CaseError
from softlabel.readers.sniff import UNKNOWN, sniff

LOOKED_AT = 200
"""Files of a folder whose first bytes are read at most."""


@dataclass(frozen=True)
class Scan:
    """A maker's format, and how an array is made of it.

    Attributes
    ----------
    name : str
        What such a file is.
    packages : str
        What the command needs, as pip takes it.
    imports, volume : str
        Python code; ``volume`` is an array (B-scans, rows, columns) of the file ``{path}``.
    hint : str
        A better way, or what must be known; goes before "save".
    """

    name: str
    packages: str
    imports: str
    volume: str
    hint: str = ""

    def sentence(self, path: Path) -> str:
        """What a file is, and what to do about it."""
        array = path.with_suffix(".npy").name
        volume = self.volume.format(path=repr(path.name))
        code = f"import numpy; {self.imports}; numpy.save({array!r}, {volume})"
        # in double quotes the code needs no escapes, but for names with marks of the shell
        quoted = shlex.quote(code) if set(code) & set('"$`\\!') else f'"{code}"'
        fix = f"{self.hint}save its B-scans as an array"
        return (
            f"{path} is {self.name}, which softlabel does not read. {fix[0].upper()}{fix[1:]}: "
            f"pip install {self.packages}, then python -c {quoted}"
        )


_OCT_CONVERTER = "oct-converter 'numpy<2.3'"
"""Its readers of Topcon's files call what NumPy 2.3 removed (np.fromstring of bytes)."""

HEYEX = Scan(
    "a scan of Heidelberg's HEYEX (.e2e)",
    "eyepy",
    "import eyepy",
    "eyepy.import_heyex_e2e({path}).data",
    "export it from HEYEX as .vol, which softlabel reads with its layers, or ",
)
TOPCON_FDA = Scan(
    "a scan of Topcon (.fda)",
    _OCT_CONVERTER,
    "from oct_converter.readers import FDA",
    "numpy.stack(FDA({path}).read_oct_volume().volume)",
)
TOPCON_FDS = Scan(
    "a scan of Topcon (.fds)",
    _OCT_CONVERTER,
    "from oct_converter.readers import FDS",
    "numpy.stack(FDS({path}).read_oct_volume().volume)",
)
ZEISS = Scan(
    "an .img without a .hdr beside it, perhaps a raw volume of Zeiss",
    "oct-converter",
    "from oct_converter.readers import IMG",
    "numpy.stack(IMG({path}).read_oct_volume(rows=1024, cols=512).volume)",
    "put in the rows and columns of a B-scan, which it does not state, and ",
)


def kind_of_scan(path: Path) -> Scan | None:
    """The maker's format of a file, None for any other file.

    Told by the first bytes. Zeiss's ``.img`` has none that are its own, and is what no header lies
    beside.

    Raises
    ------
    CaseError
        When the file cannot be read.
    """
    kind, ending = sniff(path), path.suffix.lower()
    if kind == "heyex database":
        return HEYEX
    if kind == "topcon":
        return TOPCON_FDS if ending == ".fds" else TOPCON_FDA
    alone = not any(path.with_suffix(header).exists() for header in (".hdr", ".HDR"))
    return ZEISS if kind == UNKNOWN and ending == ".img" and alone else None


def scan_sentence(paths: Iterable[Path]) -> str | None:
    """What to do about the first file of a scanner among files and folders; None without one.

    Of a folder, its files and those of its folders are looked at.
    """
    for path in islice(_files(paths), LOOKED_AT):
        with contextlib.suppress(CaseError):
            scan = kind_of_scan(path)
            if scan is not None:
                return scan.sentence(path)
    return None


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            inside = [*sorted(path.glob("*")), *sorted(path.glob("*/*"))]
            yield from (p for p in inside if p.is_file() and not p.name.startswith("."))
        elif path.is_file():
            yield path
