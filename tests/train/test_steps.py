"""Steps before superpixels: raw scans go through those of the training, predictions come back."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image
from softlabel_train import predict as predict_module
from softlabel_train.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint
from softlabel_train.config import load_recipe
from softlabel_train.data import Intensity
from softlabel_train.evaluate import evaluate_run
from softlabel_train.loop import fit
from softlabel_train.predict import case_image, predict_images
from softlabel_train.prepare import find_cache, open_data
from softlabel_train.steps import apply_steps, scan_case, steps_of

from softlabel.cache import open_cache
from softlabel.errors import CaseError, UsageError
from softlabel.generation import Settings, generate
from softlabel.preprocess import DnCNN, DnCNNSettings, pack_network, restore
from softlabel.readers import READERS, list_dataset, read_case
from softlabel.readers.imagefiles import read_label_map
from softlabel.types import ClassTable

from .factories import QUICK, call, recipe_for, spoil_bscan

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


# --- brains ---------------------------------------------------------------------------------------

TINY_BRAINS = (
    "generate.resample_mm=[4, 4, 8]", "generate.n_segments=60",
    "model.options={channels: [4, 8, 8, 8, 8], num_res_units: 1}", "data.crop=[32, 32, 16]",
    "data.split.n_evaluation=1", "data.batch_size=2", "data.workers=0", "train.steps=2",
    "train.precision=32-true", "train.accelerator=cpu", "train.threads=1", "train.pictures=0",
    "evaluate.window=[32, 32, 16]", "evaluate.bootstrap=0",
)  # fmt: skip
"""mrbrains18 in seconds, with another size of voxels than the phantoms have."""


def run_process(*arguments):
    """A command in a process of its own; returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", *map(str, arguments)], capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def brains(tmp_path_factory):
    """Three small heads in the layout of MRBrainS18, with the masks of a skull-stripping tool."""
    folder = tmp_path_factory.mktemp("brains") / "data"
    run_process("softlabel", "phantom", "mri", folder, "--subjects", 3, "--size", "64,64,16")
    for labels in folder.glob("training/*/segm.nii.gz"):
        image = nib.load(labels)
        brain = np.asarray(image.dataobj) > 0
        nib.save(nib.Nifti1Image(brain.astype(np.uint8), image.affine), labels.parent / "brain.nii")
    return folder


@pytest.fixture(scope="module")
def brain_run(brains):
    """mrbrains18 on given masks, trained in a process of its own."""
    folder = brains.parent / "run"
    run_process(
        "softlabel_train", "fit", "mrbrains18", *TINY_BRAINS, "generate.brain_mask=given",
        "generate.preprocess_options.grow_mm=0", "data.format_options.masks=brain.nii",
        "--source", brains, "--cache", brains.parent / "c.h5", "-o", folder, "-q",
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def scans(brains):
    """The sequences of all subjects as a scanner's files, and their masks."""
    folder = brains.parent / "scans"
    folder.mkdir()
    (folder / "masks").mkdir()
    for subject in brains.glob("training/*"):
        for channel, name in enumerate(("FLAIR", "reg_T1", "reg_IR")):
            source = subject / "pre" / f"{name}.nii.gz"
            shutil.copy(source, folder / f"{subject.name}_{channel:04d}.nii.gz")
        shutil.copy(subject / "brain.nii", folder / "masks" / f"{subject.name}_mask.nii")
    return folder


@pytest.mark.slow
def test_a_brain_from_scan_to_scores_on_its_own_grid(brain_run, brains, scans):
    """Dice by hand, of the files that predict writes and the annotation as it was."""
    steps = load_checkpoint(brain_run / "last.pt").steps
    assert tuple(steps["resample_mm"]) == (4, 4, 8) and steps["brain_mask"] == "given"
    out = brains.parent / "out"
    run_process("softlabel_train", "predict", brain_run, scans, "--masks", scans / "masks",
                "-o", out, "-q")  # fmt: skip
    table = run_process("softlabel_train", "evaluate", brain_run, "-q")
    assert "cortical grey matter" in table and "Left out" not in table
    checkpoint = load_checkpoint(find_checkpoint(brain_run))
    names = dict(checkpoint.classes)
    (subject,) = checkpoint.split["evaluation"]
    with (brain_run / "evaluation/cases.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["metric"] == "dice" and r["label"] != "mean"]
    truth = nib.load(brains / f"training/{subject}/segm.nii.gz")
    found = nib.load(out / f"{subject}.nii.gz")
    assert found.shape == truth.shape
    np.testing.assert_allclose(found.affine, truth.affine)
    kept = ~np.isin(truth.get_fdata(), (9, 10))  # no class that is scored
    checked = 0
    for row in rows:
        value = next(v for v, n in names.items() if n == row["label"])
        a, b = ((image.get_fdata() == value) & kept for image in (found, truth))
        expected = 2 * (a & b).sum() / (a.sum() + b.sum()) if (a | b).any() else np.nan
        assert float(row["value"] or "nan") == pytest.approx(expected, nan_ok=True), row["label"]
        checked += np.isfinite(expected)
    assert checked >= 5


@pytest.mark.slow
def test_a_raw_brain_is_predicted_as_its_case_in_the_cache(brain_run, brains, scans, tmp_path):
    report = predict_images(
        brain_run / "last.pt", [scans], tmp_path / "raw", masks=scans / "masks", device="cpu"
    )
    assert not report.failures and len(report.written) == 3 and not report.notes
    predict_images(brain_run / "last.pt", [brains.parent / "c.h5"], tmp_path / "cached")
    for path in report.written:
        raw, cached = (nib.load(p) for p in (path, tmp_path / "cached" / path.name))
        np.testing.assert_array_equal(raw.get_fdata(), cached.get_fdata())
        np.testing.assert_allclose(raw.affine, cached.affine)
        assert raw.get_fdata().any()


@pytest.mark.slow
def test_masks_that_the_steps_need_are_asked_for(brain_run, scans, tmp_path, run):
    out = tmp_path / "out"
    asked = call("predict", brain_run, scans, "-o", out)
    assert asked.exit_code == 2 and "give those of the scans with --masks" in asked.output
    assert not out.exists()
    one = tmp_path / "one"
    one.mkdir()
    first = min((scans / "masks").iterdir())
    shutil.copy(first, one / first.name)
    some = call("predict", brain_run, scans, "-o", out, "--masks", one, "-q")
    assert some.exit_code == 1 and "1 file written" in some.output
    assert some.output.count("has no mask, or several, that its name matches") == 2
    cached = call("predict", brain_run, scans.parent / "c.h5", "-o", out, "--masks", one)
    assert cached.exit_code == 2 and "the cases of a cache have their own masks" in cached.output
    checkpoint = replace(load_checkpoint(run / "last.pt"), steps={})
    save_checkpoint(tmp_path / "plain.pt", checkpoint)
    Image.new("L", (144, 224)).save(tmp_path / "a.png")
    idle = call("predict", tmp_path / "plain.pt", tmp_path / "a.png", "-o", out, "--masks", one)
    assert idle.exit_code == 2 and "--masks has no meaning for this network" in idle.output


def test_masks_among_the_images_are_no_images(brain_run, scans, tmp_path):
    both = tmp_path / "both"
    shutil.copytree(scans, both, ignore=shutil.ignore_patterns("masks"))
    for mask in (scans / "masks").iterdir():
        shutil.copy(mask, both / mask.name)
    report = predict_images(
        brain_run / "last.pt", [both], tmp_path / "out", masks=both / "*_mask.nii"
    )
    assert not report.failures and len(report.written) == 3


def test_mrbrains18_works_on_the_data_set_as_it_is(brains, tmp_path):
    """Without brain masks; the fluid around the brain is a class, and stays."""
    recipe = load_recipe(
        "mrbrains18", [*TINY_BRAINS, f"data.source={brains}", f"data.cache={tmp_path / 'c.h5'}"]
    )
    found = find_cache(recipe)
    assert not found.left_out
    open_data(recipe, found.path)
    for case_id, case in open_cache(found.path).items():
        labels = nib.load(brains / f"training/{case_id}/segm.nii.gz").get_fdata()
        np.testing.assert_array_equal(case.original_labels[...], labels)
        back = restore(case.preprocessing, case.mask[...].astype(np.uint8), "labels")
        assert back[labels == 5].mean() > 0.95
        # after the step data.normalize has nothing to do
        own = Intensity.of([case.statistics])
        assert own.mean == pytest.approx((0, 0, 0), abs=1e-5)
        assert own.deviation == pytest.approx((1, 1, 1), abs=1e-5)
        np.testing.assert_allclose(case_image(case, None)[0], case.image[...], atol=1e-4)


@pytest.mark.slow
def test_a_mask_of_the_face_is_told(brains, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(brains, data)
    for mask in data.glob("training/*/brain.nii"):
        image = nib.load(mask)
        head = np.ones(image.shape, np.uint8)
        head[:, image.shape[1] // 2 :, : image.shape[2] // 2] = 0  # what a defacing tool keeps
        nib.save(nib.Nifti1Image(head, image.affine), mask)
    result = call(
        "fit", "mrbrains18", *TINY_BRAINS, "generate.brain_mask=given",
        "data.format_options.masks=brain.nii", "--source", data, "--cache", tmp_path / "c.h5",
        "-o", tmp_path / "run",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "[no-brain-mask] In 3 of 3 cases" in result.stderr
    assert "so it seems to be one of the face" in result.stderr


@pytest.mark.slow
def test_a_run_names_the_case_it_went_without(oct_data, tmp_path):
    data, folder = tmp_path / "data", tmp_path / "run"
    shutil.copytree(oct_data, data)
    case = spoil_bscan(data, 3, 2)
    command = ("fit", "smoke", *QUICK[:-1], "generate={n_segments: 120, flatten: pixel}",
               "--source", data, "--cache", tmp_path / "c.h5", "-o", folder)  # fmt: skip
    refused = call(*command)
    assert refused.exit_code == 2 and f"first of all {case}: " in refused.output
    assert not folder.exists()
    result = call(*command, "data.may_fail=0.2")
    assert result.exit_code == 0, result.output
    assert f"warning: 1 case could not be computed and is left out. {case}: " in result.stderr
    assert f"Left out, since they could not be computed (1):\n  {case}: " in result.stdout
    (told,) = json.loads((folder / "about.json").read_text())["left_out"]
    assert (told["id"], told["patient"]) == (case, "Subject_03")
    scored = call("evaluate", folder, "-q")
    assert scored.exit_code == 0 and f"(1):\n  {case}: " in scored.stdout
    content = json.loads((folder / "evaluation/scores.json").read_text())
    assert list(content["left_out"]) == [case] and content["cases"] == 5
    assert "Left out" not in call("evaluate", folder, "-q", "--part", "validation").stdout
    assert call(*command, "data.may_fail=0.5", "-q").exit_code == 0, "the same run goes on"
