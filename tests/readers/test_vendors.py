"""Files of scanners that are not read: each leads to the command that makes an array of it.

The files are made up: their first bytes are those that eyepy and OCT-Converter expect.
"""

from __future__ import annotations

import ast
import re
import shlex

import numpy as np
import pytest
from PIL import Image

from softlabel.errors import CaseError, SourceError
from softlabel.readers import list_dataset
from softlabel.readers.imagefiles import read_pixels
from softlabel.readers.vendors import scan_sentence

HEYEX = b"CMDb" + bytes(32) + b"MDbMDir" + bytes(60)
SCANS = {
    "a.e2e": (HEYEX, "HEYEX", "eyepy.import_heyex_e2e('a.e2e').data"),
    "A.E2E": (b"E2EMultipleVolumeFile" + bytes(43) + HEYEX, "as .vol", "import_heyex_e2e('A.E2E')"),
    "a.fda": (b"FOCTFDA" + bytes(60), "Topcon", "FDA('a.fda').read_oct_volume().volume"),
    "a.fds": (b"FOCTFDA" + bytes(60), "Topcon", "FDS('a.fds').read_oct_volume().volume"),
    "a.img": (bytes(range(256)) * 8, "Zeiss", "IMG('a.img').read_oct_volume(rows=1024"),
    "my scan's.e2e": (HEYEX, "HEYEX", 'import_heyex_e2e("my scan\'s.e2e")'),
}


@pytest.mark.parametrize("name", SCANS)
def test_a_folder_of_a_scanners_files_is_told_what_reads_them(tmp_path, name):
    content, what, code = SCANS[name]
    for folder in (tmp_path, tmp_path / "images"):  # beside label maps, or with them
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        with pytest.raises(SourceError) as caught:
            list_dataset(tmp_path)
        sentence = str(caught.value)
        assert str(folder / name) in sentence and what in sentence and "\n" not in sentence
        command = shlex.split(sentence[sentence.index("python -c ") :])
        ast.parse(command[2])  # as the shell hands it over
        assert code in command[2] and command[2].startswith("import numpy; ") and len(command) == 3
        (folder / name).unlink()


def test_a_file_or_a_pattern_of_them(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    (tmp_path / "images/a.fds").write_bytes(SCANS["a.fds"][0])
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "labels/a.png")
    for given, options in (
        (tmp_path / "images/a.fds", {}),
        (tmp_path, {"images": "images/*.fds", "labels": "labels"}),
        (tmp_path, {"images": "images", "labels": "labels"}),
        (tmp_path, {}),
    ):
        with pytest.raises(SourceError, match=re.escape("a scan of Topcon (.fds)")):
            list_dataset(given, options=options)


def test_a_database_that_is_given_as_an_export(tmp_path):
    (tmp_path / "a.e2e").write_bytes(HEYEX)
    with pytest.raises(SourceError, match=r"a\.e2e is a scan of Heidelberg's HEYEX .* as \.vol"):
        list_dataset(tmp_path, "heidelberg")
    (tmp_path / "a.e2e").unlink()
    with pytest.raises(SourceError, match=r"holds no \.vol file; expected exports of HEYEX"):
        list_dataset(tmp_path, "heidelberg")


def test_one_that_is_named_as_an_image(tmp_path):
    (tmp_path / "a.tif").write_bytes(HEYEX)
    with pytest.raises(CaseError, match=r"HEYEX \(.e2e\) named .tif; .* Export it from HEYEX"):
        read_pixels(tmp_path / "a.tif")


def test_other_files_are_no_scans(tmp_path):
    """Of an Analyze or NIfTI pair the header is read; a picture named .img is a picture."""
    (tmp_path / "a.img").write_bytes(bytes(64))
    (tmp_path / "a.hdr").write_bytes(bytes(348))
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "b.img", format="PNG")
    (tmp_path / "c.e2e").write_bytes(b"something else")
    (tmp_path / "d.img").write_bytes(b"")
    (tmp_path / ".hidden.e2e").write_bytes(HEYEX)
    assert scan_sentence([tmp_path, tmp_path / "missing"]) is None
