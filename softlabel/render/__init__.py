"""Pictures of soft labels: arrays in, a matplotlib figure out.

A :class:`Picture` holds one section of an image, or several of a volume. Each becomes three
panels: the image; superpixels and label contours on it; the soft label of a class or the entropy
over the classes. Only the band is in colour there, hard pixels stay grey.

Nothing here touches pyplot or any other global state of matplotlib.
"""

from softlabel.colours import class_colour
from softlabel.render.figure import draw
from softlabel.render.picture import Axis, Picture, Section

__all__ = ["Axis", "Picture", "Section", "class_colour", "draw"]
