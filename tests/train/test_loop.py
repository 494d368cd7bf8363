"""The loop: resuming, stopping, several processes, and what it says when it cannot go on."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import pytest
import torch
from softlabel_train import loop
from softlabel_train.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from softlabel_train.config import load_recipe
from softlabel_train.evaluate import evaluate_run
from softlabel_train.loop import LoopState, TrainingError, fit, memory_advice
from softlabel_train.memory import OutOfMemory, explain_memory
from softlabel_train.prepare import find_cache, generated_path, open_data

from softlabel.cache import open_cache
from softlabel.errors import CacheError, UsageError


def recipe_for(cache, *overrides):
    return load_recipe(
        "smoke", [f"data.cache={cache}", "generate={}", "train.threads=1", "train.pictures=0",
                  *overrides]
    )  # fmt: skip


def rows(folder):
    with (Path(folder) / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def same_weights(a, b):
    left, right = (load_checkpoint(Path(x) / "last.pt").model for x in (a, b))
    return all(torch.equal(left[k], right[k]) for k in left)


def test_a_run_leaves_everything_behind(oct_cache, tmp_path):
    result = fit(recipe_for(oct_cache, "train.pictures=1"), tmp_path / "run", show=False)
    assert result.steps == 6 and not result.interrupted and result.best_score > 0
    run = tmp_path / "run"
    assert {"last.pt", "best.pt", "metrics.csv", "recipe.yaml", "about.json", "result.json",
            "tensorboard", "pictures"} <= {p.name for p in run.iterdir()}  # fmt: skip
    about = json.loads((run / "about.json").read_text())
    assert about["software"]["torch"] == torch.__version__
    assert set(about["split"]["train_groups"]).isdisjoint(about["split"]["validation_groups"])
    assert (
        load_recipe(run / "recipe.yaml").flat() == recipe_for(oct_cache, "train.pictures=1").flat()
    )
    trained = [r for r in rows(run) if r["loss"]]
    assert [int(r["step"]) for r in trained] == list(range(1, 7))
    for r in trained:
        assert float(r["loss"]) == pytest.approx(float(r["ce"]) + float(r["kl"]), rel=1e-6)
    assert list((run / "pictures").glob("step_*.png"))
    assert load_checkpoint(run / "last.pt").loop["step"] == 6


@pytest.mark.parametrize("workers", [0, 1])
def test_resuming_in_the_middle_of_an_epoch_changes_nothing(
    oct_cache, tmp_path, workers, monkeypatch
):
    augment = "augment={flip: [0, 1], rotate_degrees: 5, noise: 0.1, brightness: 0.1}"
    # three training cases of one patient and batches of two: an epoch has two steps
    recipe = recipe_for(oct_cache, augment, f"data.workers={workers}", "data.batch_size=2",
                        "train.steps=7", "train.checkpoint_steps=1", "model.options.dropout=0.2",
                        "optimizer.patience=1")  # fmt: skip
    fit(recipe, tmp_path / "whole", show=False)

    real, calls = loop.save_checkpoint, []

    def die_after_three(path, checkpoint):
        real(path, checkpoint)
        calls.append(path.name)
        if calls.count("last.pt") == 3:
            raise RuntimeError("power cut")

    monkeypatch.setattr(loop, "save_checkpoint", die_after_three)
    with pytest.raises(RuntimeError, match="power cut"):
        fit(recipe, tmp_path / "parts", show=False)
    assert load_checkpoint(tmp_path / "parts" / "last.pt").loop["step"] == 3
    monkeypatch.setattr(loop, "save_checkpoint", real)
    result = fit(recipe, tmp_path / "parts", show=False)

    assert result.steps == 7
    assert same_weights(tmp_path / "whole", tmp_path / "parts")
    whole, parts = (
        [{k: v for k, v in r.items() if k != "images_per_second"} for r in rows(tmp_path / n)]
        for n in ("whole", "parts")
    )
    assert whole == parts
    states = [load_checkpoint(tmp_path / n / "last.pt").loop for n in ("whole", "parts")]
    assert states[0] | {"seconds": 0} == states[1] | {"seconds": 0}


def test_every_step_of_every_process_has_numbers_of_its_own():
    drawn = {}
    for given in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2**40, 10**7, 3)]:
        loop.seed_step(*given)
        drawn[given] = torch.rand(4)
        loop.seed_step(*given)
        assert torch.equal(torch.rand(4), drawn[given])
    assert len({tuple(values.tolist()) for values in drawn.values()}) == len(drawn)


def test_rows_after_the_last_checkpoint_are_written_once(oct_cache, tmp_path):
    recipe = recipe_for(oct_cache, "train.steps=4", "train.checkpoint_steps=2")
    fit(recipe, tmp_path / "run", show=False)
    last = tmp_path / "run" / "last.pt"
    older = load_checkpoint(last)
    save_checkpoint(last, replace(older, loop=older.loop | {"step": 2}))
    fit(recipe, tmp_path / "run", show=False)
    assert [int(r["step"]) for r in rows(tmp_path / "run") if r["loss"]] == [1, 2, 3, 4]


def test_a_finished_run_can_be_made_longer(oct_cache, tmp_path):
    fit(recipe_for(oct_cache, "train.steps=3"), tmp_path / "run", show=False)
    fit(recipe_for(oct_cache, "train.steps=6"), tmp_path / "run", show=False)
    fit(recipe_for(oct_cache, "train.steps=6"), tmp_path / "whole", show=False)
    # validations differ (the short run validated at its end), the weights do not
    assert same_weights(tmp_path / "run", tmp_path / "whole")


SCRIPT = """
import sys
from softlabel_train.config import load_recipe
from softlabel_train.evaluate import evaluate_run
from softlabel_train.loop import fit
result = fit(load_recipe(sys.argv[1]), sys.argv[2])
print("interrupted" if result.interrupted else "finished", result.steps)
"""


@pytest.mark.parametrize("ask, to_all, devices", [
    (signal.SIGINT, True, 1),
    (signal.SIGTERM, False, 1),
    (signal.SIGTERM, True, 1),  # as a cluster's scheduler does it
    (signal.SIGTERM, False, 2),
    (signal.SIGTERM, True, 2),  # which the processes that train get a second time from their parent
])  # fmt: skip
def test_a_signal_saves_and_the_same_again_goes_on(oct_cache, tmp_path, ask, to_all, devices):
    recipe = recipe_for(oct_cache, "train.steps=400", "train.checkpoint_steps=1000",
                        "train.validate_epochs=1000", "data.workers=1",
                        f"train.devices={devices}")  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe.model_dump(mode="json")))
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "recipe.yaml"), str(tmp_path / "run")]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        # a shell that runs the tests in the background has them ignore Ctrl-C, and their children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    metrics = tmp_path / "run" / "metrics.csv"
    deadline = time.time() + 120
    while time.time() < deadline and not (metrics.is_file() and len(metrics.read_text()) > 400):
        time.sleep(0.1)
        assert process.poll() is None, process.stderr.read()
    os.killpg(process.pid, ask) if to_all else process.send_signal(ask)
    out, err = process.communicate(timeout=120)
    assert out.startswith("interrupted"), err
    assert "Traceback" not in err, err
    step = load_checkpoint(tmp_path / "run" / "last.pt").loop["step"]
    assert 0 < step < 400 and int(out.split()[1]) == step
    longer = recipe_for(oct_cache, f"train.steps={step + 1}", "train.checkpoint_steps=1000",
                        "train.validate_epochs=1000")  # fmt: skip
    assert fit(longer, tmp_path / "run", show=False).steps == step + 1


def test_the_rate_falls_after_epochs_without_a_better_score(oct_cache, tmp_path, monkeypatch):
    scores = iter([0.1, 0.3, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4])
    monkeypatch.setattr(loop, "validate", lambda *a, **k: (next(scores), {}))
    # three cases in batches of three: an epoch is a step
    recipe = recipe_for(oct_cache, "data.batch_size=3", "train.steps=8", "optimizer.patience=2",
                        "optimizer.factor=0.5", "optimizer.lr=0.008")  # fmt: skip
    result = fit(recipe, tmp_path / "run", show=False)
    lrs = [float(r["lr"]) for r in rows(tmp_path / "run") if r["loss"]]
    # epochs 3 and 4 are not better than the second: halved for the fifth, and again for the eighth
    assert lrs == [0.008] * 4 + [0.004] * 3 + [0.002]
    assert (result.best_score, result.best_step) == (0.4, 5)
    assert load_checkpoint(tmp_path / "run" / "best.pt").loop["step"] == 5


def test_two_processes_equal_one(oct_cache, tmp_path):
    options = ["data.batch_size=4", "train.steps=4", "loss.alpha=0.5", "loss.reduction=weights",
               "optimizer.name=sgd", "optimizer.lr=0.05", "optimizer.clip_norm=1"]  # fmt: skip
    fit(recipe_for(oct_cache, *options), tmp_path / "one", show=False)
    fit(recipe_for(oct_cache, *options, "train.devices=2"), tmp_path / "two", show=False)
    one, two = (load_checkpoint(tmp_path / n / "last.pt").model for n in ("one", "two"))
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-5)
    for a, b in zip(rows(tmp_path / "one"), rows(tmp_path / "two"), strict=True):
        for column in ("loss", "ce", "dice", "kl", "validation_dice"):
            if a[column]:
                assert float(a[column]) == pytest.approx(float(b[column]), rel=1e-4), column


ONE_AFTER_THE_OTHER = """
import os, time
from softlabel_train import loop
prepare = loop._prepare
def slow(*arguments):
    for _ in range(2):
        with open("order", "a") as file:
            file.write(os.environ["RANK"] + " ")
        time.sleep(1)
    return prepare(*arguments)
loop._prepare = slow
"""


def test_processes_that_torchrun_started_share_a_run(oct_cache, tmp_path):
    options = ["train.steps=3", "optimizer.name=sgd", "optimizer.lr=0.05"]
    fit(recipe_for(oct_cache, *options), tmp_path / "one", show=False)
    (tmp_path / "two").mkdir()
    recipe = recipe_for(oct_cache, *options, "train.devices=2").model_dump(mode="json")
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    (tmp_path / "run.py").write_text(ONE_AFTER_THE_OTHER + SCRIPT)
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
        "run.py", "recipe.yaml", "two",
    ]  # fmt: skip
    for _ in range(2):  # the second finds everything done
        (tmp_path / "order").unlink(missing_ok=True)
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, done.stderr
        # two processes write to one pipe, at times into each other's line
        assert done.stdout.count("finished") == done.stdout.count("3") == 2, done.stdout
        assert (tmp_path / "order").read_text().split() == ["0", "0", "1", "1"]
    one, two = (load_checkpoint(tmp_path / n / "last.pt").model for n in ("one", "two"))
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-5)


def test_a_process_without_a_validation_case_does_not_wait_for_ever(pairs_cache, tmp_path):
    # one case trains and one validates; the network has buffers, which processes exchange, and
    # parameters that no output depends on
    recipe = recipe_for(
        pairs_cache, "train.devices=2", "train.steps=2", "data.batch_size=2", "data.crop=[32, 32]",
        "model.architecture=pspnet", "model.encoder=resnet18", "model.options={}",
    )  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe.model_dump(mode="json")))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "recipe.yaml"), str(tmp_path / "run")],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.stdout == "finished 2\n", done.stderr
    assert json.loads((tmp_path / "run" / "result.json").read_text())["best_score"] is not None


def test_mixed_precision_on_the_cpu(oct_cache, tmp_path):
    result = fit(recipe_for(oct_cache, "train.precision=bf16-mixed", "train.steps=2"),
                 tmp_path / "run", show=False)  # fmt: skip
    assert result.steps == 2


def test_volumes_train_in_patches_and_validate_in_windows(mri_cache, tmp_path):
    recipe = recipe_for(
        mri_cache, "data.crop=[32, 32, 16]", "data.batch_size=2", "train.steps=2", "loss.alpha=1",
        "evaluate.window=[32, 32, 16]", "augment={flip: [0], rotate_degrees: 5}",
        "data.balance=0.5",
    )  # fmt: skip
    assert fit(recipe, tmp_path / "run", show=False).best_score is not None


def test_a_loss_that_is_not_a_number_names_the_cases(oct_cache, tmp_path):
    recipe = recipe_for(oct_cache, "optimizer.lr=1e30", "optimizer.name=sgd", "train.steps=20")
    with pytest.raises(
        TrainingError, match=r"not a finite number at step \d+ \(loss .*Subject_0"
    ) as info:
        fit(recipe, tmp_path / "run", show=False)
    assert "optimizer.clip_norm" in str(info.value)


@pytest.mark.parametrize("clip", ["null", "1.0"])
def test_gradients_that_overflow_stop_the_run_before_the_weights_do(
    oct_cache, tmp_path, monkeypatch, clip
):
    real, steps = loop.gradient_norm, []

    def overflow(fabric, model, optimizer, largest):
        steps.append(1)
        if len(steps) == 3:
            next(model.parameters()).grad.fill_(float("inf"))
        return real(fabric, model, optimizer, largest)

    monkeypatch.setattr(loop, "gradient_norm", overflow)
    recipe = recipe_for(oct_cache, f"optimizer.clip_norm={clip}", "train.checkpoint_steps=1")
    with pytest.raises(
        TrainingError, match=r"gradient \(norm inf\) is not a finite number at step 2"
    ):
        fit(recipe, tmp_path / "run", show=False)
    last = load_checkpoint(tmp_path / "run" / "last.pt")
    assert last.loop["step"] == 2
    assert all(torch.isfinite(v).all() for v in last.model.values())


def test_the_norm_is_that_of_the_whole_gradient(oct_cache, tmp_path, monkeypatch):
    seen = []
    real = loop.gradient_norm

    def spy(fabric, model, optimizer, largest):
        whole = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        norm = real(fabric, model, optimizer, largest)
        clipped = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        seen.append((float(whole.norm()), float(norm), float(clipped.norm())))
        return norm

    monkeypatch.setattr(loop, "gradient_norm", spy)
    for clip in ("null", "0.01"):
        fit(recipe_for(oct_cache, f"optimizer.clip_norm={clip}", "train.steps=1"),
            tmp_path / clip, show=False)  # fmt: skip
    (whole, norm, after), (whole_2, norm_2, after_2) = seen
    assert norm == pytest.approx(whole, rel=1e-5) and after == pytest.approx(whole)
    assert norm_2 == pytest.approx(whole_2, rel=1e-5) and after_2 == pytest.approx(0.01, rel=1e-3)


def test_memory_that_runs_out_says_what_to_lower(oct_cache):
    recipe = recipe_for(oct_cache)
    for error in (
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ):
        lower = r"Lower data\.batch_size \(now 4\) or data\.crop"
        with pytest.raises(OutOfMemory, match=lower), explain_memory(memory_advice(recipe)):
            raise error
    with pytest.raises(RuntimeError, match="another thing"), explain_memory("advice"):
        raise RuntimeError("another thing")


@pytest.mark.parametrize("override, what", [
    ("data.classes=4", r"has 10 classes and the recipe smoke expects 4"),
    ("data.channels=3", r"has 1 channels and the recipe smoke expects 3"),
    ("data.split={kind: kfold, folds: 9}", "folds is 9 and there are 4 patients"),
    ("data.crop=[8, 8, 8]", "2 spatial axes"),
    ("evaluate.window=[64]", r"evaluate\.window is \[64\] .* 2 spatial axes; give 2 numbers"),
    ("augment.flip=[2]", r"augment\.flip names the axis 2 .* axes, 0 to 1"),
    ("evaluate.classes=[77]", r"label values \[77\], which the data do not have"),
    ("generate={method: gaussian}", r"method superpixel and the recipe asks for .*gaussian"),
    ("train.devices=3", "batch_size is 4, which 3 processes"),
    ("train.precision=16-mixed", "needs CUDA"),
    ("model.architecture=unetplus", "no architecture 'unetplus'"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(oct_cache, tmp_path, override, what):
    with pytest.raises(UsageError, match=what):
        fit(recipe_for(oct_cache, override), tmp_path / "run", show=False)


def test_no_cuda_when_asked_for(oct_cache, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match=r"sees no CUDA device.*set train\.accelerator=cpu"):
        fit(recipe_for(oct_cache, "train.accelerator=cuda"), tmp_path / "run", show=False)


def test_a_damaged_cache_names_the_file(oct_cache, tmp_path):
    shutil.copy(oct_cache, tmp_path / "oct.h5")
    shutil.copytree(oct_cache.with_suffix(".parts"), tmp_path / "oct.parts")
    with open_cache(tmp_path / "oct.h5") as cache:
        data = open_data(recipe_for(tmp_path / "oct.h5"), tmp_path / "oct.h5")
        path = cache[data.split.train[0]].path
    with h5py.File(path, locking=False) as file:
        offset = file["case/soft"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[offset + 20] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CacheError, match=path.name):
        fit(recipe_for(tmp_path / "oct.h5", "data.crop=null"), tmp_path / "run", show=False)


def test_a_run_folder_of_another_recipe_is_refused(oct_cache, tmp_path):
    fit(recipe_for(oct_cache, "train.steps=1"), tmp_path / "run", show=False)
    with pytest.raises(UsageError, match=r"loss\.beta=1\.0 and now has loss\.beta=2\.0"):
        fit(recipe_for(oct_cache, "loss.beta=2"), tmp_path / "run", show=False)
    fit(recipe_for(oct_cache, "loss.beta=2", "train.steps=1"), tmp_path / "run", overwrite=True,
        show=False)  # fmt: skip
    assert load_checkpoint(tmp_path / "run" / "last.pt").recipe.loss.beta == 2
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match="something else than a run"):
        fit(recipe_for(oct_cache), tmp_path / "other", show=False)


def test_a_checkpoint_of_another_network_and_a_truncated_one(oct_cache, tmp_path):
    fit(recipe_for(oct_cache, "train.steps=1"), tmp_path / "run", show=False)
    last = tmp_path / "run" / "last.pt"
    found = load_checkpoint(last)
    wrong = {k: v[:1] if v.ndim else v for k, v in found.model.items()}
    save_checkpoint(last, replace(found, model=wrong))
    with pytest.raises(CheckpointError, match="of another network"):
        fit(recipe_for(oct_cache), tmp_path / "run", show=False)
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="truncated"):
        fit(recipe_for(oct_cache), tmp_path / "run", show=False)


def test_the_cache_is_generated_when_it_is_missing(oct_data, tmp_path):
    recipe = load_recipe(
        "smoke", [f"data.source={oct_data}", f"data.cache_folder={tmp_path}",
                  "generate.n_segments=50"]
    )  # fmt: skip
    path = find_cache(recipe)
    assert path == generated_path(recipe) and len(open_cache(path)) == 12
    before = path.stat().st_mtime_ns
    assert find_cache(recipe) == path
    other = load_recipe(
        "smoke", [f"data.source={oct_data}", f"data.cache_folder={tmp_path}", "arm=gaussian"]
    )
    assert generated_path(other) != path
    assert before
    with pytest.raises(UsageError, match="names no data"):
        find_cache(load_recipe("smoke"))
    with pytest.raises(UsageError, match="does not exist"):
        find_cache(load_recipe("smoke", ["data.cache=nowhere.h5"]))


def test_settings_that_differ_are_told(oct_cache):
    data = open_data(recipe_for(oct_cache, "generate={n_segments: 99}"), oct_cache)
    assert data.warnings and "n_segments=120; the recipe says 99" in data.warnings[0]
    data = open_data(recipe_for(oct_cache, "generate={superpixel_size: 60}"), oct_cache)
    assert len(data.warnings) == 1
    assert "made with n_segments=120; the recipe says superpixel_size=60" in data.warnings[0]
    assert not open_data(recipe_for(oct_cache), oct_cache).warnings


def test_means_of_loss_terms_are_taken_once():
    state = LoopState()
    state.add({"loss": 1.0})
    state.add({"loss": 3.0})
    assert state.take_means() == {"loss": 2.0} and state.take_means() == {}


def test_a_cache_that_could_not_be_finished_is_not_trained_on(oct_data, tmp_path, monkeypatch):
    from softlabel_train import prepare

    real = prepare.generate

    def half(*arguments, **options):
        report = real(*arguments, **options, limit=2)
        return replace(report, remaining=10, warnings=("A worker died.",))

    monkeypatch.setattr(prepare, "generate", half)
    recipe = load_recipe("smoke", [f"data.source={oct_data}", f"data.cache_folder={tmp_path}"])
    with pytest.raises(UsageError, match=r"10 cases remain\. A worker died\."):
        find_cache(recipe)


def test_real_scans_train_and_are_scored(tmp_path):
    root = os.environ.get("SOFTLABEL_REAL_DATA") or Path(__file__).parents[3] / "shared" / "data"
    source = Path(root) / "oct_zeiss_onh"
    if not source.is_dir():
        pytest.skip("no real scans here (SOFTLABEL_REAL_DATA names their folder)")
    recipe = load_recipe(
        "smoke", [f"data.source={source}", f"data.cache_folder={tmp_path / 'caches'}",
                  "data.format_options={images: img, labels: mask}", "train.steps=2",
                  "evaluate.classes=[0, 30, 60, 90, 120, 150, 180, 210]"]
    )  # fmt: skip
    assert fit(recipe, tmp_path / "run", show=False).steps == 2
    found = evaluate_run(tmp_path / "run")
    # background is the last class of these scans; every other one is scored
    assert {s.label for s in found.scores} >= {"label 0", "label 210"}
    assert "label 240" not in {s.label for s in found.scores}
