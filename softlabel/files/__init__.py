"""Files on disk: written whole or not at all, named safely, and owned by a process or by nobody."""

from softlabel.files.atomic import publish, publish_by, require_writable, sweep
from softlabel.files.names import file_name, file_names

__all__ = ["file_name", "file_names", "publish", "publish_by", "require_writable", "sweep"]
