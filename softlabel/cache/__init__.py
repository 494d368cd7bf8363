"""The HDF5 cache (docs/format.md): reading, parts, index."""

from softlabel.cache.before import Before
from softlabel.cache.damage import damage
from softlabel.cache.files import (
    Header,
    followed_link,
    is_packed,
    packed_is_read_only,
    parts_folders,
    says_it_is_ours,
    software_versions,
)
from softlabel.cache.index import (
    IndexContent,
    PartsFolder,
    PartSummary,
    SeenFile,
    belongs,
    folder_of,
    is_damaged_index,
    parts_folder,
    purpose_of,
    read_index,
    read_part_summary,
    rebuild_index,
    recover,
    version_of,
)
from softlabel.cache.pack import pack_cache, unpack_cache
from softlabel.cache.part import CaseResult, InputFile, Statistics, build_part
from softlabel.cache.read import Cache, CachedCase, StoredArray, open_cache
from softlabel.cache.regroup import regrouped_part
from softlabel.cache.schema import chunk_shape, label_dtype

__all__ = [
    "Before",
    "Cache",
    "CachedCase",
    "CaseResult",
    "Header",
    "IndexContent",
    "InputFile",
    "PartSummary",
    "PartsFolder",
    "SeenFile",
    "Statistics",
    "StoredArray",
    "belongs",
    "build_part",
    "chunk_shape",
    "damage",
    "folder_of",
    "followed_link",
    "is_damaged_index",
    "is_packed",
    "label_dtype",
    "open_cache",
    "pack_cache",
    "packed_is_read_only",
    "parts_folder",
    "parts_folders",
    "purpose_of",
    "read_index",
    "read_part_summary",
    "rebuild_index",
    "recover",
    "regrouped_part",
    "says_it_is_ours",
    "software_versions",
    "unpack_cache",
    "version_of",
]
