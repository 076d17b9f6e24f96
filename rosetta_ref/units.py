"""Sizes, counts and seconds as people write them."""

from __future__ import annotations

import argparse
import math
import re

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


def byte_size(text: str) -> int:
    """A number of bytes. Raises ValueError.

    >>> byte_size("5GB"), byte_size("1.5 MiB"), byte_size("4096")
    (5000000000, 1572864, 4096)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?", text.strip().upper())
    if match is None or match[2] not in _UNITS or (size := int(float(match[1]) * _UNITS[match[2]])) < 1:
        raise ValueError(f"not a size: {text!r} (such as 5GB or 500MiB)")
    return size


def at_least_one(text: str) -> int:
    """A count of things that there must be. Raises ArgumentTypeError."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 on is wanted, not {text!r}")
    return number


def seconds(text: str) -> float:
    """A time that passes. Raises ArgumentTypeError."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"a number of seconds is wanted, not {text!r}")
    return number


def duration(text: str) -> float:
    """Seconds, of a time with a unit or without. Raises ArgumentTypeError.

    >>> duration("60s"), duration("1.5 min"), duration("90")
    (60.0, 90.0, 90.0)
    """
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*(|s|min|m|h)", text.strip())
    number = float(match[1]) * {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}[match[2]] if match else 0.0
    if not number:
        raise argparse.ArgumentTypeError(f"a time such as 60s or 5min is wanted, not {text!r}")
    return number


def part(text: str) -> tuple[int, int]:
    """One of several parts. Raises ArgumentTypeError.

    >>> part("1/3")
    (1, 3)
    """
    match = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"a part such as 1/3 is wanted, from 1/3 to 3/3, not {text!r}")
    return int(match[1]), int(match[2])
