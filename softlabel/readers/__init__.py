"""Readers: one module a format, from files on disk to :class:`~softlabel.types.Case`."""

from softlabel.readers.catalogue import READERS, detect, list_dataset
from softlabel.readers.registry import Reader, ReaderOption
from softlabel.readers.scan import scan_classes

__all__ = ["READERS", "Reader", "ReaderOption", "detect", "list_dataset", "scan_classes"]
