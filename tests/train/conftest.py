"""Small caches and trained runs that the tests of the trainer share, made once a session."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from softlabel_train.loop import fit

from softlabel.generation.run import generate
from softlabel.generation.settings import Settings
from softlabel.phantom import write_mri_dataset, write_oct_dataset

from .factories import recipe_for


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def oct_data(tmp_path_factory) -> Path:
    """Four phantom patients of three B-scans each, in the Duke format."""
    folder = tmp_path_factory.mktemp("data") / "oct"
    write_oct_dataset(folder, n_subjects=4, seed=1, shape=(224, 144, 4), n_annotated=3)
    return folder


@pytest.fixture(scope="session")
def oct_cache(oct_data, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("cache") / "oct.h5"
    report = generate(oct_data, path, Settings(n_segments=120))
    assert report.complete and report.cases == 12
    return path


@pytest.fixture(scope="session")
def rater_cache(oct_data, tmp_path_factory) -> Path:
    """The same B-scans by both graders, without softening."""
    path = tmp_path_factory.mktemp("cache") / "raters.h5"
    raters = {"raters": "grader1,grader2"}
    report = generate(oct_data, path, Settings(method="hard"), format_options=raters)
    assert report.complete and report.cases == 12
    return path


@pytest.fixture(scope="session")
def mri_cache(tmp_path_factory) -> Path:
    """Three small brains with three channels and eleven labels."""
    folder = tmp_path_factory.mktemp("data") / "mri"
    write_mri_dataset(folder, n_subjects=3, seed=1, shape=(64, 64, 16))
    path = tmp_path_factory.mktemp("cache") / "mri.h5"
    report = generate(folder, path, Settings(n_segments=150))
    assert report.complete and report.cases == 3
    return path


@pytest.fixture(scope="session")
def pairs_data(tmp_path_factory) -> Path:
    """PNG pairs of different sizes with label values 0, 128 and 255 (see the readers)."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("data") / "pairs"
    rng = np.random.default_rng(0)
    for name, shape in {"a": (40, 50), "b": (37, 64), "c": (52, 33)}.items():
        rows, columns = np.indices(shape)
        labels = 128 * (rows + 3 * np.sin(columns / 5) > shape[0] / 2)
        labels[rows > shape[0] * 0.8] = 255
        image = np.clip(labels / 2 + rng.normal(60, 15, shape), 0, 255)
        for kind, array in (("images", image), ("labels", labels)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(folder / kind / f"{name}.png")
    return folder


@pytest.fixture(scope="session")
def pairs_cache(pairs_data, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("cache") / "pairs.h5"
    report = generate(pairs_data, path, Settings(n_segments=60))
    assert report.complete and report.cases == 3
    return path


@pytest.fixture(scope="session")
def run(oct_cache, tmp_path_factory) -> Path:
    """A network trained on :func:`oct_cache`; tests may evaluate it, and change nothing else."""
    folder = tmp_path_factory.mktemp("runs") / "oct"
    fit(recipe_for(oct_cache, "evaluate.against=[labels, truth, grader2]", "evaluate.unit=mm"),
        folder, show=False)  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def mri_run(mri_cache, tmp_path_factory) -> Path:
    """The same on :func:`mri_cache`, in patches and windows."""
    folder = tmp_path_factory.mktemp("runs") / "mri"
    recipe = recipe_for(
        mri_cache, "data.crop=[32, 32, 16]", "data.batch_size=2", "train.steps=2",
        "data.normalize=case", "evaluate.window=[32, 32, 16]",
    )  # fmt: skip
    fit(recipe, folder, show=False)
    return folder
