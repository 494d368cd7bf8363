"""The band by Triton against the plain tensor code, on a card or in Triton's interpreter."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import triton_runs

torch = pytest.importorskip("torch")
triton = pytest.importorskip("triton")

from softlabel.distance.boundary import BOUNDARIES  # noqa: E402
from softlabel.softening.superpixel import SuperpixelOptions, metric_of  # noqa: E402
from softlabel.softening.tensor import band as band_module  # noqa: E402
from softlabel.softening.tensor import batch as batch_module  # noqa: E402
from softlabel.softening.tensor import triton_distance, triton_values  # noqa: E402
from softlabel.softening.tensor import values as values_module  # noqa: E402
from softlabel.softening.tensor.batch import soften_batch  # noqa: E402
from softlabel.softening.tensor.distance import costs_within  # noqa: E402
from softlabel.softening.tensor.images import soften_images  # noqa: E402
from softlabel.types import ClassTable  # noqa: E402

TABLE = ClassTable.from_values(range(4))
DEVICE = torch.device(triton_runs.DEVICE)
HERE = Path(__file__)


def scene(shape, seed=0, edge=5):
    """Wavy bands with ignored pixels, in cells with holes."""
    rng = np.random.default_rng(seed)
    where = np.indices(shape)
    height = where[0] + 2 * np.sin(where[-1] / 3 + seed)
    index = np.clip(height * 4 // shape[0], 0, 3).astype(np.uint8)
    index[rng.random(shape) < 0.04] = 255
    ids = np.ravel_multi_index(tuple(where // edge), [n // edge + 1 for n in shape])
    return index, np.where(rng.random(shape) < 0.04, -1, ids).astype(np.int32)


def batch_of(shape, count=2, edge=5):
    indices, ids = zip(*(scene(shape, seed, edge) for seed in range(count)), strict=True)
    padded = (count, *(1,) * (3 - len(shape)), *shape)
    return tuple(
        torch.from_numpy(np.stack(part)).view(padded).to(DEVICE) for part in (indices, ids)
    )


# --- in this process ------------------------------------------------------------------------------


@triton_runs.here
@pytest.mark.parametrize(
    ("shape", "spacing", "in_plane", "boundary"),
    [
        ((19,), (1.0,), False, "inner"),
        *(((10, 13), (1.0, 1.0), False, boundary) for boundary in sorted(BOUNDARIES)),
        ((10, 13), (0.7, 1.9), False, "edge"),
        *(((4, 5, 7), (1.0, 1.0, 1.0), False, boundary) for boundary in ("outer", "edge")),
        ((4, 5, 7), (3.0, 1.0, 1.0), True, "inner"),
        ((4, 5, 7), (3.0, 0.9, 1.1), False, "inner"),
        ((4, 5, 7), (3.0, 0.9, 1.1), False, "edge"),
    ],
)
def test_soft_maps_are_those_of_the_tensor_code(shape, spacing, in_plane, boundary):
    indices, ids = zip(scene(shape, 0), scene(shape, 1), strict=True)
    plain, fast = (
        soften_images(
            indices,
            TABLE,
            ids,
            spacing,
            min(spacing),
            SuperpixelOptions(boundary, 0.0, in_plane),
            DEVICE,
            kernels=kernels,
        )
        for kernels in (False, True)
    )
    for one, other in zip(plain, fast, strict=True):
        assert len(one.values) and one.values.tobytes() == other.values.tobytes()
        assert one.regions.lower.tobytes() == other.regions.lower.tobytes()
        assert one.block_class.tobytes() == other.block_class.tobytes()


@triton_runs.here
@pytest.mark.parametrize(
    ("shape", "edge", "boundary"),
    [((24, 7), 3, "inner"), ((24, 7), 3, "edge"), ((12, 4, 5), 2, "inner")],
)
def test_tiles_and_shares_of_pairs_change_nothing(shape, edge, boundary, monkeypatch):
    index, ids = batch_of(shape, count=1, edge=edge)
    metric = metric_of(len(shape), (1.0,) * len(shape), SuperpixelOptions(boundary))
    whole, tiled = (band_module.find_band(index, 255, 4, ids, 999, kernels=True) for _ in range(2))
    costs = costs_within(
        metric, float(metric.diagonals(whole.lower, whole.upper).max()), index.shape[1:]
    )
    volume = len(shape) == 3
    rows = 2 * costs.reach(0 if volume else 1) + 5
    budget = 4 * values_module.MAP_BYTES[volume] * index.numel() // shape[0] * rows
    tiles = []
    fill_tile = triton_values.fill_tile
    monkeypatch.setattr(
        triton_values, "fill_tile", lambda *given: tiles.append(given[1]) or fill_tile(*given)
    )
    values_module.fill_values(whole, BOUNDARIES[boundary], metric, 1.0, 1 << 30, kernels=True)
    assert len(tiles) == 1 and tiles.pop().core is None
    monkeypatch.setattr(values_module, "PAIR_BYTES", budget // 4 // 60)
    values_module.fill_values(tiled, BOUNDARIES[boundary], metric, 1.0, budget, kernels=True)
    assert sum(tile.core is not None for tile in tiles) > 4
    assert torch.equal(whole.values, tiled.values)


@triton_runs.here
def test_an_image_without_a_mixed_superpixel():
    index = torch.ones((1, 1, 4, 5), dtype=torch.uint8, device=DEVICE)
    band = band_module.find_band(index, 255, 4, torch.zeros_like(index), 1, kernels=True)
    values_module.fill_values(
        band, BOUNDARIES["inner"], metric_of(2, (1.0, 1.0), SuperpixelOptions()), 1.0, 1 << 20,
        kernels=True,
    )  # fmt: skip
    assert len(band.pixels) == len(band.values) == len(band.lower) == 0


@triton_runs.here
def test_a_batch_on_the_fly(monkeypatch):
    index, ids = batch_of((10, 13))
    labels, ids = index[:, 0].to(torch.int64), ids[:, 0]
    tiles = []
    fill_tile = triton_values.fill_tile
    monkeypatch.setattr(
        triton_values, "fill_tile", lambda *given: tiles.append(given) or fill_tile(*given)
    )
    found = []
    for kernels in (False, True):
        monkeypatch.setattr(batch_module, "kernels_work", lambda device, answer=kernels: answer)
        found.append(soften_batch(labels, ids, TABLE, ignore=255).dense())
        assert bool(tiles) == kernels
    plain, fast = found
    assert torch.equal(plain, fast) and (plain % 1 != 0).any()


# --- in others ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(triton_runs.INTERPRETED, reason="this is the interpreter")
def test_the_kernels_in_tritons_interpreter():
    """The tests of all kernels: none is skipped there."""
    files = sorted(HERE.parent.glob("test_triton_*.py"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, files),
         "-k", "not interpreter and not cuda and not card"],
        capture_output=True, text=True, cwd=HERE.parents[3],
        env=os.environ | {"TRITON_INTERPRET": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert "passed" in done.stdout and "skipped" not in done.stdout, done.stdout[-300:]


@triton_runs.compiles
@pytest.mark.parametrize("integer", [True, False])
def test_the_card_rounds_as_the_cpu_does(integer):
    """Nothing multiplies and adds in one, and roots and quotients are rounded to nearest."""
    number = "*i32" if integer else "*fp64"
    types = dict.fromkeys(("block", "pixels", "to_pixel", "to_value", "block_rank"), "*i64")
    types |= {"index": "*u8", "classes": "*i32", "offsets": "*u8", "dz": "*i32", "dy": "*i32"}
    types |= dict.fromkeys(("block_limit", "squares", "base", "far"), number)
    types |= {"formula": "*fp32" if integer else "*fp64", "scale": "*fp64", "values": "*fp32"}
    ptx = triton_runs.compiled(
        triton_values._value_kernel, types,
        {"INTEGER": integer, "BLOCK": triton_values.PAIRS_A_PROGRAM,
         "STEP": triton_distance.ROWS_A_STEP},
    )  # fmt: skip
    assert not re.search(r"\bfma\b|\.approx|\.ftz", ptx)
    for operation in ("sqrt.rn.f64", "div.rn.f64"):
        assert (operation in ptx) != integer
