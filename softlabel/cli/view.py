"""``softlabel view``: the cases of a cache in napari."""

from __future__ import annotations

from pathlib import Path

import click

from softlabel.cache import open_cache
from softlabel.cli.options import cache_argument, class_index, given_window, window_option


@click.command()
@cache_argument
@click.argument("case", required=False)
@click.option(
    "--class", "class_name", metavar="NAME|VALUE", help="Show the soft label of this class."
)
@window_option
@click.option(
    "--worst-first",
    is_flag=True,
    help="List the cases by the mean soft label of their softest class in its own pixels.",
)
def view(
    cache: Path,
    case: str | None,
    class_name: str | None,
    window: tuple[float, float] | None,
    worst_first: bool,
) -> None:
    """Open a CASE of CACHE.h5 in napari ('Subject_01*' works too), by default the first.

    Layers: image, label maps, superpixels, the soft label of each class, their entropy. A list
    beside them shows the other cases. Needs the extra 'napari' and a display.
    """
    # napari takes seconds to import, which --help need not wait for
    from softlabel.viewers.order import in_order
    from softlabel.viewers.window import open_window

    with open_cache(cache) as opened:
        chosen = opened.chosen((case,) if case else ())
        first = chosen[0] if case else in_order(opened, worst_first)[0].id
        open_window(
            opened,
            first,
            class_index=class_index(opened.classes, class_name),
            window=given_window(window),
            worst_first=worst_first,
        )
