"""Instructions of a whole warp or block, and jumps."""


def _site(c, i):
    return c.site(i.text, i.line, 0)


def _barrier(c, i):
    how = [m for m in i.modifiers if m not in ("cta", "aligned")]
    if how == ["warp", "sync"]:
        return f"warp_barrier({c.read(i.operands[0], 'u32')}, {_site(c, i)});"
    if how == ["sync"] and i.operands == ("0",):
        return f"block_barrier({_site(c, i)}, false);"
    if how[0] == "red" and how[1] in ("and", "or", "popc") and i.operands[1] == "0":
        target, _, *threads, predicate = i.operands
        if threads:
            raise NotImplementedError("barriers of some threads")
        result = {"and": "barrier_all", "or": "barrier_any", "popc": "barrier_count"}[how[1]]
        barrier = f"block_barrier({_site(c, i)}, {c.read(predicate, 'pred')});"
        return f"{barrier} {c.write(target, result)}"
    raise NotImplementedError("named barriers, and barriers of some threads")


def _shuffle(c, i):
    sync, mode, kind = i.modifiers
    if (sync, kind) != ("sync", "b32"):
        raise NotImplementedError("this shfl")
    modes = {"idx": "INDEX", "up": "UP", "down": "DOWN", "bfly": "BUTTERFLY"}
    target, _, predicate = i.operands[0].partition("|")
    a, b, clamp, mask = (c.read(operand, "u32") for operand in i.operands[1:])
    call = f"shuffle({modes[mode]}, {a}, {b}, {clamp}, {mask}, {_site(c, i)}, &in_range)"
    code = f"bool in_range; const u32 word = {call}; {c.write(target, 'word')}"
    if predicate:
        code += c.write(predicate, "in_range")
    return f"{{ {code} }}"


def _vote(c, i):
    sync, mode, _ = i.modifiers
    modes = {"ballot": "BALLOT", "all": "ALL", "any": "ANY", "uni": "UNIFORM"}
    if sync != "sync":
        raise NotImplementedError("this vote")
    target, predicate, mask = i.operands
    value = (
        f"vote({modes[mode]}, {c.read(predicate, 'pred')}, {c.read(mask, 'u32')}, {_site(c, i)})"
    )
    return c.write(target, value)


def _redux(c, i):
    sync, operation, kind = i.modifiers
    if sync != "sync" or kind[0] not in "sub":
        raise NotImplementedError("this redux")
    name = operation.upper()
    if kind[0] == "s" and name in ("MIN", "MAX"):
        name = f"SIGNED_{name}"
    target, value, mask = i.operands
    call = f"redux({name}, {c.read(value, 'u32')}, {c.read(mask, 'u32')}, {_site(c, i)})"
    return c.write(target, call)


def _match(c, i):
    mode, sync, kind = i.modifiers
    if sync != "sync":
        raise NotImplementedError("this match")
    value, mask = c.read(i.operands[1], "u" + kind[1:]), c.read(i.operands[2], "u32")
    target, _, predicate = i.operands[0].partition("|")
    if mode == "any":
        return c.write(target, f"match_any({value}, {mask}, {_site(c, i)})")
    code = f"bool all; const u32 lanes = match_all({value}, {mask}, {_site(c, i)}, &all);"
    code += c.write(target, "lanes") + (c.write(predicate, "all") if predicate else "")
    return f"{{ {code} }}"


def _multiply(c, i):
    _, _, shape, *layout, d, a, b, third = i.modifiers
    shapes = {"m16n8k32": (16, 32), "m16n8k16": (16, 16), "m8n8k16": (8, 16)}
    is_integer = a in ("s8", "u8") and b in ("s8", "u8") and d == third == "s32"
    if not is_integer or layout != ["row", "col"] or shape not in shapes:
        raise NotImplementedError("this mma")
    targets, *parts = ((x,) if isinstance(x, str) else x for x in i.operands)
    words = [f"{{{', '.join(c.read(x, 'u32') for x in part)}}}" for part in parts]
    m, k = shapes[shape]
    signs = ", ".join("true" if kind == "s8" else "false" for kind in (a, b))
    code = f"const u32 a[] = {words[0]}, b[] = {words[1]}, c[] = {words[2]}; u32 d[4];"
    code += f" mma_int8({m}, {k}, {signs}, a, b, c, d, {_site(c, i)});"
    code += "".join(c.write(x, f"d[{n}]") for n, x in enumerate(targets))
    return f"{{ {code} }}"


def _branch(c, i):
    (target,) = i.operands
    return f"goto v_{target.replace('$', '_')};"


HANDLERS = {
    "bar": _barrier,
    "barrier": _barrier,
    "shfl": _shuffle,
    "vote": _vote,
    "redux": _redux,
    "match": _match,
    "mma": _multiply,
    # Any set of lanes that holds the own one is right.
    "activemask": lambda c, i: c.write(i.operands[0], "1u << self->lane"),
    "bra": _branch,
    "ret": lambda c, i: "return;",
    "exit": lambda c, i: "return;",
    "trap": lambda c, i: f'fail({_site(c, i)}, "trap");',
}
