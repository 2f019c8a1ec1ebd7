"""PTX to C++: one function a kernel, one statement an instruction, one variable a register."""

import re
from dataclasses import dataclass

from . import arithmetic, collectives, conversions, memory
from .ptx import SIZES, Instruction, Label, Registers, Scope, Variable, parse

HANDLERS = arithmetic.HANDLERS | conversions.HANDLERS | memory.HANDLERS | collectives.HANDLERS

# Untouched bytes between __shared__ variables; 128, so that banks stay what they are.
GAP = 128


@dataclass(frozen=True)
class Site:
    """An instruction that the runtime may have to name."""

    file: str
    line: int
    instruction: str
    size: int  # bytes of memory that a thread moves


@dataclass(frozen=True)
class Entry:
    """What a launch of a kernel has to know."""

    symbol: str
    parameters: list
    max_threads: int | None
    static_shared: int
    variables: list  # (start, size) in shared memory
    shared_grain: int
    global_grain: int


@dataclass(frozen=True)
class Program:
    source: str
    entries: dict[str, Entry]
    sites: list[Site]


def translate(text):
    """The C++ of PTX text, with what launches need."""
    kernels, variables = parse(text)
    sites, entries = [], {}
    parts = ['#include "kernel.h"', "using namespace ptx;", *_tables(variables)]
    for number, kernel in enumerate(kernels):
        context = Context(kernel, variables, sites)
        body = context.body()
        symbol = f"kernel_{number}"
        parts.append(f'extern "C" void {symbol}(const u8* parameters) {{\n{body}\n}}')
        entries[kernel.name] = context.entry(symbol)
    return Program("\n".join(parts) + "\n", entries, sites)


def _tables(variables):
    """Constant and global variables of the module."""
    for v in variables:
        if v.space in ("global", "const"):
            kind = f"u{8 * SIZES[v.type]}"
            values = v.values or "{}"
            if v.type.startswith("f"):
                raise NotImplementedError(f"initialized {v.type} variables")
            if not values.startswith("{"):
                values = f"{{{values}}}"
            name = f"{_plain(v.name)}[{v.count}]"
            yield f"alignas({max(v.align, 16)}) static {kind} {name} = {values};"


def _plain(name):
    """A C++ identifier."""
    return "v_" + name.replace("%", "").replace("$", "_")


_SPECIAL = {
    "%laneid": "self->lane",
    "%lanemask_eq": "(1u << self->lane)",
    "%lanemask_lt": "((1u << self->lane) - 1)",
    "%lanemask_le": "((2u << self->lane) - 1)",
    "%lanemask_gt": "(~((2u << self->lane) - 1))",
    "%lanemask_ge": "(~((1u << self->lane) - 1))",
    "%dynamic_smem_size": "dynamic_size",
}
_INDEXED = {"%tid": "self->tid", "%ntid": "ntid", "%ctaid": "ctaid", "%nctaid": "nctaid"}


class Context:
    """One kernel as it is translated: what names stand for, and the code so far."""

    def __init__(self, kernel, variables, sites):
        self.kernel, self.sites = kernel, sites
        self.grains = {"shared": 2, "global": 2}
        self.types = {}  # register -> PTX type
        self._places = {}  # variable -> C++ of its address
        self._shared, self._extents, dynamic = 0, [], []
        text = " ".join(s.text for s in kernel.statements if isinstance(s, Instruction))
        used = set(re.findall(r"[\w$]+", text))
        for v in (*variables, *(s for s in kernel.statements if isinstance(s, Variable))):
            if v.name not in used:
                continue
            if v.space == "shared" and v.count is None:
                dynamic.append(v.name)
            elif v.space == "shared":
                start = -(-self._shared // v.align) * v.align
                self._places[v.name] = f"{start}u"
                self._extents.append((start, v.size))
                self._shared = -(-(start + v.size + GAP) // 128) * 128
            else:
                self._places[v.name] = f"(u64)(uintptr_t){_plain(v.name)}"
        self._places |= dict.fromkeys(dynamic, f"{self._shared}u")

    def entry(self, symbol):
        k = self.kernel
        grains = self.grains["shared"], self.grains["global"]
        return Entry(symbol, k.parameters, k.max_threads, self._shared, self._extents, *grains)

    def body(self):
        declared, code, depth = [], [], 0
        for s in self.kernel.statements:
            if isinstance(s, Registers):
                into = code if depth else declared
                start = "" if depth else " = 0"
                kind = "bool" if s.type == "pred" else f"u{8 * SIZES[s.type]}"
                self.types |= dict.fromkeys(s.names, s.type)
                if s.names:
                    names = ", ".join(_plain(name) + start for name in s.names)
                    into.append(f"{kind} {names};")
            elif isinstance(s, Variable) and s.space == "local":
                declared.append(f"alignas(16) u8 {_plain(s.name)}[{s.size}];")
            elif isinstance(s, Label):
                site = self.site(s.name, s.line, 0)
                code.append(f"{_plain(s.name)}: step({site});")
            elif isinstance(s, Scope):
                depth += 1 if s.opens else -1
                code.append("{" if s.opens else "}")
            elif isinstance(s, Instruction):
                code.append(self._instruction(s))
        return "\n".join([*declared, *code, "return;"])

    def _instruction(self, i):
        try:
            handler = HANDLERS[i.name]
            code = handler(self, i)
        except (KeyError, NotImplementedError, AssertionError, ValueError) as error:
            where = f"{i.line[0]}:{i.line[1]}"
            raise NotImplementedError(f"PTX {i.text!r} ({where}): {error}") from error
        if i.guard is None:
            return code
        return f"if ({'!' if i.negated else ''}{self.register(i.guard)}) {{ {code} }}"

    # What handlers use.

    def site(self, text, line, size, space=None, element=None):
        """A number for the runtime to name the instruction by."""
        if space is not None:
            grain = (element or size).bit_length() - 1
            for s in ("shared", "global") if space == "generic" else (space,):
                self.grains[s] = min(self.grains[s], grain)
        self.sites.append(Site(*line, text.split()[0], size))
        return len(self.sites) - 1

    def register(self, name):
        if name in self.types:
            return _plain(name)
        if name in _SPECIAL:
            return _SPECIAL[name]
        base, _, component = name.partition(".")
        if base in _INDEXED and component in ("x", "y", "z"):
            return f"{_INDEXED[base]}[{'xyz'.index(component)}]"
        raise NotImplementedError(f"register {name}")

    def read(self, operand, kind):
        """The C++ value of an operand as PTX type `kind`."""
        if operand.startswith("!"):
            return f"!{self.read(operand[1:], kind)}"
        if re.fullmatch(r"0[fF][0-9A-Fa-f]{8}", operand):
            raw = f"0x{operand[2:]}u"
        elif re.fullmatch(r"0[dD][0-9A-Fa-f]{16}", operand):
            raw = f"0x{operand[2:]}ull"
        elif re.fullmatch(r"-?(0[xX][0-9A-Fa-f]+|\d+)U?", operand):
            number = int(operand.rstrip("U"), 0)
            raw = f"{number & (1 << 64) - 1}ull"
        elif operand in self._places:
            raw = self._places[operand]
        else:
            raw = self.register(operand)
        if kind == "pred":
            return f"(bool){raw}"
        if kind in ("f32", "f64"):
            return f"{kind}({raw})"
        if kind in ("f16", "bf16"):
            return f"{kind}((u16){raw})"
        return f"(({cpp_type(kind)}){raw})"

    def write(self, operand, value):
        """A C++ statement; `value` is of raw bits, of any width from that of the register on."""
        return "" if operand == "_" else f"{self.register(operand)} = {value};"

    def address(self, operand):
        """The C++ value of `[register + offset]`."""
        found = re.fullmatch(r"\[\s*([%\w$]+)\s*(?:\+\s*(-?\w+))?\s*\]", operand)
        base = self.read(found[1], "u64")
        offset = int(found[2] or "0", 0) & (1 << 64) - 1
        # Shared addresses are 32 bits wide, and wrap around there.
        return f"{base} + {offset}ull" if offset else base

    def parameter(self, operand):
        """The offset of `[parameter + offset]`."""
        found = re.fullmatch(r"\[\s*([%\w$]+)\s*(?:\+\s*(\d+))?\s*\]", operand)
        (parameter,) = [p for p in self.kernel.parameters if p.name == found[1]]
        return parameter.offset + int(found[2] or 0)


def cpp_type(kind):
    """The integer type of a PTX type."""
    return f"{'s' if kind[0] == 's' else 'u'}{8 * SIZES[kind]}"
