"""Kernels with one barrier, wait or fence less: who checks a kernel must notice each."""

import re
from collections import defaultdict

_LINE = re.compile(r"\.loc\s+(\d+)\s+(\d+)")
_SYNC = re.compile(
    r"(?:barrier(?:\.cta)?|bar)\.(?:warp\.)?sync(?:\.aligned)?\s+[^;]*;|cp\.async\.wait_group\s+\d+;"
    r"|cp\.async\.wait_all;|membar\.(?:gl|sys);|fence\.(?:acq_rel|sc)\.(?:gpu|sys);"
)


def mutants(ptx, kernel):
    """(description, function that edits the PTX) for each line of source that synchronizes.

    `kernel` is the symbol of the kernel. Loops are unrolled and functions inlined: all copies of a
    line go at once, as if it had been deleted from the source.
    """
    start = ptx.index(f".entry {kernel}(")
    end = ptx.find(".entry", start + 10) % (len(ptx) + 1)
    places, line = defaultdict(list), ("", "")
    for found in re.finditer(f"{_LINE.pattern}|(?P<sync>{_SYNC.pattern})", ptx[start:end]):
        if found["sync"]:
            name = re.sub(r"\s+", " ", found["sync"])
            places[line, name].append((start + found.start(), start + found.end()))
        else:
            line = found[1], found[2]
    for ((file, number), name), spans in places.items():
        path = re.search(rf'\.file\s+{file}\s+"([^"]*)"', ptx)
        where = path[1].rpartition("/")[2] if path else "?"
        yield f"{where}:{number} without {name}", _without(spans)


def _without(spans):
    def change(ptx):
        for start, end in reversed(spans):
            ptx = ptx[:start] + ptx[end:]
        return ptx

    return change
