"""A whole case, from the image in memory to a file on disk, against the whole peer script.

Run with ``python -m benchmarks.generate``. One core; reading the source is left out on both sides,
since both read with the same library.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import alternate, one_thread, show

one_thread()

from benchmarks import data, peer  # noqa: E402
from softlabel.cache import Header, build_part, schema  # noqa: E402
from softlabel.files.atomic import publish  # noqa: E402
from softlabel.generation.compute import compute  # noqa: E402
from softlabel.generation.settings import Settings  # noqa: E402
from softlabel.types import Case  # noqa: E402


def measure(what: str, case: Case, repeats: int, folder: Path) -> list[dict[str, Any]]:
    """Seconds of both, and the sizes of their files."""
    assert case.classes is not None
    settings = Settings(boundary="symmetric")
    text = settings.as_json({})
    header = Header(text, schema.fingerprint(text, case.classes, None), case.classes, None, ())
    spacing = tuple(s / min(case.spacing_mm) for s in case.spacing_mm)
    ours_path, peer_path = folder / schema.part_name(case.id), folder / "peer.h5"

    def ours() -> None:
        publish(ours_path, build_part(compute(case, header, settings), header))

    def theirs() -> None:
        ids = peer.superpixels(peer.scaled(case.image), spacing)
        soft = peer.soften(case.labels, ids, len(case.classes))
        peer.write(peer_path, case.image, case.labels, ids, soft)

    seconds = alternate({"peer script": theirs, "softlabel": ours}, repeats)
    sizes = {"peer script": peer_path.stat().st_size, "softlabel": ours_path.stat().st_size}
    return [
        {
            "work": what,
            "by": name,
            "ms": 1e3 * s,
            "times as fast": seconds["peer script"] / s,
            "file kB": sizes[name] / 1e3,
        }
        for name, s in seconds.items()
    ]


def main(repeats: int = 5) -> list[dict[str, Any]]:
    """Print the table and return its rows."""
    with tempfile.TemporaryDirectory() as folder:
        rows = measure("a case, 496×768", data.bscan(), repeats, Path(folder))
        rows += measure("a case, 240×240×48×3", data.brain(), repeats, Path(folder))
    show("A whole case, one core, from memory to a file", rows)
    return rows


if __name__ == "__main__":
    main()
