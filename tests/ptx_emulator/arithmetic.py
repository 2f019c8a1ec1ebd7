"""Arithmetic: instructions that change one register."""

from .ptx import SIZES


def only(i, *allowed):
    """The type of an instruction, which may have no other modifiers than `allowed`."""
    unknown = set(i.modifiers[:-1]) - set(allowed)
    if unknown:
        raise NotImplementedError(f"modifiers {sorted(unknown)}")
    return i.modifiers[-1]


def is_float(kind):
    return kind in ("f32", "f64")


def cpp(kind):
    if is_float(kind):
        return "float" if kind == "f32" else "double"
    return f"{'s' if kind[0] == 's' else 'u'}{8 * SIZES[kind]}"


def finished(i, kind, value):
    """A float result, flushed and saturated as the modifiers say, as bits."""
    value = f"({cpp(kind)})({value})"
    if "ftz" in i.modifiers:
        value = f"flush({value})"
    if "sat" in i.modifiers:
        value = f"saturate({value})"
    return f"bits(canonical({value}))"


def inputs(c, i, kind, operands):
    """Values; subnormal floats are zeros where the instruction flushes."""
    values = [c.read(operand, kind) for operand in operands]
    flushes = "ftz" in i.modifiers and kind == "f32"
    return [f"flush({v})" for v in values] if flushes else values


def _binary(symbol):
    def handle(c, i):
        kind = only(i, *(("rn", "ftz", "sat") if is_float(i.modifiers[-1]) else ()))
        d, *operands = i.operands
        if is_float(kind):
            a, b = inputs(c, i, kind, operands)
            return c.write(d, finished(i, kind, f"{a} {symbol} {b}"))
        a, b = (c.read(operand, "u" + kind[1:]) for operand in operands)
        return c.write(d, f"{cpp('u' + kind[1:])}({a} {symbol} {b})")

    return handle


def _multiply(c, i):
    kind = i.modifiers[-1]
    d, *operands = i.operands
    if is_float(kind):
        only(i, "rn", "ftz", "sat")
        a, b = inputs(c, i, kind, operands)
        return c.write(d, finished(i, kind, f"{a} * {b}"))
    only(i, "lo", "hi", "wide")
    width, sign = 8 * SIZES[kind], "s" if kind[0] == "s" else "u"
    a, b = (c.read(operand, kind) for operand in operands[:2])
    product = f"({sign}{2 * width}){a} * ({sign}{2 * width}){b}"
    if "wide" in i.modifiers:
        width *= 2
        value = f"(u{width})({product})"
    elif "hi" in i.modifiers:
        value = f"(u{width})(({product}) >> {width})"
    else:
        value = f"(u{width})({product})"
    if i.name == "mad":
        value = f"(u{width})({value} + {c.read(operands[2], f'u{width}')})"
    return c.write(d, value)


def _fma(c, i):
    kind = only(i, "rn", "rm", "ftz", "sat")
    a, b, x = inputs(c, i, kind, i.operands[1:])
    if "rm" in i.modifiers and kind != "f32":
        raise NotImplementedError("rounding down in float64")
    function = "fma_down" if "rm" in i.modifiers else "std::fma"
    return c.write(i.operands[0], finished(i, kind, f"{function}({a}, {b}, {x})"))


def _divide(c, i):
    kind = i.modifiers[-1]
    only(i, *(("rn", "full", "approx", "ftz") if is_float(kind) else ()))
    d, *operands = i.operands
    a, b = inputs(c, i, kind, operands)
    if is_float(kind):
        return c.write(d, finished(i, kind, f"{a} / {b}"))
    function = "quotient" if i.name == "div" else "remainder_of"
    return c.write(d, f"{function}<{cpp(kind)}>({a}, {b})")


def _function(expression):
    """A float function of one operand; what the chip approximates is nearly exact here."""

    def handle(c, i):
        kind = only(i, "rn", "approx", "ftz")
        (a,) = inputs(c, i, kind, i.operands[1:])
        return c.write(i.operands[0], finished(i, kind, expression.format(a)))

    return handle


def _extreme(c, i):
    kind = i.modifiers[-1]
    only(i, *(("ftz", "NaN") if is_float(kind) else ()))
    d, *operands = i.operands
    a, b = inputs(c, i, kind, operands)
    if is_float(kind):
        value = f"{i.name}imum({a}, {b})"
        if "NaN" in i.modifiers:
            value = f"nan_of({a}, {b}, {value})"
        return c.write(d, finished(i, kind, value))
    symbol = "<" if i.name == "min" else ">"
    return c.write(d, f"{cpp('u' + kind[1:])}({a} {symbol} {b} ? {a} : {b})")


def _negate(c, i):
    kind = only(i, "ftz")
    d, a = i.operands
    if is_float(kind):
        top = 8 * SIZES[kind] - 1
        raw = c.read(a, f"u{top + 1}") if a.startswith("%") else f"bits({c.read(a, kind)})"
        value = f"{raw} ^ (u{top + 1})1 << {top}"
        if i.name == "abs":
            value = f"{raw} & ~((u{top + 1})1 << {top})"
        return c.write(d, value)
    value = c.read(a, kind)
    if i.name == "abs":
        return c.write(d, f"{value} < 0 ? -{value} : {value}")
    return c.write(d, f"-{value}")


def _bitwise(symbol):
    def handle(c, i):
        kind = only(i)
        a, b = (c.read(operand, kind) for operand in i.operands[1:])
        return c.write(i.operands[0], f"{a} {symbol} {b}")

    return handle


def _not(c, i):
    kind = only(i)
    return c.write(i.operands[0], f"{'!' if kind == 'pred' else '~'}{c.read(i.operands[1], kind)}")


def _shift(c, i):
    kind = only(i)
    d, a, by = i.operands
    function = "shift_left" if i.name == "shl" else "shift_right"
    return c.write(d, f"{function}<{cpp(kind)}>({c.read(a, kind)}, {c.read(by, 'u32')})")


def _funnel(c, i):
    only(i, "l", "r", "wrap", "clamp")
    d, low, high, by = i.operands
    low, high, by = (c.read(operand, "u32") for operand in (low, high, by))
    by = f"({by} & 31)" if "wrap" in i.modifiers else f"({by} > 32 ? 32u : {by})"
    side = "left" if i.modifiers[0] == "l" else "right"
    return c.write(d, f"funnel_{side}({low}, {high}, {by})")


def _call(function, kinds, result=""):
    """A function of operands of the given types; None stands for the type of the instruction."""

    def handle(c, i):
        kind = only(i)
        values = [
            c.read(operand, k or kind) for operand, k in zip(i.operands[1:], kinds, strict=True)
        ]
        template = f"<{cpp(kind)}>" if None in kinds else ""
        return c.write(i.operands[0], f"{function}{template}({', '.join(values)}){result}")

    return handle


def _bit_mask(c, i):
    only(i, "wrap", "clamp")
    start, width = (c.read(operand, "u32") for operand in i.operands[1:])
    clamps = "true" if "clamp" in i.modifiers else "false"
    return c.write(i.operands[0], f"bit_mask({start}, {width}, {clamps})")


def _find_bit(c, i):
    kind = only(i, "shiftamt")
    as_shift = "true" if "shiftamt" in i.modifiers else "false"
    value = c.read(i.operands[1], kind)
    return c.write(i.operands[0], f"find_bit<{cpp(kind)}>({value}, {as_shift})")


def _population(c, i):
    return c.write(i.operands[0], f"__builtin_popcountll({c.read(i.operands[1], only(i))})")


def _dot4(c, i):
    a_kind, b_kind = i.modifiers
    a, b, x = (c.read(operand, "u32") for operand in i.operands[1:])
    signs = ", ".join("true" if kind == "s32" else "false" for kind in (a_kind, b_kind))
    return c.write(i.operands[0], f"dot4({a}, {b}, {x}, {signs})")


HANDLERS = {
    "add": _binary("+"),
    "sub": _binary("-"),
    "mul": _multiply,
    "mad": _multiply,
    "fma": _fma,
    "div": _divide,
    "rem": _divide,
    "rcp": _function("1 / {}"),
    "sqrt": _function("std::sqrt({})"),
    "rsqrt": _function("1 / std::sqrt({})"),
    "ex2": _function("std::exp2({})"),
    "lg2": _function("std::log2({})"),
    "sin": _function("std::sin({})"),
    "cos": _function("std::cos({})"),
    "tanh": _function("std::tanh({})"),
    "min": _extreme,
    "max": _extreme,
    "neg": _negate,
    "abs": _negate,
    "and": _bitwise("&"),
    "or": _bitwise("|"),
    "xor": _bitwise("^"),
    "not": _not,
    "shl": _shift,
    "shr": _shift,
    "shf": _funnel,
    "prmt": _call("permute", ("u32", "u32", "u32")),
    "lop3": _call("logic3", ("u32", "u32", "u32", "u32")),
    "bfe": _call("bit_field", (None, "u32", "u32")),
    "bfi": _call("insert_field", (None, None, "u32", "u32")),
    "bmsk": _bit_mask,
    "bfind": _find_bit,
    "clz": _call("leading_zeros", (None,)),
    "brev": _call("reversed", ("b32",)),
    "popc": _population,
    "dp4a": _dot4,
}
