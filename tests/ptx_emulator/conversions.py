"""Comparisons, choices, conversions and moves."""

from .arithmetic import cpp, finished, inputs, is_float, only
from .ptx import SIZES

_COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_UNSIGNED = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}
_ROUND = {"rni": "NEAREST", "rzi": "ZERO", "rmi": "FLOOR", "rpi": "CEIL"}
_BOOLEAN = {"and": "&&", "or": "||", "xor": "!="}


def _select(c, i):
    kind = only(i)
    d, a, b, predicate = i.operands
    raw = "u" + str(8 * SIZES[kind])
    a, b = (
        f"bits({c.read(x, kind)})" if is_float(kind) and not x.startswith("%") else c.read(x, raw)
        for x in (a, b)
    )
    return c.write(d, f"{c.read(predicate, 'pred')} ? {a} : {b}")


def _compare(c, i):
    compare, *between, kind = i.modifiers
    unknown = set(between) - {"ftz", *_BOOLEAN}
    if unknown:
        raise NotImplementedError(f"modifiers {sorted(unknown)}")
    target, a, b, *rest = i.operands
    a, b = inputs(c, i, kind, (a, b))
    if is_float(kind):
        unordered = f"({a} != {a} || {b} != {b})"
        if compare in ("num", "nan"):
            value = f"{'!' if compare == 'num' else ''}{unordered}"
        elif compare.endswith("u") and compare[:-1] in _COMPARE:
            value = f"({unordered} || {a} {_COMPARE[compare[:-1]]} {b})"
        else:
            value = f"(!{unordered} && {a} {_COMPARE[compare]} {b})"
    else:
        value = f"({a} {_COMPARE[_UNSIGNED.get(compare, compare)]} {b})"
    joins = [m for m in between if m in _BOOLEAN]
    joined, inverse = value, f"!{value}"
    if joins:
        other = c.read(rest[0], "pred")
        joined, inverse = (f"({v} {_BOOLEAN[joins[0]]} {other})" for v in (value, inverse))
    first, _, second = target.partition("|")
    if not second:
        return c.write(first, joined)
    both = c.write(first, "yes") + c.write(second, "no")
    return f"{{ const bool yes = {joined}, no = {inverse}; {both} }}"


def _convert(c, i):
    *how, to, source = i.modifiers
    if "pack" in how:
        return _pack(c, i)
    unknown = set(how) - {"rn", "ftz", "sat", *_ROUND}
    if unknown:
        raise NotImplementedError(f"modifiers {sorted(unknown)}")
    d, *operands = i.operands
    if to in ("f16x2", "bf16x2"):
        high, low = (f"to_{to[:-2]}({c.read(x, source)})" for x in operands)
        return c.write(d, f"(u32){high} << 16 | {low}")
    (value,) = inputs(c, i, source, operands)
    mode = next((_ROUND[m] for m in how if m in _ROUND), None)
    from_float = source in ("f16", "bf16", "f32", "f64")
    if to in ("f16", "bf16"):
        if not from_float:
            value = f"(float){value}" if SIZES[source] <= 2 else f"(double){value}"
        return c.write(d, f"to_{to}({value})")
    if is_float(to):
        if mode:
            value = f"rounded({value}, {mode})"
        return c.write(d, finished(i, to, value))
    if from_float:
        return c.write(d, f"to_integer<{cpp(to)}>({value}, {mode})")
    if "sat" in how:
        low, high = _limits(to)
        value = f"saturated<{cpp(to)}>({value}, {low}ll, {high}ll)"
    return c.write(d, f"({cpp(to)}){value}")


def _limits(kind):
    width = 8 * SIZES[kind]
    return (-(1 << width - 1), (1 << width - 1) - 1) if kind[0] == "s" else (0, (1 << width) - 1)


def _pack(c, i):
    """Two integers, saturated, below the low bits of a third."""
    *how, to, source, third = i.modifiers
    if set(how) != {"pack", "sat"} or third not in ("b32",):
        raise NotImplementedError("this cvt.pack")
    low, high = _limits(to)
    width = 8 * SIZES[to]
    d, a, b, *rest = i.operands
    a, b = (
        f"(u{width})saturated<{cpp(to)}>({c.read(x, source)}, {low}ll, {high}ll)" for x in (a, b)
    )
    above = f" | {c.read(rest[0], 'u32')} << {2 * width}" if rest else ""
    return c.write(d, f"(u32){a} << {width} | (u32){b}{above}")


def _move(c, i):
    kind = only(i)
    d, a = i.operands
    if kind == "pred":
        return c.write(d, c.read(a, kind))
    raw = "u" + str(8 * SIZES[kind])
    if isinstance(a, tuple):
        width = 8 * SIZES[kind] // len(a)
        parts = (f"({raw}){c.read(x, f'u{width}')} << {width * n}" for n, x in enumerate(a))
        return c.write(d, " | ".join(parts))
    value = f"bits({c.read(a, kind)})" if is_float(kind) and a[0] == "0" else c.read(a, raw)
    if isinstance(d, tuple):
        width = 8 * SIZES[kind] // len(d)
        parts = (c.write(x, f"(u{width})(whole >> {width * n})") for n, x in enumerate(d))
        return f"{{ const {raw} whole = {value}; {''.join(parts)} }}"
    return c.write(d, value)


HANDLERS = {
    "selp": _select,
    "setp": _compare,
    "cvt": _convert,
    "mov": _move,
}
