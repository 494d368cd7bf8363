"""Readers: one module a format, from files on disk to :class:`~softlabel.types.Case`."""

from softlabel.readers.catalogue import READERS, detect, list_dataset
from softlabel.readers.mapped import read_case, read_labels
from softlabel.readers.registry import Reader, ReaderOption
from softlabel.readers.scan import scan_classes

__all__ = [
    "READERS",
    "Reader",
    "ReaderOption",
    "detect",
    "list_dataset",
    "read_case",
    "read_labels",
    "scan_classes",
]
