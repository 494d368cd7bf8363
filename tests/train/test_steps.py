"""Steps before superpixels: raw scans go through those of the training, predictions come back."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from softlabel_train import predict as predict_module
from softlabel_train.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint
from softlabel_train.evaluate import evaluate_run
from softlabel_train.loop import fit
from softlabel_train.predict import predict_images
from softlabel_train.prepare import open_data
from softlabel_train.steps import apply_steps, scan_case, steps_of

from softlabel.cache import open_cache
from softlabel.errors import CaseError, UsageError
from softlabel.generation import Settings, generate
from softlabel.preprocess import DnCNN, DnCNNSettings, pack_network
from softlabel.readers import READERS, list_dataset, read_case
from softlabel.readers.imagefiles import read_label_map
from softlabel.types import ClassTable

from .factories import QUICK, call, recipe_for

STEPS = {"wedges": "fill", "denoise": "tv", "flatten": "pixel", "crop": "retina"}


@pytest.fixture(scope="module")
def cache(oct_data, tmp_path_factory):
    path = tmp_path_factory.mktemp("cache") / "oct.h5"
    report = generate(oct_data, path, Settings(n_segments=120, preprocess="oct"))
    assert report.complete, report.failures
    return path


@pytest.fixture(scope="module")
def run(cache, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "a"
    fit(recipe_for(cache, *QUICK, "evaluate.classes=null"), folder)
    return folder


@pytest.fixture(scope="module")
def cases(oct_data):
    """What the reader reads, by id."""
    dataset = list_dataset(oct_data)
    reader = READERS[dataset.format]
    return {
        ref.id: read_case(reader, dataset, ref, reader.open_source(dataset, ref.source))
        for ref in dataset.refs
    }


def test_a_checkpoint_knows_the_steps(run, cache, tmp_path):
    checkpoint = load_checkpoint(find_checkpoint(run))
    assert checkpoint.steps == STEPS == steps_of(open_cache(cache))
    content = torch.load(find_checkpoint(run), weights_only=True)
    assert (content["format_version"], json.loads(content["steps"])) == (2, STEPS)
    save_checkpoint(tmp_path / "a.pt", checkpoint)
    assert load_checkpoint(tmp_path / "a.pt").steps == STEPS


def test_a_raw_scan_is_predicted_as_its_case_in_the_cache(run, cache, cases, tmp_path):
    """Also their wedges, which the reader has masked already in the cases."""
    ids = list(cases)[:4]
    assert any(cases[i].mask is not None for i in ids)
    for case_id in ids:
        Image.fromarray(cases[case_id].image[0]).save(tmp_path / f"{case_id}.png")
    scans = [tmp_path / f"{case_id}.png" for case_id in ids]
    report = predict_images(run / "last.pt", scans, tmp_path / "raw", probabilities=True)
    assert not report.failures and ids
    assert all("states no spacing of pixels" in notes[0] for notes in report.notes.values())
    predict_images(run / "last.pt", [cache], tmp_path / "cached", probabilities=True)
    for case_id in ids:
        raw, cached = (
            read_label_map(tmp_path / folder / f"{case_id}.png").values
            for folder in ("raw", "cached")
        )
        assert raw.shape == cases[case_id].shape
        np.testing.assert_array_equal(raw, cached)
        with np.load(tmp_path / "raw" / f"{case_id}.probabilities.npz") as file:
            found = file["probabilities"]
            np.testing.assert_array_equal(file["class_values"][found.argmax(0)], raw)
        assert found.sum(0) == pytest.approx(1, abs=1e-4)


def test_what_is_predicted_lies_where_it_was(run, cases, monkeypatch, tmp_path):
    """A network that marks bright pixels marks those of the scan."""
    case = next(iter(cases.values()))
    Image.fromarray(case.image[0]).save(tmp_path / "scan.png")
    checkpoint = load_checkpoint(run / "last.pt")
    mean, deviation = checkpoint.intensity.mean[0], checkpoint.intensity.deviation[0]

    def bright(net, image, **options):
        shown = torch.round(image[0, 0] * deviation + mean) > 100
        return shown.to(torch.uint8)

    monkeypatch.setattr(predict_module, "predict_classes", bright)
    steps = {name: word for name, word in STEPS.items() if name != "denoise"}
    save_checkpoint(tmp_path / "a.pt", replace(checkpoint, steps=steps))
    (path,) = predict_images(tmp_path / "a.pt", [tmp_path / "scan.png"], tmp_path / "out").written
    found = read_label_map(path).values == 1
    rows = np.flatnonzero(((case.truth > 0) & (case.truth < 8)).any(axis=1))
    retina = np.zeros(case.shape, bool)
    retina[rows[0] : rows[-1]] = case.mask[rows[0] : rows[-1]]
    np.testing.assert_array_equal(found[retina], (case.image[0] > 100)[retina])


def test_scores_are_those_of_the_grid_of_the_scanner(run, cache, cases, tmp_path):
    """Dice by hand, of the files that predict writes and the labels that the reader reads."""
    scores = evaluate_run(run, checkpoint="last.pt").scores
    predict_images(run / "last.pt", [cache], tmp_path / "out")
    names = dict(open_cache(cache).classes)
    checked = 0
    for score in scores:
        if score.metric != "dice" or score.label not in names.values():
            continue
        value = next(v for v, n in names.items() if n == score.label)
        labels = cases[score.case].labels
        found = read_label_map(tmp_path / "out" / f"{score.case}.png").values
        a, b = (found == value) & (labels != 255), labels == value
        expected = 2 * (a & b).sum() / (a.sum() + b.sum()) if (a | b).any() else np.nan
        assert score.value == pytest.approx(expected, nan_ok=True), (score.case, score.label)
        checked += 1
    assert checked > 8


def test_caches_of_other_steps_are_refused(run, oct_cache, cache, tmp_path):
    sentence = "oct.h5 was made with the preprocessing none, and the checkpoint .* with wedges=fill"
    with pytest.raises(UsageError, match=sentence):
        predict_images(run / "last.pt", [oct_cache], tmp_path / "out")
    with pytest.raises(UsageError, match=sentence):
        evaluate_run(run, cache=oct_cache)


def test_a_recipe_that_asks_for_other_steps_than_the_cache_has(cache, oct_cache):
    preset = ["generate.preprocess=oct"]
    assert not open_data(recipe_for(cache, *preset), cache).warnings
    (warning,) = open_data(recipe_for(oct_cache, *preset), oct_cache).warnings
    assert "was made with preprocess_options={}; the recipe says {'wedges': 'fill'" in warning


def test_a_scan_without_a_retina_is_named(run, tmp_path):
    noise = np.random.default_rng(0).integers(0, 200, (224, 144)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "flat.png")
    report = predict_images(run / "last.pt", [tmp_path / "flat.png"], tmp_path / "out")
    assert "flat (flat.png): step flatten: no retina" in report.failures["flat"]


def test_notes_and_spacing_on_the_command_line(run, cases, tmp_path):
    case = next(iter(cases.values()))
    Image.fromarray(case.image[0]).save(tmp_path / "scan.png")
    arguments = ("predict", run, tmp_path / "scan.png", "-o", tmp_path / "out")
    assert "Warning: scan: scan.png states no spacing" in call(*arguments).stderr
    given = call(*arguments, "--spacing-mm", "0.00387,0.01133")
    assert given.exit_code == 0 and "Warning" not in given.stderr
    wrong = call(*arguments, "--spacing-mm", "wide")
    assert wrong.exit_code == 2 and "--spacing-mm is 'wide'; give positive numbers" in wrong.stderr


def test_brain_masks_made_from_labels_are_refused():
    image = np.zeros((1, 8, 8), np.float32)
    table = ClassTable((0, 1), ("background", "brain"))
    case = scan_case("a", "a.nii", image, table, None, None, None, None)
    with pytest.raises(CaseError, match="trained on brain masks made from labels"):
        apply_steps(case, {"brain_mask": "labels"})


def test_scans_are_denoised_by_the_weights_of_the_training(run, cases, tmp_path):
    pytest.importorskip("safetensors")
    network = DnCNNSettings(3, 1, None, "range", "nothing")
    layers = [(np.zeros(s, np.float32), np.zeros(s[0], np.float32)) for s in network.kernel_shapes]
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(pack_network(DnCNN(network, tuple(layers))))
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    steps = {"denoise": "dncnn", "weights": sha256}
    checkpoint = load_checkpoint(run / "last.pt")
    save_checkpoint(tmp_path / "a.pt", replace(checkpoint, steps=steps))
    assert load_checkpoint(tmp_path / "a.pt").steps == steps
    Image.fromarray(next(iter(cases.values())).image[0]).save(tmp_path / "scan.png")
    arguments = ("predict", tmp_path / "a.pt", tmp_path / "scan.png", "-o", tmp_path / "out")
    result = call(*arguments)
    assert result.exit_code == 2 and "give their file as --weights" in result.output
    assert not (tmp_path / "out").exists()
    done = call(*arguments, "--weights", weights)
    assert done.exit_code == 0, done.output
    # a network that finds no noise is no step at all
    save_checkpoint(tmp_path / "b.pt", replace(checkpoint, steps={}))
    predict_images(tmp_path / "b.pt", [tmp_path / "scan.png"], tmp_path / "plain")
    found, plain = ((tmp_path / f / "scan.png").read_bytes() for f in ("out", "plain"))
    assert found == plain
