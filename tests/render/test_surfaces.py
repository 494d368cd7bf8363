"""The picture of a volume: what its panels show."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from PIL import Image

from softlabel.measurements.scans import Compared, Layers, Scales, scan_surfaces
from softlabel.measurements.sources import CaseLabels
from softlabel.measurements.volumes import volume_from
from softlabel.phantom import make_oct_subject
from softlabel.render.surfaces import draw_volume, volume_figure

LAYERS = Layers()


@pytest.fixture(scope="module")
def scans():
    subject = make_oct_subject(3011, 1, (256, 128, 3), 3)

    def scan(b, place, image=True):
        case = CaseLabels(
            f"v_bscan_{place}", "v", "", {"labels": subject.labels[..., b]},
            spacing_mm=(0.00387, 0.0113), image=lambda: subject.images[..., b],
        )  # fmt: skip
        return scan_surfaces(Compared(case, "labels"), LAYERS, Scales(), with_image=image)

    return [scan(0, 2), scan(1, 4), scan(2, 9, image=False)]


def test_the_map_has_the_thickness_of_the_known_b_scans(scans):
    volume = volume_from("v", scans, 0.3)
    map_axes, bscan_axes, bar = volume_figure(volume, LAYERS).axes
    (mesh,) = [c for c in map_axes.collections if isinstance(c, QuadMesh)]
    shown = np.ma.filled(mesh.get_array(), np.nan)
    expected = volume.thickness(LAYERS)["retina"][:, [2, 4, 9]].T
    np.testing.assert_allclose(shown, expected)
    edges = mesh.get_coordinates()[:, 0, 1]
    np.testing.assert_allclose(edges, [1, 3, 6.5, 11.5])
    assert len(map_axes.patches) == 3 and "(µm)" in bar.get_ylabel()
    assert bscan_axes.get_title(loc="left").startswith("B-scan 4")


def test_circles_of_the_grid_are_round_in_millimetres(scans):
    volume = volume_from("v", scans, 0.3)
    ax = volume_figure(volume, LAYERS).axes[0]
    for circle, radius_mm in zip(ax.patches, (0.5, 1.5, 3), strict=True):
        path = circle.get_path().transformed(
            circle.get_patch_transform() + circle.get_data_transform()
        )
        points = (circle.get_transform() - ax.transData).transform_path(circle.get_path()).vertices
        columns, bscans = points.T
        assert path is not None
        assert columns.max() - columns.min() == pytest.approx(2 * radius_mm / 0.0113, rel=0.01)
        assert bscans.max() - bscans.min() == pytest.approx(2 * radius_mm / 0.3, rel=0.01)


def test_lines_are_the_surfaces(scans):
    volume = volume_from("v", [scans[0]], None)
    (ax,) = volume_figure(volume, LAYERS).axes
    for k, (line, name) in enumerate(zip(ax.lines, LAYERS.surfaces, strict=True)):
        assert line.get_label() == name
        np.testing.assert_array_equal(line.get_ydata(), scans[0].found.rows[k, :, 0])
    assert len(ax.images) == 1


def test_without_image_distance_or_fluid(scans):
    volume = volume_from("v", [scans[0], scans[2]], None)
    map_axes, bscan_axes, _ = volume_figure(volume, LAYERS).axes
    assert not map_axes.patches and not bscan_axes.images


def test_it_becomes_a_png(scans):
    data = draw_volume(volume_from("$v_{$", [scans[0]], None), LAYERS, dpi=40)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
    assert data == draw_volume(volume_from("$v_{$", [scans[0]], None), LAYERS, dpi=40)
