"""How much memory a call needs at its peak."""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

_RESET, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def peak_memory(call: Callable[[], Any]) -> int | None:
    """Bytes beyond those in use before `call`, its result included; None where unknown.

    Linux keeps the peak of the process, of whatever library, and can reset it. Pages are counted,
    in steps of 4 kB, and by each thread some dozens at a time: below 1 MB this is a rough figure.
    """
    try:
        # Else the call could reuse pages that an earlier one has left to the allocator.
        ctypes.CDLL(None).malloc_trim(0)
        _RESET.write_text("5")
        before = _status("VmRSS")
    except (AttributeError, OSError, KeyError):
        return None
    result = call()
    peak = _status("VmHWM")
    del result
    return max(0, peak - before)


def _status(name: str) -> int:
    lines = (line.split(":") for line in _STATUS.read_text().splitlines())
    return 1024 * int(dict(lines)[name].split()[0])
