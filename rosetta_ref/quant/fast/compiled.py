"""How a kernel is compiled: kept on disk, letting go of Python's lock, and without any licence to change the arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

#: A kernel fills `out`, shape (blocks, elements), from blocks with f16 as bits and the table of what those mean.
kernel: Callable[[Any], Any] = numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")

#: A step of a kernel.
step: Callable[[Any], Any] = numba.njit(inline="always")


@step
def single(code: Any) -> Any:
    """A code as float32. Through int32, since numba's integers grow to int64, which few machines convert fast."""
    return np.float32(np.int32(code))
