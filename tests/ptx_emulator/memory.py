"""Instructions that go to memory."""

from .arithmetic import cpp, is_float
from .ptx import SIZES

_SPACES = {
    "shared": ("shared", "Shared"),
    "shared::cta": ("shared", "Shared"),
    "global": ("global", "Global"),
    "generic": ("generic", "Generic"),
    "const": (None, "Unchecked"),
    "local": (None, "Unchecked"),
}
# What else an access may say: how caches treat it, and, of those that are ordered, how.
_CACHE = {"nc", "ca", "cg", "cs", "cv", "wb", "wt", "weak", "volatile", "L1::no_allocate"}
_CACHE |= {"L1::evict_last", "L1::evict_first", "L2::128B", "L2::256B", "L2::64B"}
_SCOPES = {"cta", "gpu", "sys"}
_VECTOR = {"v2": 2, "v4": 4, "v8": 8}


def _space(i, allowed):
    """The state space of an access, which may have no other modifiers than `allowed`."""
    rest = set(i.modifiers[:-1]) - allowed
    (space,) = (rest & {*_SPACES, "param"}) or {"generic"}
    unknown = rest - {space}
    if unknown:
        raise NotImplementedError(f"modifiers {sorted(unknown)}")
    return space


def _load_store(c, i):
    kind = i.modifiers[-1]
    loads = i.name == "ld"
    space = _space(i, _CACHE | _SCOPES | {"relaxed", "acquire", "release", *_VECTOR})
    values, place = i.operands if loads else i.operands[::-1]
    values = values if isinstance(values, tuple) else (values,)
    size, raw = SIZES[kind], f"u{8 * SIZES[kind]}"
    seen_as = cpp(kind) if kind[0] == "s" else raw  # narrow signed values fill their register
    if space == "param":
        start = c.parameter(place)
        at = "(u64)(uintptr_t)parameters"
        loaded = [f"fetch<{seen_as}>({at} + {start + n * size})" for n in range(len(values))]
        return "".join(c.write(v, e) for v, e in zip(values, loaded, strict=True))
    watched, name = _SPACES[space]
    total = size * len(values)
    site = c.site(i.text, i.line, total, watched, size) if watched else 0
    ordered = {"relaxed", "acquire", "release"} & set(i.modifiers)
    access = "ATOMIC" if ordered else "READ" if loads else "WRITE"
    code = [f"const u64 at = {name}::at({_wrapped(c, place, space)}, {total}, {access}, {site});"]
    if "release" in ordered:
        code.append("fence();")
    if ordered:
        code.append("synchronize_at(at);")
    if loads:
        # All are read before one is written: the address may be in one of them.
        code += [
            f"const {seen_as} x{n} = fetch<{seen_as}>(at + {n * size});" for n in range(len(values))
        ]
        code += [c.write(v, f"x{n}") for n, v in enumerate(values)]
    else:
        code += [f"put<{raw}>(at + {n * size}, {_bits(c, v, kind)});" for n, v in enumerate(values)]
    if "acquire" in ordered:
        code.append("fence();")
    return f"{{ {' '.join(code)} }}"


def _bits(c, operand, kind):
    raw = f"u{8 * SIZES[kind]}"
    if is_float(kind) and not operand.startswith("%") and operand not in c.types:
        return f"bits({c.read(operand, kind)})"
    return f"({raw}){c.read(operand, raw)}"


def _wrapped(c, operand, space):
    """An address; those of shared memory have 32 bits."""
    address = c.address(operand)
    return f"(u32)({address})" if space.startswith("shared") else address


_ATOMIC = {
    "add": "old + value",
    "min": "value < old ? value : old",
    "max": "value > old ? value : old",
    "exch": "value",
    "cas": "old == value ? other : old",
    "and": "old & value",
    "or": "old | value",
    "xor": "old ^ value",
    "inc": "old >= value ? 0 : old + 1",
    "dec": "old == 0 || old > value ? value : old - 1",
}


def _atomic(c, i):
    kind = i.modifiers[-1]
    orders = {"relaxed", "acquire", "release", "acq_rel"}
    space = _space(i, _SCOPES | orders | {*_ATOMIC, "noftz"})
    (operation,) = set(i.modifiers) & set(_ATOMIC)
    target, (place, *values) = (
        (i.operands[0], i.operands[1:]) if i.name == "atom" else ("_", i.operands)
    )
    watched, name = _SPACES[space]
    size, number = SIZES[kind], cpp(kind)
    site = c.site(i.text, i.line, size, watched)
    code = [f"const {number} value = {c.read(values[0], kind)};"]
    if operation == "cas":
        code.append(f"const {number} other = {c.read(values[1], kind)};")
    if {"release", "acq_rel"} & set(i.modifiers):
        code.append("fence();")
    function = f"[&]({number} old) {{ return ({number})({_ATOMIC[operation]}); }}"
    call = f"atomic<{name}, {number}>({_wrapped(c, place, space)}, {site}, {function})"
    code.append(f"const {number} before = {call};")
    code.append(c.write(target, "bits(before)"))
    if {"acquire", "acq_rel"} & set(i.modifiers):
        code.append("fence();")
    return f"{{ {' '.join(code)} }}"


def _convert_address(c, i):
    unknown = set(i.modifiers) - {"to", "shared", "shared::cta", "global", "local", "const", "u64"}
    if unknown:
        raise NotImplementedError(f"modifiers {sorted(unknown)}")
    d, a = i.operands
    value = c.read(a, "u64")
    if {"shared", "shared::cta"} & set(i.modifiers):
        sign = "-" if "to" in i.modifiers else "+"
        value = f"{value} {sign} (u64)(uintptr_t)shared"
    return c.write(d, value)


def _copy(c, i):
    if i.modifiers[0] != "async":
        raise NotImplementedError("cp other than cp.async")
    _, what, *rest = i.modifiers
    if what == "commit_group":
        return "copy_commit();"
    if what == "wait_group":
        return f"copy_wait({i.operands[0]});"
    if what == "wait_all":
        return "copy_commit(); copy_wait(0);"
    unknown = {what, *rest} - {"ca", "cg", "shared", "shared::cta", "global"} - _CACHE
    if unknown:
        raise NotImplementedError(f"modifiers {sorted(unknown)}")
    target, source, size, *ignored = i.operands
    site = c.site(i.text, i.line, int(size), "shared", min(int(size), 4))
    taken = c.read(ignored[0], "u32") if ignored else size
    target, source = _wrapped(c, target, "shared"), c.address(source)
    return f"copy_async({target}, {source}, {size}, {taken}, {site});"


def _fence(c, i):
    unknown = set(i.modifiers) - {"gl", "sys", "gpu", "cta", "acq_rel", "sc"}
    if unknown:
        raise NotImplementedError(f"modifiers {sorted(unknown)}")
    return ";" if "cta" in i.modifiers else "fence();"


def _load_matrix(c, i):
    *how, count, space, kind = (m for m in i.modifiers if m != "trans")
    if (
        how != ["sync", "aligned", "m8n8"]
        or space not in ("shared", "shared::cta")
        or kind != "b16"
    ):
        raise NotImplementedError("this ldmatrix")
    targets, place = i.operands
    targets = targets if isinstance(targets, tuple) else (targets,)
    site = c.site(i.text, i.line, 16, "shared", 4)
    transposed = "true" if "trans" in i.modifiers else "false"
    load = f"ldmatrix({count[1:]}, {transposed}, {_wrapped(c, place, 'shared')}, words, {site});"
    stores = "".join(c.write(target, f"words[{n}]") for n, target in enumerate(targets))
    return f"{{ u32 words[4]; {load} {stores} }}"


HANDLERS = {
    "ld": _load_store,
    "st": _load_store,
    "atom": _atomic,
    "red": _atomic,
    "cvta": _convert_address,
    "cp": _copy,
    "membar": _fence,
    "fence": _fence,
    "ldmatrix": _load_matrix,
    "prefetch": lambda c, i: ";",
}
