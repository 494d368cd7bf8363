"""Files on disk: written whole or not at all, named safely, removed when their writer has died."""

from softlabel.files.atomic import publish, publish_by, require_writable, sweep
from softlabel.files.names import file_name, file_names
from softlabel.files.owner import Claim, claimed, owners

__all__ = [
    "Claim",
    "claimed",
    "file_name",
    "file_names",
    "owners",
    "publish",
    "publish_by",
    "require_writable",
    "sweep",
]
