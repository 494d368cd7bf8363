"""Small pictures, and what can be seen in the figures that they become."""

from dataclasses import replace

import factories
import numpy as np
from matplotlib.collections import LineCollection

from softlabel.cache import open_cache
from softlabel.generation.settings import Settings
from softlabel.render import Axis, Picture, Section


def section(shape=(12, 16), **changes):
    """A square of class 1 whose upper edge is soft."""
    labels = np.zeros(shape, int)
    labels[4:10, 5:12] = 1
    soft = labels.astype(np.float32)
    soft[3:5, 5:12] = [[0.25], [0.5]]
    arrays = {
        "image": np.arange(labels.size).reshape(shape).astype(np.float32),
        "labels": labels,
        "soft": soft,
        "band": (soft > 0) & (soft < 1),
        "superpixels": np.arange(labels.size).reshape(shape) // 32,
    }
    return Section(**arrays | changes)


def picture(*sections, **changes):
    given_ = {
        "title": "Case a",
        "lines": ("first line", "second line"),
        "sections": sections or (section(),),
        "rows": Axis("axis 0"),
        "columns": Axis("axis 1"),
        "class_names": ("ground", "lesion", "absent"),
        "class_index": 1,
    }
    return Picture(**given_ | changes)


def colour_at(figure, ax, row, column):
    """RGB of the figure at the centre of a pixel of the image."""
    figure.canvas.draw()
    rendered = np.asarray(figure.canvas.buffer_rgba())
    x, y = ax.transData.transform((column, row))
    return rendered[len(rendered) - 1 - int(y), int(x), :3] / 255


def texts(figure):
    figure.canvas.draw()
    axes = [t for ax in figure.axes for t in (ax.title, ax.xaxis.label, ax.yaxis.label, *ax.texts)]
    left = [ax.get_title(loc="left") for ax in figure.axes]
    legends = [t for legend in figure.legends for t in legend.get_texts()]
    found = [*left, *(t.get_text() for t in (*figure.texts, *axes, *legends))]
    return [text for text in found if text]


def lines_of(ax):
    return [c for c in ax.collections if isinstance(c, LineCollection)]


VOLUME = factories.full_case().id


def indices(labels, table):
    """Places in the class table, −1 of other values, one value at a time."""
    result = np.full(labels.shape, -1)
    for place, value in enumerate(table.values):
        result[labels == value] = place
    return result


def long_volume(folder, labels, **changes):
    labels = np.asarray(labels, np.int16)
    image = np.stack([labels, labels]).astype(np.float32)
    plain = {"truth": None, "mask": None, "label_maps": {}, "affine": None, "spacing_mm": None}
    case = replace(factories.full_case(), labels=labels, image=image, **plain | changes)
    return open_cache(factories.full_cache(folder, [case], Settings(superpixels="grid")))
