"""MATLAB files of version 5, compressed, the same bytes for the same values."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import numpy.typing as npt

_HEADER_TEXT = 116
"""Bytes of a file's header that are free text."""


def mat_bytes(variables: Iterable[tuple[str, npt.NDArray[Any]]], about: bytes) -> bytes:
    """The content of a file with these variables, taken one at a time.

    Parameters
    ----------
    variables : iterable of (str, ndarray)
    about : bytes
        Text of the header, instead of SciPy's with the clock; at most 116 bytes of ASCII that
        begin with ``MATLAB 5.0 MAT-file``.
    """
    from scipy import io as scipy_io

    stream = io.BytesIO()
    for name, values in variables:
        # Into a stream that has begun, savemat appends without a header.
        scipy_io.savemat(stream, {name: values}, do_compression=True)
    stream.seek(0)
    stream.write(about.ljust(_HEADER_TEXT))
    return stream.getvalue()
