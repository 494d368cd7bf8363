"""The k-means of SLIC on small boxes of pixels, with scikit-image's labels to the last bit.

**What is computed.** Every centre competes for the pixels within two grid steps of it. The
distance, in float32 and in this order of operations, is

    ((sz·(cz - z))² + (sy·(cy - y))² + (sx·(cx - x))²) · weight + (v0 - c0)² + (v1 - c1)² + …

with the colour terms summed first. A pixel takes the nearest centre, of equal ones the lowest
number; centres become the float32 means of their pixels, summed in raster order.

**What is saved.** The nearest centre does not depend on the order in which centres are tried, so
boxes of 64 pixels ("tiles": 1x8x8, 4x4x4, …) are settled one after the other and most centres
are ruled out for a whole tile at once:

* *Bisector.* Between two centres b and k, ``distance_k - distance_b`` is linear in position and
  colour. Its minimum over the tile's box of positions and colours is at a corner. If that exceeds
  what rounding can do, k loses to b in all of the tile. b is the centre that the tile's middle
  pixel had before.
* *Distance.* If many centres survive, those that the tile's pixels had before are tried first. A
  centre further from the tile's box than the worst of the distances so far cannot win. Rounding
  is monotonic and the bound goes through the same operations, so that it needs no margin.

The loops over 64 pixels and over a block's centres have no branches and unit stride, so that LLVM
turns them into vector instructions; nothing is reordered (no fastmath).

It is all in one module because numba's cache of compiled code notices a change of the kernel's own
file, and not of the files that it calls functions from.
"""

import math
from typing import NamedTuple

import numpy as np

from softlabel.kernels import inlined_kernel, kernel
from softlabel.types import Array

TILE = 64  # pixels in a tile
_TRY_ALL = 6  # up to so many centres are tried at once, without the distance bound
_LANES = 16  # a block's list of centres is padded to a multiple of this

# Rows of a block's list of centres: position, window (first and past-last pixel along every
# axis), then one row a colour.
_WINDOW = 3
_COLOUR = 9

# Sections of the scratch that one tile works in. One array, so that the compiler sees that they
# do not overlap: otherwise it would check so before every loop.
_BEST, _OWNER, _Z, _Y, _X, _SUM, _LAST, _WORST = (TILE * i for i in range(8))
_SCRATCH = 8 * TILE

_MIDDLE = TILE // 2 + 4  # about the middle of a tile of 4x4x4 or 1x8x8
_U1, _U2, _U3 = np.uint64(1), np.uint64(2), np.uint64(3)
_NO_LIMIT = np.int32(2147483647)

_INF = np.float32(np.inf)
_ZERO = np.float32(0)
_ONE = np.float32(1)
_TWO = np.float32(2)
_TINY = np.float32(1e-30)
_NOBODY = np.float32(-1)
_EXACT = 1 << 24  # up to here every integer is a float32

MAX_CENTRES = _EXACT  # their numbers pass through float32


class Tiling(NamedTuple):
    """How a volume is cut: tiles of 64 pixels, and blocks of tiles that share a list of centres.

    Attributes
    ----------
    shape : three ints
        Depth, height, width of the volume.
    tile, grid, block : three ints each
        Pixels a tile spans, number of tiles and tiles a block spans along each axis.
    """

    shape: tuple[int, int, int]
    tile: tuple[int, int, int]
    grid: tuple[int, int, int]
    block: tuple[int, int, int]


class Tiles(NamedTuple):
    """The volume, tile by tile; pixels beyond the edge repeat the last one.

    Attributes
    ----------
    colours : (n_tiles, C, 64) float32 array
    low, high : (n_tiles, C) float32 arrays
        Smallest and largest colour of each tile.
    owners : (n_tiles, 64) int32 array
        Number of the centre that each pixel belongs to.
    """

    colours: Array
    low: Array
    high: Array
    owners: Array


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


def choose_tiling(shape: tuple[int, int, int], spacing: Array, steps: tuple[int, ...]) -> Tiling:
    """Tiles that are compact in space, and blocks of about a superpixel and a half.

    Rows of 4 pixels at least, for the sake of the loops; no axis is padded to twice its length.
    """
    candidates = [
        (TILE // (y * x), y, x)
        for x in (4, 8, 16, 32, 64)
        for y in (1, 2, 4, 8, 16)
        if y * x <= TILE
    ]
    fitting = [
        tile
        for tile in candidates
        if all(
            t < 2 * n or (axis == 2 and t == 4)
            for axis, (t, n) in enumerate(zip(tile, shape, strict=True))
        )
    ]
    # An image of few pixels fits none of them, and any will do.
    tile = min(
        fitting or candidates,
        key=lambda t: sum((s * n) ** 2 for s, n in zip(spacing, t, strict=True)),
    )
    grid = [-(-n // t) for n, t in zip(shape, tile, strict=True)]
    block = [min(4, max(1, round(1.5 * s / t))) for s, t in zip(steps, tile, strict=True)]
    return Tiling(shape, tile, (grid[0], grid[1], grid[2]), (block[0], block[1], block[2]))


def cut(image: Array, ratio: np.float32, seed_of: tuple[Array, ...], tiling: Tiling) -> Tiles:
    """Cut an image into tiles, colours times `ratio`, every pixel owned by the seed nearest to it.

    Parameters
    ----------
    image : (C, depth, height, width) float32 array
    ratio : float32
    seed_of : three int32 arrays
        For each position along z, y and x, what the seed nearest there adds to its number.
    """
    n, n_channels = math.prod(tiling.grid), len(image)
    tiles = Tiles(
        np.empty((n, n_channels, TILE), np.float32),
        np.empty((n, n_channels), np.float32),
        np.empty((n, n_channels), np.float32),
        np.empty((n, TILE), np.int32),
    )
    _fill_tiles(image, ratio, seed_of, tiling, tiles)
    return tiles


@kernel
def _fill_tiles(
    image: Array, ratio: np.float32, seed_of: tuple[Array, ...], tiling: Tiling, tiles: Tiles
) -> None:
    tz, ty, tx = tiling.tile
    nz, ny, nx = tiling.grid
    depth, height, width = tiling.shape
    colours, low, high, owners = tiles
    n_channels = image.shape[0]
    seed_z, seed_y, seed_x = seed_of
    for tile in range(nz * ny * nx):
        z0 = tile // (ny * nx) * tz
        y0 = tile // nx % ny * ty
        x0 = tile % nx * tx
        for a in range(tz):
            z = min(z0 + a, depth - 1)
            for b in range(ty):
                y = min(y0 + b, height - 1)
                lane = (a * ty + b) * tx
                for i in range(tx):
                    x = min(x0 + i, width - 1)
                    owners[tile, lane + i] = seed_z[z] + seed_y[y] + seed_x[x]
                for c in range(n_channels):
                    for i in range(tx):
                        x = min(x0 + i, width - 1)
                        colours[tile, c, lane + i] = image[c, z, y, x] * ratio
        for c in range(n_channels):
            least = most = colours[tile, c, 0]
            for i in range(1, TILE):
                v = colours[tile, c, i]
                least = v if v < least else least
                most = v if v > most else most
            low[tile, c] = least
            high[tile, c] = most


def uncut(owners: Array, tiling: Tiling) -> Array:
    """Owners of all pixels in the volume's own layout: (depth, height, width) int32."""
    labels = np.empty(tiling.shape, np.int32)
    _fill_labels(owners, tiling, labels)
    return labels


@kernel
def _fill_labels(owners: Array, tiling: Tiling, labels: Array) -> None:
    tz, ty, tx = tiling.tile
    _, ny, nx = tiling.grid
    depth, height, width = tiling.shape
    for z in range(depth):
        for y in range(height):
            first = (z // tz * ny + y // ty) * nx
            lane = (z % tz * ty + y % ty) * tx
            for n in range(nx):
                x0 = n * tx
                for i in range(min(tx, width - x0)):
                    labels[z, y, x0 + i] = owners[first + n, lane + i]


@kernel
def iterate(
    tiles: Tiles, centres: Centres, metric: Metric, reach: tuple[np.float32, ...], tiling: Tiling
) -> bool:
    """One round of k-means: owners from centres, centres from owners, both in place.

    Parameters
    ----------
    tiles : Tiles
    centres : Centres
    metric : Metric
    reach : three float32
        Twice the grid step along each axis: a centre competes for pixels as far as that.
    tiling : Tiling

    Returns
    -------
    bool
        Whether any centre moved. If none did, another round would change nothing.
    """
    _set_windows(centres, reach)
    starts, members = _list_centres(centres, tiling)
    sums = np.zeros((centres.alive.size, 4), np.int64)
    _assign(tiles, centres, metric, tiling, starts, members, sums)
    return _move_centres(tiles, centres, tiling, sums)


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
def _blocks_of(window: Array, k: int, axis: int, tiling: Tiling) -> tuple[int, int]:
    """First and past-last block along `axis` that the window of centre `k` touches."""
    pixels = tiling.tile[axis] * tiling.block[axis]
    n_blocks = -(-tiling.grid[axis] // tiling.block[axis])
    first = int(window[k, 2 * axis]) // pixels
    past = (int(window[k, 2 * axis + 1]) - 1) // pixels + 1
    return first, min(past, n_blocks)


@kernel
def _list_centres(centres: Centres, tiling: Tiling) -> tuple[Array, Array]:
    """For every block the centres that compete there, by ascending number.

    Returns
    -------
    starts : (n_blocks + 1,) int64 array
    members : int32 array
        ``members[starts[b]:starts[b + 1]]`` are the centres of block b.
    """
    bz, by, bx = tiling.block
    nz, ny, nx = tiling.grid
    nby, nbx = -(-ny // by), -(-nx // bx)
    starts = np.zeros(-(-nz // bz) * nby * nbx + 1, np.int64)
    members = np.empty(0, np.int32)
    at = starts
    window = centres.window
    # The first round counts, the second one fills.
    for fill in range(2):
        for k in range(centres.alive.size):
            if not centres.alive[k]:
                continue
            z0, z1 = _blocks_of(window, k, 0, tiling)
            y0, y1 = _blocks_of(window, k, 1, tiling)
            x0, x1 = _blocks_of(window, k, 2, tiling)
            for z in range(z0, z1):
                for y in range(y0, y1):
                    for x in range(x0, x1):
                        block = (z * nby + y) * nbx + x
                        if fill:
                            members[at[block]] = k
                            at[block] += 1
                        else:
                            starts[block + 1] += 1
        if not fill:
            for block in range(starts.size - 1):
                starts[block + 1] += starts[block]
            members = np.empty(starts[-1], np.int32)
            at = starts[:-1].copy()
    return starts, members


@kernel
def _assign(
    tiles: Tiles,
    centres: Centres,
    metric: Metric,
    tiling: Tiling,
    starts: Array,
    members: Array,
    sums: Array,
) -> None:
    """Give every pixel its nearest centre; count pixels and sum positions of each centre.

    `sums` gets number of pixels, sum of z, of y and of x: integers, so that their order does not
    matter.
    """
    n_channels = tiles.colours.shape[1]
    longest = 0
    for block in range(starts.size - 1):
        longest = max(longest, starts[block + 1] - starts[block])
    longest = -(-longest // _LANES) * _LANES
    lanes = _lane_offsets(tiling.tile)
    # Codes of a whole tile, and of one that the volume's edge cuts.
    codes = np.zeros((2, 2, TILE), np.int32)
    _set_lane_codes(codes, 0, lanes, TILE, TILE, TILE)
    place = np.zeros(centres.alive.size, np.int32)
    listed = np.empty((_COLOUR + n_channels, longest), np.float32)
    lead = np.empty(longest, np.float32)
    chosen = np.empty((2, longest + 1), np.int32)
    tried = np.full(longest, -1, np.int64)  # the tile where a centre was last tried early
    box = np.empty((2, 3 + n_channels), np.float32)
    scratch = np.zeros(_SCRATCH, np.float32)
    # Taken out of the loops, where every access to a tuple's array counts a reference.
    colours, low, high, owners = tiles
    features, window = centres.features, centres.window
    for block in range(starts.size - 1):
        first = starts[block]
        n = starts[block + 1] - first
        _load_centres(features, window, members, first, n, listed, place)
        _settle_block(
            block, tiling, colours, low, high, owners, members, first, n, place, listed, metric,
            box, lanes, codes, scratch, lead, chosen, tried, sums,
        )  # fmt: skip


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


@kernel
def _load_centres(
    features: Array, window: Array, members: Array, first: int, n: int, listed: Array, place: Array
) -> None:
    """Copy a block's centres into rows, and fill the rows up to a multiple of the lanes."""
    n_features = features.shape[1]
    for j in range(n):
        k = members[first + j]
        place[k] = j
        for axis in range(3):
            listed[axis, j] = features[k, axis]
        for side in range(6):
            listed[_WINDOW + side, j] = window[k, side]
        for f in range(3, n_features):
            listed[_COLOUR + f - 3, j] = features[k, f]
    for j in range(n, -(-n // _LANES) * _LANES):
        for row in range(listed.shape[0]):
            listed[row, j] = _ZERO


@inlined_kernel
def _set_box(
    box: Array,
    z: int,
    y: int,
    x: int,
    tile_shape: tuple[int, int, int],
    low: Array,
    high: Array,
    tile: int,
) -> None:
    """Lowest and highest position and colour in the tile at place (z, y, x) of the grid."""
    box[0, 0] = z * tile_shape[0]
    box[0, 1] = y * tile_shape[1]
    box[0, 2] = x * tile_shape[2]
    for axis in range(3):
        box[1, axis] = box[0, axis] + np.float32(tile_shape[axis] - 1)
    for c in range(low.shape[1]):
        box[0, 3 + c] = low[tile, c]
        box[1, 3 + c] = high[tile, c]


@inlined_kernel
def _settle_block(
    block: int,
    tiling: Tiling,
    colours: Array,
    low: Array,
    high: Array,
    owners: Array,
    members: Array,
    first: int,
    n_listed: int,
    place: Array,
    listed: Array,
    metric: Metric,
    box: Array,
    lanes: Array,
    codes: Array,
    scratch: Array,
    lead: Array,
    chosen: Array,
    tried: Array,
    sums: Array,
) -> None:
    """Give each pixel of one block its nearest centre, tile by tile, and count it there."""
    bz, by, bx = tiling.block
    nz, ny, nx = tiling.grid
    nby, nbx = -(-ny // by), -(-nx // bx)
    z_first = block // (nby * nbx) * bz
    y_first = block // nbx % nby * by
    x_first = block % nbx * bx
    for z in range(z_first, min(z_first + bz, nz)):
        for y in range(y_first, min(y_first + by, ny)):
            for x in range(x_first, min(x_first + bx, nx)):
                tile = (z * ny + y) * nx + x
                _set_box(box, z, y, x, tiling.tile, low, high, tile)
                middle = owners[tile, _MIDDLE]
                b = _place_of(middle, members, first, n_listed, place)
                bisected = b >= 0 and _covers(listed, b, box)
                if bisected:
                    n = _not_dominated(listed, n_listed, b, metric, box, lead, chosen)
                else:
                    n = _within_reach(listed, n_listed, box, chosen)
                if bisected and n == 1:
                    for i in range(TILE):
                        owners[tile, i] = middle
                else:
                    _load_tile(colours, tile, box, lanes, scratch)
                    n_early = 0
                    if n > _TRY_ALL:
                        n_early = _choose_owners(
                            owners, tile, members, first, n_listed, place, chosen, tried
                        )
                    for late in range(2):
                        if late and n_early:
                            n = _near_enough(listed, n, tile, metric, box, scratch, chosen, tried)
                        _try_centres(
                            colours, tile, listed, members, first, metric, box, scratch,
                            chosen, late, n if late else n_early,
                        )  # fmt: skip
                    for i in range(TILE):
                        k = np.int32(scratch[_OWNER + i])
                        owners[tile, i] = k if k >= 0 else owners[tile, i]
                _add_positions(owners, tile, codes, lanes, box, tiling, sums)


@inlined_kernel
def _place_of(k: int, members: Array, first: int, n: int, place: Array) -> int:
    """Where centre `k` stands in the block's list; -1 if it does not."""
    j = place[k]
    return j if j < n and members[first + j] == k else -1


@inlined_kernel
def _covers(listed: Array, j: int, box: Array) -> bool:
    """Whether the window of the centre at `j` holds the whole tile."""
    inside = True
    for axis in range(3):
        inside &= listed[_WINDOW + 2 * axis, j] <= box[0, axis]
        inside &= listed[_WINDOW + 2 * axis + 1, j] > box[1, axis]
    return inside


@inlined_kernel
def _within_reach(listed: Array, n: int, box: Array, chosen: Array) -> int:
    """Choose the centres whose window touches the tile; returns their number."""
    found = 0
    for j in range(n):
        touches = True
        for axis in range(3):
            touches &= listed[_WINDOW + 2 * axis, j] <= box[1, axis]
            touches &= listed[_WINDOW + 2 * axis + 1, j] > box[0, axis]
        chosen[1, found] = j
        found += touches
    return found


@inlined_kernel
def _not_dominated(
    listed: Array, n: int, b: int, metric: Metric, box: Array, lead: Array, chosen: Array
) -> int:
    """Choose the centres that may beat the one at `b` somewhere in the tile; returns their number.

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
        lead[j] = _ZERO
    for f in range(n_features):
        row = f if f < 3 else f - 3 + _COLOUR
        scale = _ONE
        if f < 3:
            s = metric[f]
            scale = (s * s) * metric.weight
        centre = listed[row, b]
        low = box[0, f]
        below = centre - low
        above = box[1, f] - centre
        far += max(below * below, above * above) * scale
        width = _TWO * scale * (box[1, f] - low)
        for j in range(padded):
            k = listed[row, j]
            a = centre - k
            negative = a if a < _ZERO else _ZERO
            lead[j] += (a * scale) * ((low - k) - below) + negative * width
    margin = np.float32((512 + 64 * n_features) * 2.0**-24) * far + _TINY
    found = 0
    for j in range(n):
        chosen[1, found] = j
        found += not lead[j] > margin
    return found


@inlined_kernel
def _load_tile(colours: Array, tile: int, box: Array, lanes: Array, scratch: Array) -> None:
    """Start a tile: no distances, no owners, positions and the last channel at hand."""
    z, y, x = box[0, 0], box[0, 1], box[0, 2]
    last = colours.shape[1] - 1
    for i in range(TILE):
        scratch[_BEST + i] = _INF
        scratch[_OWNER + i] = _NOBODY
        scratch[_Z + i] = z + lanes[0, i]
        scratch[_Y + i] = y + lanes[1, i]
        scratch[_X + i] = x + lanes[2, i]
        scratch[_LAST + i] = colours[tile, last, i]


@inlined_kernel
def _choose_owners(
    owners: Array,
    tile: int,
    members: Array,
    first: int,
    n: int,
    place: Array,
    chosen: Array,
    tried: Array,
) -> int:
    """Choose the centres that the tile's pixels had before; returns their number.

    Looking again and again for the greatest number below the last one lists each of them once,
    with nothing but vector instructions.
    """
    found = 0
    k = _NO_LIMIT
    while k >= 0:
        limit = k
        k = np.int32(-1)
        for i in range(TILE):
            owner = owners[tile, i]
            k = max(k, owner if owner < limit else np.int32(-1))
        if k >= 0:
            j = place[k]
            if j < n and members[first + j] == k:
                chosen[0, found] = j
                found += 1
                tried[j] = tile
    return found


@inlined_kernel
def _near_enough(
    listed: Array,
    n: int,
    tile: int,
    metric: Metric,
    box: Array,
    scratch: Array,
    chosen: Array,
    tried: Array,
) -> int:
    """Of the chosen centres keep those that may beat the distances found; returns their number.

    A centre's distance to the nearest point of the tile's box, by the operations that give the
    distance to a pixel, is never more than that: rounding keeps order.
    """
    # The worst distance by halves: a running maximum would take a step a pixel.
    for i in range(TILE // 2):
        left, right = scratch[_BEST + i], scratch[_BEST + TILE // 2 + i]
        scratch[_WORST + i] = left if left > right else right
    for i in range(TILE // 4):
        left, right = scratch[_WORST + i], scratch[_WORST + TILE // 4 + i]
        scratch[_WORST + i] = left if left > right else right
    worst = scratch[_WORST]
    for i in range(1, TILE // 4):
        worst = max(worst, scratch[_WORST + i])
    kept = 0
    for s in range(n):
        j = chosen[1, s]
        dz = metric.z * (listed[0, j] - min(max(listed[0, j], box[0, 0]), box[1, 0]))
        dy = metric.y * (listed[1, j] - min(max(listed[1, j], box[0, 1]), box[1, 1]))
        dx = metric.x * (listed[2, j] - min(max(listed[2, j], box[0, 2]), box[1, 2]))
        colour = _ZERO
        for f in range(3, box.shape[1]):
            at = listed[_COLOUR + f - 3, j]
            d = min(max(at, box[0, f]), box[1, f]) - at
            colour += d * d
        least = (dz * dz + dy * dy + dx * dx) * metric.weight + colour
        chosen[1, kept] = j
        kept += tried[j] != tile and not least > worst
    return kept


@inlined_kernel
def _try_centres(
    colours: Array,
    tile: int,
    listed: Array,
    members: Array,
    first: int,
    metric: Metric,
    box: Array,
    scratch: Array,
    chosen: Array,
    row: int,
    n: int,
) -> None:
    """Let the centres ``chosen[row, :n]`` compete for the tile's pixels.

    Of equal distances the lower number wins, whatever the order of the trials.
    """
    last = colours.shape[1] - 1
    sz, sy, sx, weight = metric.z, metric.y, metric.x, metric.weight
    for s in range(n):
        j = chosen[row, s]
        for c in range(last):
            colour = listed[_COLOUR + c, j]
            if c == 0:
                for i in range(TILE):
                    t = colours[tile, c, i] - colour
                    scratch[_SUM + i] = t * t
            else:
                for i in range(TILE):
                    t = colours[tile, c, i] - colour
                    scratch[_SUM + i] += t * t
        colour = listed[_COLOUR + last, j]
        number = np.float32(members[first + j])
        cz, cy, cx = listed[0, j], listed[1, j], listed[2, j]
        z0, z1 = listed[_WINDOW, j], listed[_WINDOW + 1, j]
        y0, y1 = listed[_WINDOW + 2, j], listed[_WINDOW + 3, j]
        x0, x1 = listed[_WINDOW + 4, j], listed[_WINDOW + 5, j]
        covers = (
            (z0 <= box[0, 0]) & (z1 > box[1, 0])
            & (y0 <= box[0, 1]) & (y1 > box[1, 1])
            & (x0 <= box[0, 2]) & (x1 > box[1, 2])
        )  # fmt: skip
        if covers:
            for i in range(TILE):
                dz = sz * (cz - scratch[_Z + i])
                dy = sy * (cy - scratch[_Y + i])
                dx = sx * (cx - scratch[_X + i])
                t = scratch[_LAST + i] - colour
                d = (dz * dz + dy * dy + dx * dx) * weight + (scratch[_SUM + i] + t * t)
                best = scratch[_BEST + i]
                has = scratch[_OWNER + i]
                wins = (d < best) | ((d == best) & (number < has))
                scratch[_BEST + i] = d if wins else best
                scratch[_OWNER + i] = number if wins else has
        else:
            for i in range(TILE):
                z, y, x = scratch[_Z + i], scratch[_Y + i], scratch[_X + i]
                dz = sz * (cz - z)
                dy = sy * (cy - y)
                dx = sx * (cx - x)
                t = scratch[_LAST + i] - colour
                d = (dz * dz + dy * dy + dx * dx) * weight + (scratch[_SUM + i] + t * t)
                best = scratch[_BEST + i]
                has = scratch[_OWNER + i]
                inside = (z >= z0) & (z < z1) & (y >= y0) & (y < y1) & (x >= x0) & (x < x1)
                wins = inside & ((d < best) | ((d == best) & (number < has)))
                scratch[_BEST + i] = d if wins else best
                scratch[_OWNER + i] = number if wins else has


@inlined_kernel
def _add_positions(
    owners: Array, tile: int, codes: Array, lanes: Array, box: Array, tiling: Tiling, sums: Array
) -> None:
    """Add the pixels of one tile to their owners' counts and sums of positions."""
    z0, y0, x0 = int(box[0, 0]), int(box[0, 1]), int(box[0, 2])
    depth, height, width = tiling.shape[0] - z0, tiling.shape[1] - y0, tiling.shape[2] - x0
    cut = 0
    if depth < tiling.tile[0] or height < tiling.tile[1] or width < tiling.tile[2]:
        cut = 1
        _set_lane_codes(codes, cut, lanes, depth, height, width)
    k = _NO_LIMIT
    while k >= 0:
        limit = k
        k = np.int32(-1)
        for i in range(TILE):
            owner = owners[tile, i]
            k = max(k, owner if owner < limit else np.int32(-1))
        if k >= 0:
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


@kernel
def _move_centres(tiles: Tiles, centres: Centres, tiling: Tiling, sums: Array) -> bool:
    """Move every centre to the float32 mean of its pixels; returns whether any moved."""
    n, n_features = centres.features.shape
    totals = np.zeros((n_features - 3, n), np.float32)
    _sum_colours(tiles.colours, tiles.owners.view(np.uint32), tiling, totals)
    positions = np.empty((n, 3), np.float32)
    inexact = False
    for k in range(n):
        for axis in range(3):
            positions[k, axis] = sums[k, 1 + axis]
            inexact |= sums[k, 1 + axis] > _EXACT
    if inexact:
        _sum_positions_in_order(tiles.owners, tiling, sums, positions)
    moved = False
    for k in range(n):
        count = np.float32(sums[k, 0])
        if count == 0:
            moved |= centres.alive[k]
            centres.alive[k] = False
            continue
        for f in range(n_features):
            total = positions[k, f] if f < 3 else totals[f - 3, k]
            mean = total / count
            moved |= mean != centres.features[k, f]
            centres.features[k, f] = mean
    return moved


@kernel
def _sum_colours(colours: Array, owners: Array, tiling: Tiling, totals: Array) -> None:
    """Sum the colours of every centre's pixels in float32, in raster order.

    `owners` are unsigned here, which spares a test for negative indices.
    """
    tz, ty, tx = tiling.tile
    _, ny, nx = tiling.grid
    depth, height, width = tiling.shape
    # In a volume fours of one centre are too rare to be worth a branch.
    merge = depth == 1
    for z in range(depth):
        for y in range(height):
            first = (z // tz * ny + y // ty) * nx
            row = (z % tz * ty + y % ty) * tx
            for n in range(width // tx):
                for lane in range(row, row + tx, 4):
                    _sum_four(colours, owners, np.uint64(first + n), np.uint64(lane), merge, totals)
            for i in range(width % tx):
                k = owners[first + nx - 1, row + i]
                for c in range(colours.shape[1]):
                    totals[c, k] += colours[first + nx - 1, c, row + i]


@inlined_kernel
def _sum_four(
    colours: Array, owners: Array, tile: np.uint64, lane: np.uint64, merge: bool, totals: Array
) -> None:
    """Add four neighbouring pixels to their centres' colours, in a register where they agree."""
    lane_1, lane_2, lane_3 = lane + _U1, lane + _U2, lane + _U3
    k0, k1 = owners[tile, lane], owners[tile, lane_1]
    k2, k3 = owners[tile, lane_2], owners[tile, lane_3]
    same = merge and ((k0 ^ k1) | (k0 ^ k2) | (k0 ^ k3)) == 0
    for c in range(colours.shape[1]):
        v0, v1 = colours[tile, c, lane], colours[tile, c, lane_1]
        v2, v3 = colours[tile, c, lane_2], colours[tile, c, lane_3]
        if same:
            totals[c, k0] = totals[c, k0] + v0 + v1 + v2 + v3
        else:
            totals[c, k0] += v0
            totals[c, k1] += v1
            totals[c, k2] += v2
            totals[c, k3] += v3


@kernel
def _sum_positions_in_order(owners: Array, tiling: Tiling, sums: Array, positions: Array) -> None:
    """Sum positions in float32, in raster order, where an integer sum would be more exact."""
    tz, ty, tx = tiling.tile
    _, ny, nx = tiling.grid
    depth, height, width = tiling.shape
    for k in range(sums.shape[0]):
        for axis in range(3):
            if sums[k, 1 + axis] > _EXACT:
                positions[k, axis] = _ZERO
    for z in range(depth):
        for y in range(height):
            first = (z // tz * ny + y // ty) * nx
            lane = (z % tz * ty + y % ty) * tx
            for x in range(width):
                k = owners[first + x // tx, lane + x % tx]
                if sums[k, 1] > _EXACT:
                    positions[k, 0] += np.float32(z)
                if sums[k, 2] > _EXACT:
                    positions[k, 1] += np.float32(y)
                if sums[k, 3] > _EXACT:
                    positions[k, 2] += np.float32(x)
