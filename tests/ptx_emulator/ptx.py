"""PTX text, taken apart: kernels, their parameters and variables, and a list of statements."""

import re
from dataclasses import dataclass, field

SIZES = {f"{kind}{bits}": bits // 8 for kind in "bsu" for bits in (8, 16, 32, 64)} | {
    "f16": 2,
    "bf16": 2,
    "f32": 4,
    "f64": 8,
}


@dataclass(frozen=True)
class Instruction:
    """`@!guard name.modifiers operands`; an operand in braces is a tuple."""

    text: str
    name: str
    modifiers: tuple[str, ...]
    operands: tuple
    guard: str | None
    negated: bool
    line: tuple[str, int]  # file and line of the CUDA source


@dataclass(frozen=True)
class Label:
    name: str
    line: tuple[str, int]


@dataclass(frozen=True)
class Scope:
    """A brace of its own: inline assembly opens scopes to declare registers."""

    opens: bool


@dataclass(frozen=True)
class Registers:
    type: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Variable:
    """A declared array in a state space; `values` is its initializer, as PTX spells it."""

    space: str
    name: str
    type: str
    align: int
    count: int | None  # None: of dynamic size
    values: str | None = None

    @property
    def size(self):
        return SIZES[self.type] * (self.count or 0)


@dataclass(frozen=True)
class Parameter:
    name: str
    offset: int
    size: int


@dataclass
class Kernel:
    name: str
    parameters: list[Parameter]
    max_threads: int | None
    statements: list = field(default_factory=list)


_VARIABLE = re.compile(
    r"(?:\.visible\s+|\.weak\s+|\.extern\s+)?\.(shared|global|const|local)\s+"
    r"(?:\.attribute\([^)]*\)\s*)?(?:\.align\s+(\d+)\s+)?\.(\w+)\s+([\w$%]+)"
    r"(?:\[(\d*)\])?\s*(?:=\s*(.*))?$",
    re.S,
)
_ENTRY = re.compile(r"\.entry\s+([\w$]+)\s*\((.*?)\)([^{]*)\{", re.S)


def parse(text):
    """(kernels, variables of the module) of PTX text."""
    text = re.sub(r"//[^\n]*", "", re.sub(r"/\*.*?\*/", "", text, flags=re.S))
    files = dict(re.findall(r'\.file\s+(\d+)\s+"([^"]*)"', text))
    kernels, outside, position = [], [], 0
    for entry in _ENTRY.finditer(text):
        if entry.start() < position:
            continue
        end = _closing_brace(text, entry.end())
        outside.append(text[position : entry.start()])
        position = end + 1
        kernel = Kernel(entry[1], _parameters(entry[2]), _max_threads(entry[3]))
        kernel.statements = list(_statements(text[entry.end() : end], files))
        kernels.append(kernel)
    outside.append(text[position:])
    if re.search(r"\.func\b", "".join(outside)):
        raise NotImplementedError("PTX functions: mark device functions __forceinline__")
    return kernels, list(_module_variables("".join(outside)))


def _closing_brace(text, start):
    depth = 1
    for brace in re.finditer("[{}]", text[start:]):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return start + brace.start()
    raise ValueError("PTX ends inside a kernel")


def _max_threads(directives):
    limits = re.search(r"\.maxntid\s+([\d,\s]+)", directives)
    if limits is None:
        return None
    product = 1
    for number in limits[1].split(","):
        product *= int(number)
    return product


def _parameters(text):
    result, offset = [], 0
    for part in text.split(","):
        if not part.strip():
            continue
        found = re.search(
            r"\.param\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+(?:\.ptr\b.*?\s)?([\w$]+)(?:\[(\d+)\])?\s*$",
            part,
        )
        size = SIZES[found[2]] * int(found[4] or 1)
        align = int(found[1] or SIZES[found[2]])
        offset = -(-offset // align) * align
        result.append(Parameter(found[3], offset, size))
        offset += size
    return result


def _module_variables(text):
    text = re.sub(r"\.section\s+\.debug\w*\s*\{.*?\n\s*\}", "", text, flags=re.S)
    for statement in text.split(";"):
        if found := re.search(r"\.(shared|global|const)\b", statement):
            start = statement.rfind("\n", 0, found.start()) + 1
            yield _variable(" ".join(statement[start:].split()))


def _variable(text):
    found = _VARIABLE.match(text)
    if found is None:
        raise NotImplementedError(f"PTX declaration: {text!r}")
    space, align, kind, name, count, values = found.groups()
    number = 1 if count is None else int(count) if count else None
    return Variable(space, name, kind, int(align or SIZES[kind]), number, values)


_TOKEN = re.compile(
    r"\s*(?:(?P<loc>\.loc\s[^\n]*)|(?P<label>[$\w]+):(?!:)|(?P<brace>[{}])"
    r"|(?P<statement>(?:[^;{}]|\{[^{};]*\})+);)"
)


def _statements(body, files):
    line, position, end = ("", 0), 0, len(body.rstrip())
    while position < end:
        token = _TOKEN.match(body, position)
        if token is None:
            raise NotImplementedError(f"PTX near {body[position : position + 60]!r}")
        position = token.end()
        if token["loc"]:
            _, file, number = token["loc"].split()[:3]
            line = (files.get(file, "?").rpartition("/")[2], int(number))
        elif token["label"]:
            yield Label(token["label"], line)
        elif token["brace"]:
            yield Scope(token["brace"] == "{")
        else:
            yield from _statement(" ".join(token["statement"].split()), line)


def _statement(text, line):
    if text.startswith(".reg"):
        _, kind, names = text.split(None, 2)
        yield Registers(kind[1:], tuple(_register_names(names)))
    elif text.startswith((".shared", ".local")):
        yield _variable(text)
    elif not text.startswith(".pragma"):
        yield _instruction(text, line)


def _register_names(text):
    for name in text.split(","):
        found = re.match(r"\s*(%?[\w$]+)(?:<(\d+)>)?\s*$", name)
        if found[2] is None:
            yield found[1]
        else:
            yield from (f"{found[1]}{i}" for i in range(int(found[2])))


def _instruction(text, line):
    found = re.match(r"(?:@(!?)([%\w$]+)\s+)?([\w.:]+)\s*(.*)$", text, re.S)
    negated, guard, code, rest = found.groups()
    name, *modifiers = code.split(".")
    operands = tuple(_operand(part) for part in split(rest))
    return Instruction(text, name, tuple(modifiers), operands, guard, bool(negated), line)


def _operand(text):
    return tuple(split(text[1:-1])) if text.startswith("{") else text


def split(text):
    """The parts between commas that are not inside braces or brackets."""
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c in "{[(") - (c in ")]}")
        if c == "," and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    last = text[start:].strip()
    return [*parts, last] if last else parts
