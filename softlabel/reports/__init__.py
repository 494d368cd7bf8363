"""Reports for people: one HTML file that holds all it shows, of a cache or of anything else.

A page has no address of anything outside, runs no script but its own (the policy in its head allows
that one by its hash), and escapes every text of others. :func:`write_report` makes that of a cache;
:func:`render_page` and :func:`publish_page` make pages of others, such as the trainer's.
"""

from softlabel.reports.cache_page import write_report
from softlabel.reports.charts import Curve, curves, histogram, strips
from softlabel.reports.layers import PictureLayers, image_layer, label_layer, mask_layer
from softlabel.reports.page import publish_page, render_page, require_replaceable

__all__ = [
    "Curve",
    "PictureLayers",
    "curves",
    "histogram",
    "image_layer",
    "label_layer",
    "mask_layer",
    "publish_page",
    "render_page",
    "require_replaceable",
    "strips",
    "write_report",
]
