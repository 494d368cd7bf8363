"""What a worker takes is foretold, and no more of them are started than fit."""

from __future__ import annotations

import json

import factories
import nibabel
import numpy as np
import pytest

from softlabel.cli import main
from softlabel.generation import memory
from softlabel.generation.memory import worker_bytes, workers_that_fit
from softlabel.generation.run import decide, generate
from softlabel.generation.settings import Settings
from softlabel.readers import list_dataset

PEAK = """
import sys
from softlabel.generation import Settings, generate
assert generate(sys.argv[1], sys.argv[2], Settings(method=sys.argv[3])).complete
[peak] = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(int(peak.split()[1]) * 1024)
"""
"""getrusage would tell the memory of the process that started it, where that is more."""


@pytest.fixture
def decided(tmp_path):
    data = factories.write_scenes(tmp_path / "data", "abcd")
    return decide(list_dataset(data), tmp_path / "c.h5", factories.QUICK)


def write_volume(root, shape, classes, seed=0):
    """A volume with pieces of 12 pixels that have one of so many classes each."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, [-(-size // 12) for size in shape]).astype(np.uint8)
    for axis in range(len(shape)):
        labels = labels.repeat(12, axis)
    labels = labels[tuple(map(slice, shape))]
    image = (labels * 3 + rng.normal(0, 5, shape)).astype(np.float32)
    for folder, values in (("images", image), ("labels", labels)):
        (root / folder).mkdir(parents=True)
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), root / folder / "a.nii.gz")
    return root


@pytest.mark.slow
@pytest.mark.parametrize("method", ["superpixel", "gaussian"])
@pytest.mark.parametrize(
    ("shape", "classes"), [((640, 512), 4), ((1600, 1200), 10), ((96, 96, 64), 4)],
)  # fmt: skip
def test_a_process_takes_what_was_foretold_or_up_to_three_times_less(
    tmp_path, shape, classes, method
):
    data = write_volume(tmp_path / "data", shape, classes)
    foretold = worker_bytes(decide(list_dataset(data), tmp_path / "c.h5", Settings(method=method)))
    taken = int(factories.run_python(PEAK, data, tmp_path / "c.h5", method).split()[-1])
    assert foretold is not None
    assert foretold / 3 < taken < foretold


def test_workers_that_do_not_fit_are_not_started(decided, monkeypatch):
    each = worker_bytes(decided)
    monkeypatch.setattr(memory, "shared_bytes", lambda: int(3.9 * each))
    jobs, told = workers_that_fit(decided, 16)
    assert jobs == 3
    assert told.startswith("3 workers instead of 4: one may take 0.3 GB for a case of 40×44, and ")
    assert workers_that_fit(decided, 3) == (3, "")
    monkeypatch.setattr(memory, "shared_bytes", lambda: 0)
    assert workers_that_fit(decided, 16)[0] == 1
    monkeypatch.setattr(memory, "shared_bytes", lambda: None)
    assert workers_that_fit(decided, 16) == (16, "")


def test_it_is_said_by_the_command_and_from_python(decided, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(memory, "shared_bytes", lambda: int(1.5 * worker_bytes(decided)))
    report = generate(decided.dataset, tmp_path / "p.h5", factories.QUICK, jobs=2)
    assert any("1 worker instead of 2" in warning for warning in report.warnings)
    options = ["generate", str(tmp_path / "data"), "-o", str(tmp_path / "c.h5"), "-j", "2"]
    with pytest.raises(SystemExit, match="0"):
        main([*options, "--n-segments=24"])
    assert "1 worker instead of 2: one may take" in capfd.readouterr().err
    with pytest.raises(SystemExit):
        main([*options, "--superpixel-size=60", "--dry-run", "-o", str(tmp_path / "d.h5")])
    assert "A worker takes up to about 260.1 MB for the largest case (40×44); " in (
        capfd.readouterr().out
    )


def test_a_plan_as_json_has_the_bytes_of_a_worker(decided, tmp_path, capfd):
    with pytest.raises(SystemExit):
        main(["generate", str(tmp_path / "data"), "-o", str(tmp_path / "c.h5"), "--dry-run",
              "--json", "--n-segments=24"])  # fmt: skip
    assert json.loads(capfd.readouterr().out)["worker_bytes"] == worker_bytes(decided)
