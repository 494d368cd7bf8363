"""A small data set of OCT with two graders, written once, and folders of label maps of it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from softlabel.phantom import write_oct_dataset
from softlabel.readers import READERS, list_dataset, read_case

BSCAN_MM = 7.5 / 6


@pytest.fixture(scope="session")
def duke(tmp_path_factory):
    """One subject of 6 B-scans, of which 3 were annotated by two graders."""
    folder = tmp_path_factory.mktemp("duke") / "oct"
    write_oct_dataset(folder, n_subjects=1, seed=5, shape=(256, 128, 6), n_annotated=3)
    return folder


@pytest.fixture(scope="session")
def cases(duke):
    """What the reader makes of it, by id."""
    dataset = list_dataset(duke)
    reader = READERS["duke"]
    opened = reader.open_source(dataset, dataset.refs[0].source)
    return {ref.id: read_case(reader, dataset, ref, opened) for ref in dataset.refs}


@pytest.fixture
def predictions(cases, tmp_path):
    """Label maps as ``softlabel-train predict`` writes them: the truth, one row too deep."""
    folder = tmp_path / "predicted"
    folder.mkdir()
    for case_id, case in cases.items():
        values = np.vstack([case.truth[:1], case.truth[:-1]]).astype(np.uint8)
        Image.fromarray(values).save(folder / f"{case_id}.png")
    np.savez(folder / f"{case_id}.probabilities.npz", probabilities=np.zeros((2, 3)))
    return folder
