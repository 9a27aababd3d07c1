"""Structured damage: what a hostile or broken file looks like, made of a good one.

Everything draws from one `random.Random`, so that hypothesis can steer and shrink it, and a seed alone
repeats it. Nothing here knows what reads the result.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from random import Random
from typing import Any, Final, Literal

Field = tuple[int, int]
"""Offset and width in bytes of a number that means something: a length, a size, a type."""

_ORDERS: Final[tuple[Literal["big", "little"], ...]] = ("big", "little")
_NUMBERS = (
    0,
    1,
    2,
    7,
    8,
    127,
    128,
    255,
    256,
    3000,
    4000,
    32767,
    32768,
    65535,
    65536,
    2**31 - 1,
    2**31,
    2**32 - 1,
)


def mutate(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Damages a binary file in one to four ways.

    Args:
        random: Decides everything.
        data: A good file.
        others: Good files of all kinds, for splices and polyglots.

    Returns:
        The damaged file, perhaps no file at all any more.
    """
    fields = list(_fields(data))
    mended = random.random() < 0.5
    for _ in range(random.randint(1, 4)):
        way = random.choice(_WAYS)
        data = way(random, data, fields, others)
    return _with_checksums(data) if mended else data


def _set_field(random: Random, data: bytes, fields: list[Field], others: Sequence[bytes]) -> bytes:
    if not fields:
        return _set_anywhere(random, data, fields, others)
    offset, width = random.choice(fields)
    value = random.choice(_NUMBERS) if random.random() < 0.8 else random.getrandbits(8 * width)
    order = random.choice(_ORDERS)
    return _put(data, offset, (value % 256**width).to_bytes(width, order))


def _step_field(random: Random, data: bytes, fields: list[Field], others: Sequence[bytes]) -> bytes:
    if not fields:
        return data
    offset, width = random.choice(fields)
    order = random.choice(_ORDERS)
    value = int.from_bytes(data[offset : offset + width], order) + random.choice((-8, -1, 1, 2, 8, 64))
    return _put(data, offset, (value % 256**width).to_bytes(width, order))


def _set_anywhere(random: Random, data: bytes, fields: list[Field], others: Sequence[bytes]) -> bytes:
    near_start = random.random() < 0.5
    at = random.randrange(max(1, min(len(data), 256 if near_start else len(data))))
    return _put(
        data,
        at,
        random.choice(_NUMBERS).to_bytes(4, random.choice(_ORDERS))[: random.randint(1, 4)],
    )


def _flip_bits(random: Random, data: bytes, fields: list[Field], others: Sequence[bytes]) -> bytes:
    damaged = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 16))):
        if damaged:
            damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)
    return bytes(damaged)


def _cut(random: Random, data: bytes, fields: list[Field], others: Sequence[bytes]) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _remove(random: Random, data: bytes, fields: list[Field], others: Sequence[bytes]) -> bytes:
    start = random.randrange(len(data) + 1)
    return data[:start] + data[start + random.choice((1, 2, 4, 30, 300)) :]


def _repeat(random: Random, data: bytes, fields: list[Field], others: Sequence[bytes]) -> bytes:
    start = random.randrange(len(data) + 1)
    part = data[start : start + random.choice((1, 4, 12, 100, 1000))]
    return data[:start] + part * random.choice((2, 3, 50)) + data[start:]


def _blank(random: Random, data: bytes, fields: list[Field], others: Sequence[bytes]) -> bytes:
    start = random.randrange(len(data) + 1)
    length = min(random.choice((4, 30, 300)), len(data) - start)
    return _put(data, start, random.choice((b"\0", b"\xff", b"\x55")) * length)


def _splice(random: Random, data: bytes, fields: list[Field], others: Sequence[bytes]) -> bytes:
    other = random.choice(others)
    return data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other) + 1) :]


def _polyglot(random: Random, data: bytes, fields: list[Field], others: Sequence[bytes]) -> bytes:
    other = random.choice(others)
    at = random.choice((0, 2, 4, 8, 12, len(data)))
    return data[:at] + other + data[at:]


_WAYS: tuple[Callable[[Random, bytes, list[Field], Sequence[bytes]], bytes], ...] = (
    *(_set_field,) * 6,
    *(_step_field,) * 2,
    _set_anywhere,
    _flip_bits,
    _flip_bits,
    _cut,
    _remove,
    _repeat,
    _blank,
    _splice,
    _polyglot,
)


def _put(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


# Where the numbers are that steer a decoder.


def _fields(data: bytes) -> Iterator[Field]:
    try:
        if data.startswith(b"\x89PNG"):
            yield from _png_fields(data)
        elif data.startswith(b"\xff\xd8"):
            yield from _jpeg_fields(data)
        elif data.startswith(b"RIFF"):
            yield from _riff_fields(data)
        elif data[4:8] in (b"ftyp", b"JXL "):
            yield from _box_fields(data, 0, len(data))
        elif data.startswith((b"II", b"MM")):
            yield from _tiff_fields(data)
        elif data.startswith(b"GIF8"):
            yield from ((at, 2) for at in (6, 8))
            yield from ((at, 1) for at in range(10, min(len(data), 60)))
            yield from (
                (at, 2)
                for at in (match.start() + 1 + n for match in re.finditer(b",", data) for n in (0, 2, 4, 6))
            )
        elif data.startswith(b"BM"):
            yield from ((at, 4) for at in range(2, 70, 4))
            yield from ((at, 2) for at in (26, 28))
        else:
            yield from ((at, 1) for at in range(min(len(data), 40)))
    except (IndexError, struct.error):
        return


def _png_fields(data: bytes) -> Iterator[Field]:
    at = 8
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        yield from ((at, 4), (at + 4, 4))
        yield from ((at + 8 + n, 4 if length >= 8 and n < 8 else 1) for n in range(0, min(length, 24), 4))
        if data[at + 4 : at + 8] == b"IHDR":
            yield from ((at + 16 + n, 1) for n in range(5))
        at += 12 + length


def _jpeg_fields(data: bytes) -> Iterator[Field]:
    at = 2
    while data[at] == 0xFF:
        marker, (length,) = data[at + 1], struct.unpack_from(">H", data, at + 2)
        yield from ((at + 1, 1), (at + 2, 2))
        yield from ((at + 4 + n, 1) for n in range(min(length - 2, 40)))
        if 0xC0 <= marker <= 0xCF and marker != 0xC4:
            yield from (((at + 5, 2), (at + 7, 2)) * 3)
        at += 2 + length


def _riff_fields(data: bytes) -> Iterator[Field]:
    yield (4, 4)
    at = 12
    while at + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, at + 4)
        yield from ((at, 4), (at + 4, 4))
        yield from ((at + 8 + n, 3 if n else 1) for n in (0, 4, 7))
        yield from ((at + 8 + n, 2) for n in range(0, 16, 2))
        at += 8 + length + length % 2


def _box_fields(data: bytes, start: int, end: int) -> Iterator[Field]:
    at = start
    while at + 8 <= end:
        length, kind = struct.unpack_from(">I4s", data, at)
        yield from ((at, 4), (at + 4, 4))
        inner = at + 8 + 4 * (kind in (b"meta", b"iinf", b"iref", b"dref", b"stsd"))
        if kind in (b"meta", b"iprp", b"ipco", b"iinf", b"iref", b"moov", b"trak", b"mdia", b"minf", b"stbl"):
            yield from _box_fields(data, inner, min(end, at + length))
        else:
            yield from ((n, 4) for n in range(at + 8, min(at + length, at + 64), 4))
            yield from ((n, 2) for n in range(at + 8, min(at + length, at + 64), 2))
        if length < 8:
            return
        at += length


def _tiff_fields(data: bytes) -> Iterator[Field]:
    order = "<" if data.startswith(b"II") else ">"
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    yield (4, 4)
    for _ in range(3):
        (count,) = struct.unpack_from(f"{order}H", data, at)
        yield (at, 2)
        for entry in range(at + 2, at + 2 + 12 * min(count, 40), 12):
            yield from ((entry, 2), (entry + 2, 2), (entry + 4, 4), (entry + 8, 4), (entry + 8, 2))
        (at,) = struct.unpack_from(f"{order}I", data, at + 2 + 12 * count)
        if not at:
            return


def _with_checksums(data: bytes) -> bytes:
    """Lets a damaged PNG pass its checksums, so that what lies behind them is reached."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    mended, at = bytearray(data), 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            break
        mended[end : end + 4] = struct.pack(">I", zlib.crc32(data[at + 4 : end]))
        at = end + 4
    return bytes(mended)


# Text.

_VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        117,
        10**6,
        10**400,
        0.5,
        -1e308,
        float("nan"),
        float("inf"),
        "",
        "x",
        "\0",
    ),
    *("=1+2", "\ud800", "../../..", "a" * 5000, [], {}, [[]], [None], {"": None}, [1, "a", None]),
)


@lru_cache(maxsize=8)
def _parsed(text: str) -> Any:
    """JSON that is damaged over and over; nothing changes what it holds."""
    return json.loads(text)


def mutate_json(random: Random, text: str) -> bytes:
    """Damages JSON: values of other kinds, keys gone or new, deep nesting, then perhaps its bytes."""
    value = _parsed(text)
    for _ in range(random.randint(1, 3)):
        value = _changed(random, value, depth=random.randint(0, 6))
    if random.random() < 0.02:
        return b"[" * 100_000
    data = json.dumps(value).encode()
    return _flip_bits(random, data, [], []) if random.random() < 0.1 else data


def _changed(random: Random, value: Any, *, depth: int) -> Any:
    if depth and isinstance(value, dict) and value:
        key = random.choice(sorted(value, key=str))
        way = random.random()
        if way < 0.1:
            return {name: item for name, item in value.items() if name != key}
        if way < 0.15:
            return value | {random.choice(("new", "", "name", "\0")): random.choice(_VALUES)}
        return value | {key: _changed(random, value[key], depth=depth - 1)}
    if depth and isinstance(value, list) and value:
        at = random.randrange(len(value))
        if random.random() < 0.2:
            return value[:at] + value[at + 1 :]
        return [*value[:at], _changed(random, value[at], depth=depth - 1), *value[at + 1 :]]
    return random.choice(_VALUES)


def mutate_text(random: Random, text: str) -> bytes:
    """Damages CSV, TOML or the like: fields replaced, lines gone or repeated, then perhaps its bytes."""
    lines = text.splitlines()
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(lines)) if lines else 0
        way = random.randrange(5)
        if not lines:
            break
        if way == 0:
            del lines[at]
        elif way == 1:
            lines[at:at] = [lines[random.randrange(len(lines))]] * random.choice((1, 2, 30))
        elif way == 2:
            lines[at] = lines[at][: random.randrange(len(lines[at]) + 1)]
        else:
            parts = re.split(r"([,=\[\]\s]+)", lines[at])
            value = random.choice(_VALUES)
            parts[random.randrange(len(parts))] = str(value) if random.random() < 0.7 else json.dumps(value)
            lines[at] = "".join(parts)
    data = "\n".join(lines).encode("utf-8", "surrogatepass")
    if random.random() < 0.2:
        data = random.choice((_flip_bits, _blank, _cut, _repeat))(random, data, [], [])
    return data
