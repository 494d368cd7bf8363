"""Files on disk: written whole or not at all, named safely, removed when their writer has died."""

from softlabel.files.atomic import publish, publish_by, require_writable, sweep
from softlabel.files.names import file_name, file_names

__all__ = ["file_name", "file_names", "publish", "publish_by", "require_writable", "sweep"]
