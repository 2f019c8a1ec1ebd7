"""The micro-kernels that there are, and which of them this CPU runs.

A micro-kernel multiplies a few rows of A by one panel of B and keeps the sums in registers. k runs
in words of `depth` entries:

    panel of A, h rows     [k / depth][h] words of 4 bytes: int8, or int16 where depth is 2
    panel of B, w columns  [k / depth][w][depth] bytes, unsigned but for sdot
    the same of 4 bits     [k / 8][w][4] bytes: entries 0..3 in the low nibbles, 4..7 in the high
    panel of floats        [k][h], [k][w]
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from numba import types
from numba.core.imputils import lower_constant
from numba.extending import NativeValue, models, overload_attribute, register_model, unbox


@dataclass(frozen=True, eq=False)  # two hashes of all fields would take a microsecond a call
class Tile:
    """What one micro-kernel multiplies; kernels are compiled for each.

    dot : products of bytes that one instruction sums into int32: 4, or 2 (of int16)
    lanes, vectors : int32 in a vector, and vectors in a panel of B
    heights : rows of A that it takes at once, the largest first
    needs : CPU features without which the code would not run, or not well
    nibble_heights : those for entries of B of 4 bits, which take two more registers a vector
    nibbles : whether the entries of B have 4 bits
    """

    name: str
    dot: int
    lanes: int
    vectors: int
    heights: tuple[int, int, int, int]
    needs: tuple[str, ...] = ()
    nibble_heights: tuple[int, int, int, int] = (4, 3, 2, 1)
    nibbles: bool = False

    @property
    def depth(self) -> int:
        """Entries of k in a word of A."""
        return 4 if self.nibbles else self.dot

    @property
    def per_byte(self) -> int:
        """Entries of B in a byte."""
        return 2 if self.nibbles else 1

    @property
    def longest(self) -> int:
        """Entries of k whose products can be summed without overflow."""
        return 32 if self.nibbles and self.dot == 2 else 32768

    @cache  # noqa: B019
    def with_nibbles(self, nibbles: bool) -> "Tile":
        """The same for entries of B of 4 or 8 bits."""
        return replace(self, heights=self.nibble_heights, nibbles=True) if nibbles else self

    @property
    def width(self) -> int:
        """Columns in a panel of B."""
        return self.lanes * self.vectors

    @property
    def signed(self) -> bool:
        """Whether the entries of B are signed, as those of A are: vpdpbusd wants them not to be."""
        return self.name == "sdot"

    @property
    def _numba_type_(self) -> Any:
        return _type_of(self)


# The first that the CPU has the features for is used. 12 x 32 and 6 x 16 have as many sums as there
# are registers beside the operands.
TILES = {
    tile.name: tile
    for tile in (
        Tile("avx512vnni", 4, 16, 2, (12, 8, 4, 1), ("avx512vnni",), (12, 8, 4, 1)),
        Tile("avxvnni", 4, 8, 2, (6, 4, 2, 1), ("avxvnni",)),
        Tile("avx512bw", 2, 16, 2, (12, 8, 4, 1), ("avx512bw",), (12, 8, 4, 1)),
        Tile("avx2", 2, 8, 2, (6, 4, 2, 1), ("avx2",)),
        Tile("sdot", 4, 4, 4, (6, 4, 2, 1), ("neon", "dotprod")),
        Tile("portable", 2, 4, 2, (4, 3, 2, 1)),
    )
}


def tiles_for(features: list[str]) -> list[Tile]:
    """The TILES that run on a CPU with these features, in LLVM's spelling: "+avx2", "-avxvnni"."""
    return [tile for tile in TILES.values() if all(f"+{need}" in features for need in tile.needs)]


class TileType(types.Type):
    """A type for each tile: compiled functions get it as an argument and depend on it alone."""

    def __init__(self, tile: Tile) -> None:
        super().__init__(name=f"Tile({tile.name}, {tile.per_byte})")
        self.tile = tile


@cache
def _type_of(tile: Tile) -> TileType:
    return TileType(tile)


register_model(TileType)(models.OpaqueModel)


@unbox(TileType)
def _unbox_tile(typ, obj, c):
    return NativeValue(c.context.get_dummy_value())


@lower_constant(TileType)
def _constant_tile(context, builder, typ, value):
    return context.get_dummy_value()


def _attribute(name):
    def of(tile):
        value = getattr(tile.tile, name)
        return lambda tile: value

    overload_attribute(TileType, name)(of)


for _name in ("depth", "dot", "lanes", "width", "heights", "per_byte"):
    _attribute(_name)
