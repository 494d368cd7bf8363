"""Reports for people: one HTML file that holds all it shows, of a cache or of anything else.

A page has no address of anything outside, runs no script but its own (the policy in its head allows
that one by its hash), and escapes every text of others. :func:`write_report` makes that of a cache;
:func:`render_page` and :func:`publish_page` make pages of others, such as the trainer's.
"""

from softlabel.reports.cache_page import write_report
from softlabel.reports.charts import Curve, curves, histogram, strips
from softlabel.reports.contents import as_text
from softlabel.reports.names import Names, from_dicom
from softlabel.reports.page import publish_page, render_page, require_replaceable
from softlabel.reports.pictures import CasePictures
from softlabel.reports.predictions import LAYERS as PREDICTION_LAYERS
from softlabel.reports.predictions import prediction_thumbnails

__all__ = [
    "PREDICTION_LAYERS",
    "CasePictures",
    "Curve",
    "Names",
    "as_text",
    "curves",
    "from_dicom",
    "histogram",
    "prediction_thumbnails",
    "publish_page",
    "render_page",
    "require_replaceable",
    "strips",
    "write_report",
]
