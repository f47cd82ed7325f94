"""Times of Arrow as ISO 8601, in and out of the range of Python's own."""

from __future__ import annotations

import datetime
import zoneinfo
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["iso_8601"]

_Values = Callable[["pa.Array"], list[Any]]
_PER_SECOND: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY: Final = 86_400
# Days of Python's own times, less one at either end: no offset leads beyond.
_DAYS_OF_PYTHON: Final = range(-719_161, 2_932_896)


def iso_8601(kind: pa.DataType) -> _Values | None:
    """What makes texts of arrays of a type; None if it is not one of times.

    Seconds have six decimals, nine if six are too few, or none. A zone tells as an offset
    of minutes, Z for none; a year outside 1 to 9999 stands as NumPy has it, in UTC.
    """
    import pyarrow as pa

    types = pa.types
    if types.is_timestamp(kind):
        scale, zone = _PER_SECOND[kind.unit], _zone(kind.tz)
        return _of_integers(lambda value: _instant(value, scale, zone))
    if types.is_date32(kind):
        return _of_integers(_date)
    if types.is_date64(kind):
        return _of_integers(lambda value: _date(value // (_DAY * 1000)))
    if types.is_time(kind):
        scale = _PER_SECOND[kind.unit]
        return _of_integers(lambda value: _time_of_day(value, scale))
    if types.is_duration(kind):
        scale = _PER_SECOND[kind.unit]
        return _of_integers(lambda value: _duration(value, scale))
    if types.is_interval(kind):
        return lambda array: [
            None if value is None else _interval(value) for value in array.to_pylist()
        ]
    return None


def _of_integers(text: Callable[[int], str]) -> _Values:
    import pyarrow as pa

    def values(array: pa.Array) -> list[str | None]:
        width = pa.int64() if array.type.bit_width == 64 else pa.int32()
        numbers = array.cast(width).to_pylist()
        return [None if number is None else text(number) for number in numbers]

    return values


def _zone(name: str | None) -> datetime.tzinfo | None:
    """The zone of a type of timestamps; UTC for one that nobody knows."""
    if name is None:
        return None
    try:
        return datetime.datetime.strptime(name, "%z").tzinfo
    except ValueError:
        pass
    try:
        return zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return datetime.UTC


def _instant(value: int, scale: int, zone: datetime.tzinfo | None) -> str:
    seconds, part = divmod(value, scale)
    offset = 0
    if zone is not None and seconds // _DAY in _DAYS_OF_PYTHON:
        moment = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
        local = (moment + datetime.timedelta(seconds=seconds)).astimezone(zone)
        # Of old zones there are offsets of seconds, for which ISO 8601 has no form.
        offset = 60 * round((local.utcoffset() or datetime.timedelta()).total_seconds() / 60)
    days, second = divmod(seconds + offset, _DAY)
    text = f"{_date(days)}T{_time_of_day(second * scale + part, scale)}"
    return text if zone is None else text + _offset(offset)


def _offset(seconds: int) -> str:
    if not seconds:
        return "Z"
    hours, minutes = divmod(abs(seconds) // 60, 60)
    return f"{'-' if seconds < 0 else '+'}{hours:02d}:{minutes:02d}"


def _date(days: int) -> str:
    return str(np.datetime64(days, "D"))


def _time_of_day(value: int, scale: int) -> str:
    second, part = divmod(value, scale)
    minute, second = divmod(second, 60)
    return f"{minute // 60:02d}:{minute % 60:02d}:{second:02d}{_fraction(part, scale)}"


def _fraction(part: int, scale: int) -> str:
    """Nothing for 0, six digits, or nine if six are too few."""
    nanoseconds = part * (10**9 // scale)
    if not nanoseconds:
        return ""
    micros, nanos = divmod(nanoseconds, 1000)
    return f".{nanoseconds:09d}" if nanos else f".{micros:06d}"


def _duration(value: int, scale: int) -> str:
    seconds, part = divmod(abs(value), scale)
    days, seconds = divmod(seconds, _DAY)
    text = "-P" if value < 0 else "P"
    if days or not value:
        text += f"{days}D"
    return text + (f"T{seconds}{_fraction(part, scale).rstrip('0')}S" if seconds or part else "")


def _interval(value: Any) -> str:
    months, days, nanoseconds = value
    seconds, part = divmod(abs(nanoseconds), 10**9)
    sign = "-" if nanoseconds < 0 else ""
    return f"P{months}M{days}DT{sign}{seconds}{_fraction(part, 10**9).rstrip('0')}S"
