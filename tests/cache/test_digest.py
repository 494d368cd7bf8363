"""The digests of a case and of an index: computed here from docs/format.md's own words."""

from __future__ import annotations

import hashlib
import json

import factories
import h5py
import numpy as np
import pytest

from softlabel.cache.digest import case_digest, index_digest


@pytest.fixture
def part(tmp_path):
    return factories.part(factories.full_cache(tmp_path), factories.full_case().id)


def by_the_words_of_the_format(case, *more):
    attributes = []
    for name in sorted(case.attrs):
        value = case.attrs[name]
        if name == "digest":
            continue
        if isinstance(value, (bytes, str)):
            text = value if isinstance(value, bytes) else value.encode()
            attributes.append([name, text.hex()])
        else:
            value = np.asarray(value)
            attributes.append([name, [value.dtype.str, list(value.shape), value.tobytes().hex()]])
    datasets = []
    case.visititems(lambda name, node: datasets.append((name, node)))
    rows = [
        [name, node.dtype.str, list(node.shape), bytes(node.attrs["sha256"]).decode()]
        for name, node in sorted(datasets)
        if isinstance(node, h5py.Dataset)
    ]
    return hashlib.sha256(json.dumps([attributes, rows, *more]).encode()).hexdigest()


def test_it_is_what_the_format_says(part):
    with h5py.File(part) as file:
        told = bytes(file["case"].attrs["digest"]).decode()
        assert told == case_digest(file["case"]) == by_the_words_of_the_format(file["case"])


def test_that_of_an_index_is_what_the_format_says(tmp_path):
    ids = ("s10", "s2", "größer 1")
    with h5py.File(factories.make_cache(tmp_path, ids)) as file:  # h5py walks along no links
        named = sorted(case_id.encode().hex() for case_id in ids)
        told = bytes(file["cases"].attrs["digest"]).decode()
        assert told == index_digest(file) == by_the_words_of_the_format(file, named)


@pytest.mark.parametrize("name", ["group", "affine", "class_pixels", "spacing_mm", "soft_sum"])
def test_every_attribute_counts(part, name):
    with h5py.File(part, "r+") as file:
        case = file["case"]
        before = case_digest(case)
        value = case.attrs[name]
        if isinstance(value, (bytes, str, np.bytes_)):
            case.attrs[name] = "another"
        else:
            case.attrs.modify(name, np.asarray(value) + 1)
        assert case_digest(case) != before


def test_another_array_counts(part):
    with h5py.File(part, "r+") as file:
        before = case_digest(file["case"])
        file["case/labels"].attrs.modify("sha256", np.bytes_("0" * 64))
        assert case_digest(file["case"]) != before
        del file["case/truth"]
        assert case_digest(file["case"]) != before
