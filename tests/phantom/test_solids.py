"""Depths of solids, against distances from points on their surfaces and against formulas."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from softlabel.phantom.solids import (
    FAR_MM,
    Block,
    Both,
    Column,
    Either,
    Ellipsoid,
    Grown,
    Rough,
    Sheets,
    Side,
    Tube,
    Without,
    curve,
    depth_on,
)


def block(low=-30.0, high=30.0, step=1.5, rough=0.0, margin=3.0):
    axis = np.arange(low, high, step) + 0.0371  # no voxel lies on a surface
    x, y, z = (np.ascontiguousarray(a) for a in np.meshgrid(*[axis.astype(np.float32)] * 3,
                                                            indexing="ij"))  # fmt: skip
    noise = np.full(x.shape, rough, np.float32)
    return Block((axis, axis, axis), x, y, z, noise, (margin,) * 3)


def points_of(b):
    return np.stack([b.x, b.y, b.z], axis=-1).reshape(-1, 3).astype(float)


def on_ellipsoid(half, n=60_000):
    sphere = np.random.default_rng(0).normal(size=(n, 3))
    return sphere / np.linalg.norm(sphere, axis=1, keepdims=True) * half


@pytest.mark.parametrize("turn", [(0, 0, 0), (0, 0, 90), (90, 0, 0), (0, 90, 0)])
def test_depth_of_an_ellipsoid_is_the_distance_near_its_surface(turn):
    b, half = block(), np.array([22.0, 14.0, 8.0])
    ellipsoid = Ellipsoid((0, 0, 0), half, turn)
    order = {(0, 0, 90): [1, 0, 2], (90, 0, 0): [0, 2, 1], (0, 90, 0): [2, 1, 0]}.get(
        turn, [0, 1, 2]
    )
    distance, _ = cKDTree(on_ellipsoid(half[order])).query(points_of(b))
    depth = ellipsoid.depth(b).ravel()
    inside = ((points_of(b) / half[order]) ** 2).sum(axis=1) < 1
    assert np.array_equal(depth > 0, inside)
    near = distance < 2
    assert near.sum() > 1000
    assert np.abs(depth)[near] == pytest.approx(distance[near], abs=0.35)
    assert ellipsoid.high == pytest.approx(half[order])


def test_a_turned_ellipsoid_lies_in_its_box():
    ellipsoid = Ellipsoid((2, -3, 1), (20, 9, 5), (30, -20, 50))
    b = block()
    inside = points_of(b)[ellipsoid.depth(b).ravel() > 0]
    assert (inside >= ellipsoid.low).all() and (inside <= ellipsoid.high).all()
    # It touches every side of it, to within a voxel.
    assert inside.min(axis=0) == pytest.approx(ellipsoid.low, abs=1.5)
    assert inside.max(axis=0) == pytest.approx(ellipsoid.high, abs=1.5)


def test_depth_of_a_tube_is_radius_less_distance_from_its_line():
    b = block()
    start, end = np.array([-12.0, 4, -9]), np.array([15.0, -6, 11])
    depth = Tube(np.array([[*start, 7], [*end, 7]])).depth(b).ravel()
    line = start + np.linspace(0, 1, 4001)[:, None] * (end - start)
    distance, _ = cKDTree(line).query(points_of(b))
    seen = depth > FAR_MM
    assert depth[seen] == pytest.approx(7 - distance[seen], abs=0.01)
    assert (7 - distance[~seen] < -2).all()


def test_a_flat_tube_has_an_elliptic_section():
    b = block()
    depth = Tube(np.array([[0.0, 0, -40, 12], [0, 0, 40, 12]]), 3.0, (0, 1, 0)).depth(b)
    inside = (b.x / 12) ** 2 + (b.y / 4) ** 2 < 1
    assert np.array_equal(depth > 0, inside)
    on_axis = depth[np.argmin(np.abs(b.axes_mm[0])), :, 20]
    y = b.axes_mm[1]
    near = np.abs(np.abs(y) - 4) < 2
    assert on_axis[near] == pytest.approx(4 - np.abs(y[near]), abs=0.35)


def test_a_column_follows_its_rows():
    rows = np.array([[-20, 0, 0, 10, 8], [0, 2, 0, 14, 10], [20, 0, 1, 9, 9]], float)
    b = block()
    depth = Column(rows).depth(b)
    middle = np.abs(b.axes_mm[2]) < 0.1
    inside = (np.abs(b.x - 2) / 14) ** 2.5 + (np.abs(b.y) / 10) ** 2.5 < 1
    assert middle.sum() == 1
    assert np.array_equal(depth[..., middle] > 0, inside[..., middle])
    assert not (depth[..., np.abs(b.axes_mm[2]) > 20] > 0).any()
    # A distance near the surface: it grows by 1 mm a mm there.
    slope = np.sqrt(sum(g**2 for g in np.gradient(depth, 1.5)[:2]))
    near = (np.abs(depth) < 1.5) & (np.abs(b.z) < 15)
    assert np.median(slope[near]) == pytest.approx(1, abs=0.05)


def test_combined_solids_are_set_operations():
    b = block()
    one, two = Ellipsoid((-5, 0, 0), (12, 12, 12)), Ellipsoid((6, 0, 0), (10, 10, 10))
    in_one, in_two = one.depth(b) > 0, two.depth(b) > 0
    assert np.array_equal(depth_on(b, Either(one, two)) > 0, in_one | in_two)
    assert np.array_equal(depth_on(b, Both(one, two)) > 0, in_one & in_two)
    assert np.array_equal(depth_on(b, Without(one, two)) > 0, in_one & ~in_two)
    far = Without(one, two, gap_mm=2).depth(b) > 0
    assert far.sum() < (in_one & ~in_two).sum() and not far[in_two].any()
    assert np.array_equal(Side((0, 0, 3), (0, 0, 2)).depth(b) > 0, b.z > 3)
    assert Side((0, 0, 3), (0, 0, 2)).depth(b) == pytest.approx(b.z - 3)


def test_rough_and_grown_solids_move_their_surface():
    b, ball = block(rough=1.5), Ellipsoid((0, 0, 0), (12, 12, 12))
    radius = np.sqrt((points_of(b) ** 2).sum(axis=1)).reshape(b.x.shape)
    assert np.array_equal(Rough(ball, 2).depth(b) > 0, radius < 15)
    assert np.array_equal(Grown(ball, -3).depth(b) > 0, radius < 9)
    assert Grown(ball, 3).high == pytest.approx((15, 15, 15))
    assert not (Sheets(ball, 1.0).depth(b) > 0).any()
    assert np.array_equal(Sheets(ball, 1.0).depth(block()) > 0, radius < 12)


def test_a_part_of_a_block_has_the_depths_of_the_whole():
    b = block()
    path = curve([(-20, -15, -20, 5), (0, 10, 0, 6), (20, -5, 18, 4)])
    solid = Either(Tube(path), Ellipsoid((10, 10, -10), (8, 6, 9), (0, 30, 0)))
    whole = solid.depth(b)
    where, part = b.part((-5, -5, -5), (5, 5, 5))
    inside = whole[where] > 0
    assert inside.any()
    assert np.array_equal(solid.depth(part) > 0, inside)
    assert solid.depth(part)[inside] == pytest.approx(whole[where][inside])


def test_a_curve_meets_its_points():
    points = [(0, 0, 0, 3), (10, 5, 0, 4), (20, 0, 8, 5)]
    path = curve(points, 0.05)
    for point in points:
        assert np.abs(path - point).sum(axis=1).min() < 0.1
    assert np.linalg.norm(np.diff(path[:, :3], axis=0), axis=1).max() < 0.1
