"""Every pixel takes its nearest centre: the first half of a round of k-means.

The nearest centre does not depend on the order in which centres are tried, so tiles of 64 pixels
(:mod:`softlabel.superpixels.slic_tiles`) are settled one after the other, and most of the centres
of the tile's block, its *rivals*, are ruled out for a whole tile at once:

* *Bisector.* Between two centres b and k, ``distance_k - distance_b`` is linear in position and
  colour. Its minimum over the tile's box of positions and colours is at a corner. If that exceeds
  what rounding can do, k loses to b in all of the tile. b is the centre that the tile's middle
  pixel had before.
* *Distance.* If many rivals survive, those that the tile's pixels had before are tried first. A
  centre further from the tile's box than the worst of the distances so far cannot win. Rounding
  is monotonic and the bound goes through the same operations, so that it needs no margin.

::

    rivals of the block        12 17 18 25 26 31 32 33 40 47 …      ascending
    not ruled out by 26        17 25 26 32 33 40 47                 bisector
    tried first                26 33                                owners of the tile's pixels
    then                       25 32                                those that are near enough

The loops over 64 pixels and over a block's rivals have no branches and unit stride, so that LLVM
turns them into vector instructions; nothing is reordered (no fastmath).

:func:`assign` and all that it calls are in one module because numba's cache of compiled code
notices a change of the kernel's own file, and not of the files that it calls functions from.
"""

from typing import NamedTuple

import numpy as np

from softlabel.kernels import inlined_kernel, kernel
from softlabel.superpixels.slic_tiles import TILE, Tiles, Tiling
from softlabel.types import Array

MAX_CENTRES = 1 << 24  # their numbers pass through float32, which has every integer up to here

_TRY_ALL = 6  # up to so many rivals are tried at once, without the distance bound
_LANES = 16  # a block's list of rivals is padded to a multiple of this

# Rows of the list of rivals: position, window (first and past-last pixel along every axis),
# number, lead, then one row a colour.
_WINDOW = 3
_NUMBER = 9
_LEAD = 10
_COLOUR = 11

# Rows of the chosen rivals: those that are tried first, those that are tried then, and the tile in
# which each rival of the block was last tried first.
_EARLY, _LATE, _TRIED = range(3)

# Sections of the pixels that one tile works on. One array, so that the compiler sees that they
# do not overlap: otherwise it would check so before every loop.
_BEST, _OWNER, _Z, _Y, _X, _SUM, _LAST, _WORST = (TILE * i for i in range(8))
_SECTIONS = 8 * TILE

_MIDDLE = TILE // 2 + 4  # about the middle of a tile of 4x4x4 or 1x8x8
_NO_LIMIT = np.int32(2147483647)

_INF = np.float32(np.inf)
_ZERO = np.float32(0)
_ONE = np.float32(1)
_TWO = np.float32(2)
_TINY = np.float32(1e-30)
_NOBODY = np.float32(-1)


class Centres(NamedTuple):
    """The superpixels' centres.

    Attributes
    ----------
    features : (n, 3 + C) float32 array
        z, y, x and the colours.
    alive : (n,) bool array
        False once a centre has lost all its pixels: it never gets one again.
    window : (n, 6) float32 array
        First and past-last pixel along z, y and x that the centre competes for. Past-last may
        lie beyond the volume.
    """

    features: Array
    alive: Array
    window: Array


class Metric(NamedTuple):
    """Weights of the distance: spacing along z, y, x and the factor of the spatial part."""

    z: np.float32
    y: np.float32
    x: np.float32
    weight: np.float32


class Rivals(NamedTuple):
    """The centres that compete in one block, one a column.

    Attributes
    ----------
    rows : (11 + C, longest) float32 array
        Position, window, number, lead and colours, filled up with zeros to a multiple of
        ``_LANES``. The lead is by how much the centre of the tile's middle pixel beats the rival at
        least.
    place : (n,) int32 array
        Column of each centre; of a centre that does not compete here, any number.
    chosen : (3, longest + 1) int32 array
        Columns of the rivals that are tried first, columns of the others, and the tile in which
        each column was last tried first.
    """

    rows: Array
    place: Array
    chosen: Array


class Rival(NamedTuple):
    """One centre: position, last colour, number."""

    z: np.float32
    y: np.float32
    x: np.float32
    colour: np.float32
    number: np.float32


class Window(NamedTuple):
    """First and past-last pixel that a centre competes for."""

    z0: np.float32
    z1: np.float32
    y0: np.float32
    y1: np.float32
    x0: np.float32
    x1: np.float32


class Desk(NamedTuple):
    """What one tile works with, used again by the next.

    Attributes
    ----------
    box : (2, 3 + C) float32 array
        Lowest and highest position and colour in the tile.
    pixels : (8 * 64,) float32 array
        Best distance so far, its centre's number, z, y, x, and so on: ``_BEST``, ``_OWNER``, ….
    lanes : (3, 64) float32 array
        Offset of each pixel from the tile's first one.
    codes : (2, 2, 64) int32 array
        What each pixel adds to count, z, y and x, two to an integer: in a whole tile, and in one
        that the volume's edge cuts.
    """

    box: Array
    pixels: Array
    lanes: Array
    codes: Array


@kernel
def assign(
    tiles: Tiles,
    centres: Centres,
    metric: Metric,
    reach: tuple[np.float32, ...],
    tiling: Tiling,
    sums: Array,
) -> None:
    """Give every pixel its nearest centre; count pixels and sum positions of each centre.

    Parameters
    ----------
    tiles : Tiles
        Whose `owners` change.
    centres : Centres
        Whose `window` is set.
    metric : Metric
    reach : three float32
        Twice the grid step along each axis: a centre competes for pixels as far as that.
    tiling : Tiling
    sums : (n, 4) int64 array
        Zeros; gets number of pixels, sum of z, of y and of x: integers, so that their order does
        not matter.
    """
    _set_windows(centres, reach)
    starts, members = _list_centres(centres, tiling)
    rivals = _make_rivals(centres, starts)
    desk = _make_desk(tiles, tiling)
    for block in range(starts.size - 1):
        listed = members[starts[block] : starts[block + 1]]
        _load_rivals(centres, listed, rivals)
        _settle_block(block, listed.size, tiles, rivals, metric, tiling, desk, sums)


# --- which centres compete where ------------------------------------------------------------------


@kernel
def _set_windows(centres: Centres, reach: tuple[np.float32, ...]) -> None:
    """The pixels that each centre competes for, rounded as scikit-image rounds them."""
    for k in range(centres.alive.size):
        if centres.alive[k]:
            for axis in range(3):
                at = centres.features[k, axis]
                first = at - reach[axis]
                past = (at + reach[axis]) + _ONE
                centres.window[k, 2 * axis] = np.float32(int(first)) if first > 0 else _ZERO
                centres.window[k, 2 * axis + 1] = np.float32(int(past))


@kernel
def _list_centres(centres: Centres, tiling: Tiling) -> tuple[Array, Array]:
    """For every block the centres that compete there, by ascending number.

    Returns
    -------
    starts : (n_blocks + 1,) int64 array
    members : int32 array
        ``members[starts[b]:starts[b + 1]]`` are the centres of block b.
    """
    nbz, nby, nbx = tiling.blocks
    starts = np.zeros(nbz * nby * nbx + 1, np.int64)
    _visit_blocks(centres, tiling, False, starts[1:], np.empty(0, np.int32))
    for block in range(starts.size - 1):
        starts[block + 1] += starts[block]
    members = np.empty(starts[-1], np.int32)
    _visit_blocks(centres, tiling, True, starts[:-1].copy(), members)
    return starts, members


@kernel
def _visit_blocks(centres: Centres, tiling: Tiling, fill: bool, at: Array, members: Array) -> None:
    """Move `at` of a block on by one for every centre there; first put it there, if to `fill`."""
    _, nby, nbx = tiling.blocks
    for k in range(centres.alive.size):
        if not centres.alive[k]:
            continue
        z0, z1 = _blocks_of(centres.window, k, 0, tiling)
        y0, y1 = _blocks_of(centres.window, k, 1, tiling)
        x0, x1 = _blocks_of(centres.window, k, 2, tiling)
        for z in range(z0, z1):
            for y in range(y0, y1):
                for x in range(x0, x1):
                    block = (z * nby + y) * nbx + x
                    if fill:
                        members[at[block]] = k
                    at[block] += 1


@kernel
def _blocks_of(window: Array, k: int, axis: int, tiling: Tiling) -> tuple[int, int]:
    """First and past-last block along `axis` that the window of centre `k` touches."""
    pixels = tiling.tile[axis] * tiling.block[axis]
    first = int(window[k, 2 * axis]) // pixels
    past = (int(window[k, 2 * axis + 1]) - 1) // pixels + 1
    return first, min(past, tiling.blocks[axis])


@kernel
def _make_rivals(centres: Centres, starts: Array) -> Rivals:
    """Room for the rivals of the block that has most of them."""
    longest = 0
    for block in range(starts.size - 1):
        longest = max(longest, starts[block + 1] - starts[block])
    longest = -(-longest // _LANES) * _LANES
    return Rivals(
        np.empty((_COLOUR + centres.features.shape[1] - 3, longest), np.float32),
        np.zeros(centres.alive.size, np.int32),
        np.full((3, longest + 1), -1, np.int32),
    )


@kernel
def _load_rivals(centres: Centres, listed: Array, rivals: Rivals) -> None:
    """Copy the centres of a block, `listed` (n,) of int32, into columns."""
    features, window, rows = centres.features, centres.window, rivals.rows
    for j in range(listed.size):
        k = listed[j]
        rivals.place[k] = j
        for axis in range(3):
            rows[axis, j] = features[k, axis]
        for side in range(6):
            rows[_WINDOW + side, j] = window[k, side]
        rows[_NUMBER, j] = np.float32(k)
        for f in range(3, features.shape[1]):
            rows[_COLOUR + f - 3, j] = features[k, f]
    for j in range(listed.size, -(-listed.size // _LANES) * _LANES):
        for row in range(rows.shape[0]):
            rows[row, j] = _ZERO


# --- one tile -------------------------------------------------------------------------------------


@kernel
def _make_desk(tiles: Tiles, tiling: Tiling) -> Desk:
    """What all tiles work with."""
    lanes = _lane_offsets(tiling.tile)
    codes = np.zeros((2, 2, TILE), np.int32)
    _set_lane_codes(codes, 0, lanes, TILE, TILE, TILE)
    n_channels = tiles.colours.shape[1]
    return Desk(
        np.empty((2, 3 + n_channels), np.float32),
        np.zeros(_SECTIONS, np.float32),
        lanes,
        codes,
    )


@kernel
def _lane_offsets(tile: tuple[int, int, int]) -> Array:
    """Offset of each of a tile's pixels from its first one: (3, 64) float32."""
    lanes = np.empty((3, TILE), np.float32)
    for i in range(TILE):
        lanes[0, i] = i // (tile[1] * tile[2])
        lanes[1, i] = i // tile[2] % tile[1]
        lanes[2, i] = i % tile[2]
    return lanes


@kernel
def _set_lane_codes(
    codes: Array, cut: int, lanes: Array, depth: int, height: int, width: int
) -> None:
    """What each pixel adds to count, z, y and x, two to an integer; 0 beyond the edge."""
    for i in range(TILE):
        z, y, x = int(lanes[0, i]), int(lanes[1, i]), int(lanes[2, i])
        inside = z < depth and y < height and x < width
        codes[cut, 0, i] = (1 << 16) | z if inside else 0
        codes[cut, 1, i] = (y << 16) | x if inside else 0


@inlined_kernel
def _settle_block(
    block: int,
    n: int,
    tiles: Tiles,
    rivals: Rivals,
    metric: Metric,
    tiling: Tiling,
    desk: Desk,
    sums: Array,
) -> None:
    """Give each pixel of one block its nearest centre, tile by tile, and count it there."""
    # Taken out of the loops, where every access to a tuple's array counts a reference. What is done
    # with a tile stays here: as a function of its own it took a sixth longer in a plane.
    colours, low, high, owners = tiles
    rows, place, chosen = rivals
    box, pixels, lanes, codes = desk
    bz, by, bx = tiling.block
    nz, ny, nx = tiling.grid
    _, nby, nbx = tiling.blocks
    z_first = block // (nby * nbx) * bz
    y_first = block // nbx % nby * by
    x_first = block % nbx * bx
    for z in range(z_first, min(z_first + bz, nz)):
        for y in range(y_first, min(y_first + by, ny)):
            for x in range(x_first, min(x_first + bx, nx)):
                tile = (z * ny + y) * nx + x
                _set_box(tile, z, y, x, low, high, tiling, box)
                middle = owners[tile, _MIDDLE]
                b = _place_of(middle, rows, place, n)
                bisected = b >= 0 and _covers(rows, b, box)
                if bisected:
                    left = _not_dominated(rows, n, b, metric, box, chosen)
                else:
                    left = _within_reach(rows, n, box, chosen)
                if bisected and left == 1:
                    for i in range(TILE):
                        owners[tile, i] = middle
                else:
                    _load_tile(colours, tile, box, lanes, pixels)
                    early = 0
                    if left > _TRY_ALL:
                        early = _choose_owners(owners, tile, rows, place, n, chosen)
                    for late in range(2):
                        if late and early:
                            left = _near_enough(rows, left, tile, metric, box, pixels, chosen)
                        _try_centres(
                            colours, tile, rows, chosen, late, left if late else early, metric, box,
                            pixels,
                        )  # fmt: skip
                    for i in range(TILE):
                        k = np.int32(pixels[_OWNER + i])
                        owners[tile, i] = k if k >= 0 else owners[tile, i]
                _add_positions(owners, tile, tiling, box, lanes, codes, sums)


@inlined_kernel
def _set_box(
    tile: int, z: int, y: int, x: int, low: Array, high: Array, tiling: Tiling, box: Array
) -> None:
    """Lowest and highest position and colour in the tile at place (z, y, x) of the grid."""
    tz, ty, tx = tiling.tile
    box[0, 0] = z * tz
    box[0, 1] = y * ty
    box[0, 2] = x * tx
    box[1, 0] = box[0, 0] + np.float32(tz - 1)
    box[1, 1] = box[0, 1] + np.float32(ty - 1)
    box[1, 2] = box[0, 2] + np.float32(tx - 1)
    for c in range(low.shape[1]):
        box[0, 3 + c] = low[tile, c]
        box[1, 3 + c] = high[tile, c]


@inlined_kernel
def _place_of(k: int | np.int32, rows: Array, place: Array, n: int) -> int:
    """Column of centre `k` among the block's `n` rivals; -1 if it is none of them."""
    j = place[k]
    return j if j < n and rows[_NUMBER, j] == np.float32(k) else -1


@inlined_kernel
def _covers(rows: Array, j: int, box: Array) -> bool:
    """Whether the window of rival `j` holds the whole tile."""
    inside = True
    for axis in range(3):
        inside &= rows[_WINDOW + 2 * axis, j] <= box[0, axis]
        inside &= rows[_WINDOW + 2 * axis + 1, j] > box[1, axis]
    return inside


@inlined_kernel
def _within_reach(rows: Array, n: int, box: Array, chosen: Array) -> int:
    """Choose the rivals whose window touches the tile; returns their number."""
    found = 0
    for j in range(n):
        touches = True
        for axis in range(3):
            touches &= rows[_WINDOW + 2 * axis, j] <= box[1, axis]
            touches &= rows[_WINDOW + 2 * axis + 1, j] > box[0, axis]
        chosen[1, found] = j
        found += touches
    return found


@inlined_kernel
def _not_dominated(rows: Array, n: int, b: int, metric: Metric, box: Array, chosen: Array) -> int:
    """Choose the rivals that may beat the one at `b` somewhere in the tile; returns their number.

    In one feature with scale f, ``f(v - k)² - f(v - b)² = f·a·((v - k) + (v - b))`` with
    ``a = b - k``: linear in v, so least at the low end where a > 0 and at the high end, which
    adds ``2·f·a·(high - low)``, where a < 0. The sum over features is the least lead of b over k.

    Rounding: with u = 2^-24 and `far` the greatest distance (exact) from b within the box, the
    computed lead is wrong by at most c·u·(far + lead) and the computed distances of b and k
    differ from exact ones by at most (12 + C)·u of themselves, at most 2·far + lead in sum. The
    constant of all this stays below 256 + 32·C; the margin takes twice that.
    """
    padded = -(-n // _LANES) * _LANES
    n_features = box.shape[1]
    far = _ZERO
    for j in range(padded):
        rows[_LEAD, j] = _ZERO
    for f in range(n_features):
        row = f if f < 3 else f - 3 + _COLOUR
        scale = _ONE
        if f < 3:
            s = metric.z if f == 0 else metric.y if f == 1 else metric.x
            scale = (s * s) * metric.weight
        centre = rows[row, b]
        low = box[0, f]
        below = centre - low
        above = box[1, f] - centre
        far += max(below * below, above * above) * scale
        width = _TWO * scale * (box[1, f] - low)
        for j in range(padded):
            k = rows[row, j]
            a = centre - k
            negative = a if a < _ZERO else _ZERO
            rows[_LEAD, j] += (a * scale) * ((low - k) - below) + negative * width
    margin = np.float32((512 + 64 * n_features) * 2.0**-24) * far + _TINY
    found = 0
    for j in range(n):
        chosen[1, found] = j
        found += not rows[_LEAD, j] > margin
    return found


@inlined_kernel
def _load_tile(colours: Array, tile: int, box: Array, lanes: Array, pixels: Array) -> None:
    """Start a tile: no distances, no owners, positions and the last channel at hand."""
    z, y, x = box[0, 0], box[0, 1], box[0, 2]
    last = colours.shape[1] - 1
    for i in range(TILE):
        pixels[_BEST + i] = _INF
        pixels[_OWNER + i] = _NOBODY
        pixels[_Z + i] = z + lanes[0, i]
        pixels[_Y + i] = y + lanes[1, i]
        pixels[_X + i] = x + lanes[2, i]
        pixels[_LAST + i] = colours[tile, last, i]


@inlined_kernel
def _next_owner(owners: Array, tile: int, limit: np.int32) -> np.int32:
    """The greatest number below a limit among a tile's owners (64,); -1 if there is none.

    Asking again and again, with the last answer as the limit, lists each owner of a tile once, with
    nothing but vector instructions.
    """
    k = np.int32(-1)
    for i in range(TILE):
        owner = owners[tile, i]
        k = max(k, owner if owner < limit else np.int32(-1))
    return k


@inlined_kernel
def _choose_owners(
    owners: Array, tile: int, rows: Array, place: Array, n: int, chosen: Array
) -> int:
    """Choose the centres that the tile's pixels had before; returns their number."""
    found = 0
    k = _next_owner(owners, tile, _NO_LIMIT)
    while k >= 0:
        j = _place_of(k, rows, place, n)
        if j >= 0:
            chosen[0, found] = j
            found += 1
            chosen[_TRIED, j] = tile
        k = _next_owner(owners, tile, k)
    return found


@inlined_kernel
def _distance(
    dz: np.float32, dy: np.float32, dx: np.float32, weight: np.float32, colour: np.float32
) -> np.float32:
    """The distance, in the one order of operations that gives scikit-image's float32."""
    return (dz * dz + dy * dy + dx * dx) * weight + colour


@inlined_kernel
def _worst(pixels: Array) -> np.float32:
    """The largest of the tile's distances, by halves: a running maximum takes a step a pixel."""
    for i in range(TILE // 2):
        left, right = pixels[_BEST + i], pixels[_BEST + TILE // 2 + i]
        pixels[_WORST + i] = left if left > right else right
    for i in range(TILE // 4):
        left, right = pixels[_WORST + i], pixels[_WORST + TILE // 4 + i]
        pixels[_WORST + i] = left if left > right else right
    worst = pixels[_WORST]
    for i in range(1, TILE // 4):
        worst = max(worst, pixels[_WORST + i])
    return worst


@inlined_kernel
def _near_enough(
    rows: Array, n: int, tile: int, metric: Metric, box: Array, pixels: Array, chosen: Array
) -> int:
    """Of the chosen rivals keep those that may beat the distances found; returns their number.

    A centre's distance to the nearest point of the tile's box, by the operations that give the
    distance to a pixel, is never more than that: rounding keeps order.
    """
    worst = _worst(pixels)
    kept = 0
    for s in range(n):
        j = chosen[1, s]
        dz = metric.z * (rows[0, j] - min(max(rows[0, j], box[0, 0]), box[1, 0]))
        dy = metric.y * (rows[1, j] - min(max(rows[1, j], box[0, 1]), box[1, 1]))
        dx = metric.x * (rows[2, j] - min(max(rows[2, j], box[0, 2]), box[1, 2]))
        colour = _ZERO
        for f in range(3, box.shape[1]):
            at = rows[_COLOUR + f - 3, j]
            d = min(max(at, box[0, f]), box[1, f]) - at
            colour += d * d
        least = _distance(dz, dy, dx, metric.weight, colour)
        chosen[1, kept] = j
        kept += chosen[_TRIED, j] != tile and not least > worst
    return kept


@inlined_kernel
def _try_centres(
    colours: Array,
    tile: int,
    rows: Array,
    chosen: Array,
    late: int,
    n: int,
    metric: Metric,
    box: Array,
    pixels: Array,
) -> None:
    """Let the rivals ``chosen[late, :n]`` compete for the tile's pixels."""
    for s in range(n):
        j = chosen[late, s]
        _sum_first_channels(colours, tile, rows, j, pixels)
        # Read before the loops: within them, for all that the compiler knows, it might change.
        rival = _rival_at(rows, j)
        if _covers(rows, j, box):
            for i in range(TILE):
                _compete(rival, i, True, metric, pixels)
        else:
            window = _window_at(rows, j)
            for i in range(TILE):
                _compete(rival, i, _in_window(window, i, pixels), metric, pixels)


@inlined_kernel
def _rival_at(rows: Array, j: int) -> Rival:
    """Rival `j`, in registers."""
    return Rival(rows[0, j], rows[1, j], rows[2, j], rows[rows.shape[0] - 1, j], rows[_NUMBER, j])


@inlined_kernel
def _window_at(rows: Array, j: int) -> Window:
    """The window of rival `j`, in registers."""
    return Window(
        rows[_WINDOW, j], rows[_WINDOW + 1, j], rows[_WINDOW + 2, j], rows[_WINDOW + 3, j],
        rows[_WINDOW + 4, j], rows[_WINDOW + 5, j],
    )  # fmt: skip


@inlined_kernel
def _sum_first_channels(colours: Array, tile: int, rows: Array, j: int, pixels: Array) -> None:
    """Squared differences from rival `j` in all channels but the last, which is added later."""
    for c in range(colours.shape[1] - 1):
        colour = rows[_COLOUR + c, j]
        if c == 0:
            for i in range(TILE):
                t = colours[tile, c, i] - colour
                pixels[_SUM + i] = t * t
        else:
            for i in range(TILE):
                t = colours[tile, c, i] - colour
                pixels[_SUM + i] += t * t


@inlined_kernel
def _in_window(window: Window, i: int, pixels: Array) -> bool:
    """Whether a centre competes for pixel `i` of the tile."""
    z, y, x = pixels[_Z + i], pixels[_Y + i], pixels[_X + i]
    inside = (z >= window.z0) & (z < window.z1) & (y >= window.y0) & (y < window.y1)
    return inside & (x >= window.x0) & (x < window.x1)


@inlined_kernel
def _compete(rival: Rival, i: int, allowed: bool, metric: Metric, pixels: Array) -> None:
    """Give pixel `i` of the tile to a rival, if that is nearer than what has it so far.

    Of equal distances the lower number wins, whatever the order of the trials.
    """
    dz = metric.z * (rival.z - pixels[_Z + i])
    dy = metric.y * (rival.y - pixels[_Y + i])
    dx = metric.x * (rival.x - pixels[_X + i])
    t = pixels[_LAST + i] - rival.colour
    d = _distance(dz, dy, dx, metric.weight, pixels[_SUM + i] + t * t)
    best, owner = pixels[_BEST + i], pixels[_OWNER + i]
    wins = allowed & ((d < best) | ((d == best) & (rival.number < owner)))
    pixels[_BEST + i] = d if wins else best
    pixels[_OWNER + i] = rival.number if wins else owner


@inlined_kernel
def _add_positions(
    owners: Array, tile: int, tiling: Tiling, box: Array, lanes: Array, codes: Array, sums: Array
) -> None:
    """Add the pixels of one tile to their owners' counts and sums of positions."""
    z0, y0, x0 = int(box[0, 0]), int(box[0, 1]), int(box[0, 2])
    depth, height, width = tiling.shape[0] - z0, tiling.shape[1] - y0, tiling.shape[2] - x0
    cut = 0
    if depth < tiling.tile[0] or height < tiling.tile[1] or width < tiling.tile[2]:
        cut = 1
        _set_lane_codes(codes, 1, lanes, depth, height, width)
    k = _next_owner(owners, tile, _NO_LIMIT)
    while k >= 0:
        count_z = np.int32(0)
        y_x = np.int32(0)
        for i in range(TILE):
            mine = owners[tile, i] == k
            count_z = np.int32(count_z + (codes[cut, 0, i] if mine else np.int32(0)))
            y_x = np.int32(y_x + (codes[cut, 1, i] if mine else np.int32(0)))
        count = count_z >> 16
        sums[k, 0] += count
        sums[k, 1] += count * z0 + (count_z & 0xFFFF)
        sums[k, 2] += count * y0 + (y_x >> 16)
        sums[k, 3] += count * x0 + (y_x & 0xFFFF)
        k = _next_owner(owners, tile, k)
