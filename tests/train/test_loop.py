"""The loop: resuming, stopping, several processes, and what it says when it cannot go on."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from softlabel_train import loop
from softlabel_train.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from softlabel_train.config import load_recipe
from softlabel_train.evaluate import evaluate_run
from softlabel_train.loop import LoopState, TrainingError, fit

from softlabel.errors import UsageError

from .factories import SCRIPT, recipe_for


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


@pytest.mark.slow
@pytest.mark.parametrize("workers, epoch_steps", [(0, "null"), (1, "null"), (0, 5)])
def test_resuming_in_the_middle_of_an_epoch_changes_nothing(
    oct_cache, tmp_path, workers, epoch_steps, monkeypatch
):
    augment = "augment={flip: [0, 1], rotate_degrees: 5, noise: 0.1, brightness: 0.1}"
    # three training cases of one patient and batches of two: an epoch has two steps
    recipe = recipe_for(oct_cache, augment, f"data.workers={workers}", "data.batch_size=2",
                        "train.steps=7", "train.checkpoint_steps=1", "model.options.dropout=0.2",
                        "optimizer.patience=1", f"train.epoch_steps={epoch_steps}")  # fmt: skip
    fit(recipe, tmp_path / "whole", show=False)
    expected = [2, 4, 6, 7] if epoch_steps == "null" else [5, 7]
    assert [int(r["step"]) for r in rows(tmp_path / "whole") if r["validation_dice"]] == expected

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


@pytest.mark.slow
def test_rows_after_the_last_checkpoint_are_written_once(oct_cache, tmp_path):
    recipe = recipe_for(oct_cache, "train.steps=4", "train.checkpoint_steps=2")
    fit(recipe, tmp_path / "run", show=False)
    last = tmp_path / "run" / "last.pt"
    older = load_checkpoint(last)
    save_checkpoint(last, replace(older, loop=older.loop | {"step": 2}))
    fit(recipe, tmp_path / "run", show=False)
    assert [int(r["step"]) for r in rows(tmp_path / "run") if r["loss"]] == [1, 2, 3, 4]


@pytest.mark.slow
def test_a_finished_run_can_be_made_longer(oct_cache, tmp_path):
    fit(recipe_for(oct_cache, "train.steps=3"), tmp_path / "run", show=False)
    fit(recipe_for(oct_cache, "train.steps=6"), tmp_path / "run", show=False)
    fit(recipe_for(oct_cache, "train.steps=6"), tmp_path / "whole", show=False)
    # validations differ (the short run validated at its end), the weights do not
    assert same_weights(tmp_path / "run", tmp_path / "whole")


@pytest.mark.slow
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


def validations(folder):
    """Step and epoch of every validation."""
    return [(int(r["step"]), int(r["epoch"])) for r in rows(folder) if r["validation_dice"]]


VOLUMES = ("data.crop=[32, 32, 16]", "data.batch_size=1", "evaluate.window=[32, 32, 16]",
           "train.checkpoint_steps=1")  # fmt: skip


@pytest.mark.slow
def test_an_epoch_of_volumes_is_no_pass_over_the_patients(mri_cache, tmp_path):
    # one patient trains: a pass over the patients is a step
    recipe = recipe_for(mri_cache, *VOLUMES, "train.steps=3")
    assert recipe.epoch_steps(7) == 250 and recipe_for(mri_cache).epoch_steps(7) == 2
    fit(recipe, tmp_path / "default", show=False)
    assert validations(tmp_path / "default") == [(3, 0)], "at the end alone"
    fit(recipe_for(mri_cache, *VOLUMES, "train.steps=5", "train.epoch_steps=2"), tmp_path / "two",
        show=False)  # fmt: skip
    assert validations(tmp_path / "two") == [(2, 0), (4, 1), (5, 2)]


@pytest.mark.slow
def test_a_run_from_before_epoch_steps_goes_on_with_its_epochs(mri_cache, tmp_path):
    fit(recipe_for(mri_cache, *VOLUMES, "train.steps=1"), tmp_path / "run", show=False)
    last = tmp_path / "run" / "last.pt"
    content = torch.load(last, weights_only=True)
    recipe = json.loads(content["recipe"])
    del recipe["train"]["epoch_steps"], content["loop"]["epoch_steps"]
    torch.save(content | {"recipe": json.dumps(recipe)}, last)
    for steps in (3, 4):  # the second time from a checkpoint of today
        fit(recipe_for(mri_cache, *VOLUMES, f"train.steps={steps}"), tmp_path / "run", show=False)
    # one patient trains, one patch a batch: every step is an epoch, as it was
    assert validations(tmp_path / "run") == [(1, 0), (2, 1), (3, 2), (4, 3)]
    with pytest.raises(UsageError, match=r"train\.epoch_steps=None and now has .*=250"):
        fit(recipe_for(mri_cache, *VOLUMES, "train.epoch_steps=250"), tmp_path / "run", show=False)


@pytest.mark.slow
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

find_cache = loop.find_cache
def slow(*arguments, **options):
    for _ in range(2):
        with open("order", "a") as file:
            file.write(os.environ["RANK"] + " ")
        time.sleep(1)
    return find_cache(*arguments, **options)
loop.find_cache = slow
"""


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_means_of_loss_terms_are_taken_once():
    state = LoopState()
    state.add({"loss": 1.0})
    state.add({"loss": 3.0})
    assert state.take_means() == {"loss": 2.0} and state.take_means() == {}


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


def test_drawn_raters_and_the_penalty_train(rater_cache, tmp_path):
    recipe = recipe_for(rater_cache, "data.raters=sample", "loss.beta=0", "loss.nacl=0.1",
                        "train.steps=2", "train.log_steps=1")  # fmt: skip
    fit(recipe, tmp_path / "run", show=False)
    logged = [row for row in rows(tmp_path / "run") if row["loss"]]
    assert all(float(row["nacl"]) > 0 for row in logged)
    for row in logged:
        terms = float(row["ce"]) + 0.1 * float(row["nacl"]) + recipe.loss.alpha * float(row["dice"])
        assert float(row["loss"]) == pytest.approx(terms, rel=1e-5)
