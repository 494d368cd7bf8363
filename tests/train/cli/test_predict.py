"""``softlabel-train predict``."""

from __future__ import annotations

from PIL import Image

from ..factories import call


def test_predict_tells_what_failed(run, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.new("L", (50, 40)).save(folder / "a.png")
    assert call("predict", run, folder, "-o", tmp_path / "out", "-q").exit_code == 0
    (folder / "b.png").write_bytes(b"no image")
    result = call("predict", run, folder, "-o", tmp_path / "out", "-q")
    assert result.exit_code == 1
    assert "1 file written" in result.output and "failed: b" in result.output
