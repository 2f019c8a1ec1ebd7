"""What intrinsics emit: pieces of LLVM's vector code, and the CPU that they are for."""

from functools import cache

from llvmlite import ir
from numba.core import cgutils
from numba.core.registry import cpu_target


@cache
def _target():
    triple, _, features = cpu_target.target_context.codegen().magic_tuple()
    return triple, features.split(",")


def features():
    """What the CPU that Numba compiles for can do, in LLVM's spelling: "+avx2", "-avxvnni"."""
    return _target()[1]


def is_x86():
    return _target()[0].startswith("x86")


def pointer(builder, address, kind):
    """An address as a pointer."""
    return builder.inttoptr(address, kind.as_pointer())


def load(builder, base, i, kind):
    """Element i of an array of vectors or numbers that begins at an address, aligned or not."""
    return builder.load(builder.gep(pointer(builder, base, kind), [i]), align=1)


def store(builder, value, base, i):
    """Set element i."""
    builder.store(value, builder.gep(pointer(builder, base, value.type), [i]), align=1)


def ints(numbers):
    """A constant vector of int32, such as the order of a shuffle."""
    return ir.Constant(ir.VectorType(ir.IntType(32), len(numbers)), list(numbers))


def splat(builder, value, count):
    """A vector of `count` times one value."""
    undefined = ir.Constant(ir.VectorType(value.type, count), ir.Undefined)
    one = builder.insert_element(undefined, value, ir.IntType(32)(0))
    return builder.shuffle_vector(one, undefined, ints([0] * count))


def call(builder, name, result, args):
    """Call an intrinsic of LLVM."""
    kind = ir.FunctionType(result, [arg.type for arg in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)
