"""The HDF5 cache (FORMAT.md): reading, parts, index."""

from softlabel.cache.files import Header, publish, software_versions, sweep
from softlabel.cache.index import (
    IndexContent,
    PartSummary,
    SeenFile,
    parts_folder,
    read_index,
    read_part_summary,
    read_parts,
    rebuild_index,
    recover_header,
)
from softlabel.cache.part import CaseResult, InputFile, Statistics, build_part
from softlabel.cache.read import Cache, CachedCase, StoredArray, open_cache

__all__ = [
    "Cache",
    "CachedCase",
    "CaseResult",
    "Header",
    "IndexContent",
    "InputFile",
    "PartSummary",
    "SeenFile",
    "Statistics",
    "StoredArray",
    "build_part",
    "open_cache",
    "parts_folder",
    "publish",
    "read_index",
    "read_part_summary",
    "read_parts",
    "rebuild_index",
    "recover_header",
    "software_versions",
    "sweep",
]
