"""TFRecord files of ``tf.train.Example`` messages, read without TensorFlow.

A record is its length (8 bytes, little-endian), a checksum of it (4), the message, a checksum of
that (4). The checksums are not looked at: a damaged file shows in lengths that do not add up. A
message maps names to lists of bytes, floats or integers, in protocol buffer encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from biote.errors import DataError

Feature = list[bytes] | npt.NDArray[np.float32] | npt.NDArray[np.int64]

_LENGTH: Final = struct.Struct("<Q4x")
_CHECKSUM_BYTES: Final = 4
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3


def read_examples(path: Path) -> Iterator[dict[str, Feature]]:
    """Yield the messages of a file in order, as features by name.

    Args:
        path: TFRecord file, not compressed.

    Raises:
        DataError: If it is none, or was cut off.
    """
    with path.open("rb") as stream:
        number = 0
        while head := stream.read(_LENGTH.size):
            where = f"{path}, record {number}"
            size = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else -1
            # A length from a file of another kind is a huge number: do not ask for so much.
            left = path.stat().st_size - stream.tell()
            if not 0 <= size <= left - _CHECKSUM_BYTES:
                raise DataError(
                    "not a TFRecord, or cut off", where=where, mend="fetch the file anew"
                )
            message = stream.read(size)
            stream.read(_CHECKSUM_BYTES)
            try:
                yield _example(message)
            except (IndexError, ValueError, struct.error) as error:
                raise DataError(
                    f"no tf.train.Example ({error})", where=where, mend="fetch the file anew"
                ) from error
            number += 1


def _example(message: bytes) -> dict[str, Feature]:
    features: dict[str, Feature] = {}
    for _, every in _fields(message, wanted=1):  # Example.features
        for _, entry in _fields(every, wanted=1):  # one entry of Features.feature
            parts = dict(_fields(entry, wanted=None))
            features[parts.get(1, b"").decode()] = _feature(parts.get(2, b""))
    return features


def _feature(message: bytes) -> Feature:
    for kind, content in _fields(message, wanted=None):
        if kind == _BYTES_LIST:
            return [value for _, value in _fields(content, wanted=1)]
        if kind == _FLOAT_LIST:
            packed = b"".join(value for _, value in _fields(content, wanted=1))
            return np.frombuffer(packed, "<f4").astype(np.float32)
        if kind == _INT64_LIST:
            packed = b"".join(value for _, value in _fields(content, wanted=1))
            return _integers(packed)
    return []


def _fields(message: bytes, *, wanted: int | None) -> Iterator[tuple[int, bytes]]:
    """Fields of a message with their numbers; numbers in their encoding, as bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        start = at
        if key & 7 == _VARINT:
            _, at = _varint(message, at)
        elif key & 7 in (_FIXED64, _FIXED32):
            at += 8 if key & 7 == _FIXED64 else 4
        elif key & 7 == _BYTES:
            size, start = _varint(message, at)
            at = start + size
        else:
            raise ValueError(f"wire type {key & 7}")
        if at > len(message):
            raise ValueError("a field ends behind its message")
        if wanted is None or key >> 3 == wanted:
            yield key >> 3, message[start:at]


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """An integer of seven bits a byte, and where the next field begins."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _integers(packed: bytes) -> npt.NDArray[np.int64]:
    values = []
    at = 0
    while at < len(packed):
        value, at = _varint(packed, at)
        values.append(value - (1 << 64) if value >> 63 else value)
    return np.array(values, np.int64)
