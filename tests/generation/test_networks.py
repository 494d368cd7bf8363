"""Networks of the steps: from files that need not be trusted, named by what they hold."""

from __future__ import annotations

import hashlib
import json
import os

import factories
import numpy as np
import pytest

from softlabel import generate
from softlabel.cache import open_cache
from softlabel.errors import MissingExtraError, UsageError
from softlabel.generation import networks as module
from softlabel.generation.networks import SHIPPED, networks_for, read_network, with_weights
from softlabel.generation.settings import Settings
from softlabel.preprocess import SHIPPED_WEIGHTS, DnCNN, DnCNNSettings, pack_network

pytest.importorskip("torch")
pytest.importorskip("safetensors")

DNCNN = Settings(n_segments=24, preprocess_options={"denoise": "dncnn"})


@pytest.fixture
def weights(tmp_path):
    """A network that adds a fifth of the range to every pixel."""
    settings = DnCNNSettings(3, 1, None, "range", "nothing")
    layers = tuple(
        (np.zeros(s, np.float32), np.zeros(s[:1], np.float32)) for s in settings.kernel_shapes
    )
    layers[-1][1][:] = -0.2
    path = tmp_path / "mine.safetensors"
    path.write_bytes(pack_network(DnCNN(settings, layers)))
    return path


def test_what_comes_with_softlabel_is_what_records_name():
    data = SHIPPED.read_bytes()
    assert hashlib.sha256(data).hexdigest() == SHIPPED_WEIGHTS and len(data) < 3 << 20
    assert set(networks_for(DNCNN.preprocessing)) == {SHIPPED_WEIGHTS}
    assert networks_for(Settings(preprocess="oct").preprocessing) == {}


def test_a_file_is_named_by_its_content(weights):
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    settings = with_weights(DNCNN, weights)
    assert settings.preprocess_options == {"denoise": "dncnn", "weights": sha256}
    assert with_weights(DNCNN, None) is DNCNN
    assert list(networks_for(settings.preprocessing, weights)) == [sha256]
    with pytest.raises(UsageError, match=rf"needs the weights {sha256[:12]}….*give their file as"):
        networks_for(settings.preprocessing)
    with pytest.raises(UsageError, match=r"mine\.safetensors has .*…; give the file that was"):
        other = with_weights(DNCNN, SHIPPED).preprocess_options | {"weights": "0" * 64}
        networks_for(Settings(preprocess_options=other).preprocessing, weights)
    with pytest.raises(UsageError, match="weights has no meaning beside denoise=tv"):
        with_weights(Settings(preprocess="oct"), weights)
    with pytest.raises(UsageError, match="no step of this preprocessing"):
        with_weights(Settings(), weights)


def test_a_file_that_changed_is_read_again(weights):
    first, _ = read_network(weights)
    weights.write_bytes(SHIPPED.read_bytes())
    os.utime(weights, ns=(1, 1))
    assert read_network(weights)[0] == SHIPPED_WEIGHTS != first


def test_files_that_are_no_weights(tmp_path, weights):
    with pytest.raises(UsageError, match=r"The weights .*none cannot be read \(No such file"):
        read_network(tmp_path / "none")
    with pytest.raises(UsageError, match="are no file; give a file that softlabel-train denoiser"):
        read_network(tmp_path)
    (tmp_path / "broken").write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(UsageError, match=r"The file .*broken is damaged .*; give a file that"):
        read_network(tmp_path / "broken")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)  # sparse: no more is read of it than allowed
    with pytest.raises(UsageError, match=r"huge has more than \d+ bytes; give a file"):
        read_network(tmp_path / "huge")


def test_without_torch_the_run_does_not_begin(monkeypatch, tmp_path):
    def none():
        raise MissingExtraError("no torch")

    monkeypatch.setattr(module, "require_torch", none)
    factories.write_scenes(tmp_path / "data", "a")
    with pytest.raises(MissingExtraError):
        generate(tmp_path / "data", tmp_path / "c.h5", DNCNN)
    assert not (tmp_path / "c.h5").exists()


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_network_of_the_file_denoises_every_case(weights, tmp_path, jobs):
    factories.write_scenes(tmp_path / "data", "ab")
    report = generate(tmp_path / "data", tmp_path / "c.h5", DNCNN, weights=weights, jobs=jobs)
    assert report.complete
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    cache = open_cache(tmp_path / "c.h5")
    recorded = json.loads(cache.header.settings)["preprocess_options"]
    assert recorded == {"denoise": "dncnn", "weights": sha256}
    for case in cache.values():
        (record,) = case.preprocessing
        assert record.settings["weights"] == sha256
        before = case.original_image[...].astype(float)
        added = 0.2 * (before.max() - before.min())
        expected = (before + added).clip(before.min(), before.max())
        np.testing.assert_allclose(case.image[...], expected, atol=0.51)
    again = generate(tmp_path / "data", tmp_path / "c.h5", DNCNN, weights=weights)
    assert again.skipped == 2
    with pytest.raises(UsageError, match="weights"):
        generate(tmp_path / "data", tmp_path / "c.h5", DNCNN)
