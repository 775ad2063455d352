"""What the checks need to know of a C++ file: its text without comments and strings, and its functions.

Not a parser: it matches braces and looks at what stands before them, which is enough for code that
clang-format wrote. Macros that open braces (TEST, namespace) are read as what they look like.
"""

import dataclasses
import re

_TOKEN = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(?P<tag>[^(\s]*)\(.*?\)(?P=tag)"|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9A-Za-z_])'(?:\\.|[^'\\\n])+'",
    re.DOTALL)
_TYPE_HEADER = re.compile(r"\b(namespace|class|struct|union|enum|extern\s*$)")
_BEFORE_HEADER = re.compile(r"\s*(?:(?:public|private|protected)\s*:(?!:)\s*)*")
_CONTROL = re.compile(r"^(if|for|while|switch|do|else|try|catch|return)\b")
# What may stand between a parameter list and the body: const noexcept override -> T requires ...
_AFTER_PARAMETERS = re.compile(r"\)\s*(const|noexcept|override|final|mutable|&&?|requires|->|$)")


@dataclasses.dataclass
class Function:
    name: str
    line: int  # of the start of its header, from 1
    lines: int  # from the header to the closing brace, both counted
    parameters: int
    is_cuda_kernel: bool


def blank(text):
    """The text with comments and string contents replaced by spaces; offsets and lines stay."""

    def spaces(match):
        token = match.group(0)
        inner = re.sub(r"[^\n]", " ", token)
        return '"' + inner[1:-1] + '"' if token[0] in "\"'" and len(token) > 1 else inner

    return _TOKEN.sub(spaces, text)


def _without_preprocessor(code):
    return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: re.sub(r"[^\n]", " ", m.group(0)), code,
                  flags=re.MULTILINE)


def _matching(code, start, opening, closing):
    depth = 0
    for index in range(start, len(code)):
        if code[index] == opening:
            depth += 1
        elif code[index] == closing:
            depth -= 1
            if depth == 0:
                return index
    return len(code) - 1


_CALLABLE = re.compile(r"(operator\s*\S+?|~?[A-Za-z_][\w:~]*)\s*\(")
_NOT_A_NAME = ("__attribute__", "alignas", "decltype", "requires", "noexcept", "__launch_bounds__")


def _parameter_list(header):
    """(name, the text of its parameters, what follows them), or None."""
    match = _CALLABLE.search(header)
    while match:
        close = _matching(header, match.end() - 1, "(", ")")
        if match.group(1) not in _NOT_A_NAME:
            return match.group(1), header[match.end():close], header[close + 1:].strip()
        match = _CALLABLE.search(header, close)
    return None


def _starts_initialisers(after_parameters):
    """`Foo(int a) : a_(a), b_{a}`: what follows the parameters is a constructor's initialiser list."""
    return bool(re.match(r"(noexcept\s*)?:(?!:)", after_parameters))


def count_parameters(inside):
    """Commas at depth 0, so f(std::map<int, int> m, int (&a)[2]) has two parameters."""
    if not inside.strip() or inside.strip() == "void":
        return 0
    depth, commas = 0, 0
    for char in re.sub(r"->|<=|>=|<<", "", inside):
        if char in "([{<":
            depth += 1
        elif char in ")]}>":
            depth -= 1
        elif char == "," and depth == 0:
            commas += 1
    return commas + 1


def _opens_function(header):
    if _CONTROL.match(header):
        return False
    found = _parameter_list(header)
    if not found or _starts_initialisers(found[2]):
        return bool(found)
    plain = re.sub(r"template\s*<[^{};]*?>\s*(?=\S)", "", header, count=1)
    if _TYPE_HEADER.search(plain.split("(")[0]):
        return False
    if re.search(r"(^|[^=!<>])=\s*($|[^=])", re.sub(r"\([^()]*\)|operator\s*=+", "", plain)):
        return False  # an initialiser
    return bool(_AFTER_PARAMETERS.search(header))


def _is_member_initialiser(header):
    """`Foo(int a) : a_(a), b_` before a brace: b_{...} is part of the header still."""
    found = _parameter_list(header)
    return bool(found) and _starts_initialisers(found[2]) and bool(re.search(r"[\w>]$", header))


def find_functions(text):
    """Every function, test and out-of-class method with a body, outermost ones only (a lambda counts
    as lines of the function that holds it), and declarations with lines = 0."""
    code = _without_preprocessor(blank(text))
    functions = []
    start, index = 0, 0
    while index < len(code):
        char = code[index]
        if char == "{":
            header = _BEFORE_HEADER.sub("", code[start:index], count=1).strip()
            if _is_member_initialiser(header):
                index = _matching(code, index, "{", "}") + 1
                continue
            if _opens_function(header):
                end = _matching(code, index, "{", "}")
                _append(functions, code, start, header, end)
                index = start = end + 1
                continue
            if header.endswith("=") or re.search(r"[\w>\]]$", header) and not _TYPE_HEADER.search(header):
                index = _matching(code, index, "{", "}") + 1  # a brace initialiser
                continue
            start = index + 1
        elif char == "}":
            start = index + 1
        elif char == "(":
            index = _matching(code, index, "(", ")")
        elif char == ";":
            header = _BEFORE_HEADER.sub("", code[start:index], count=1).strip()
            if _looks_like_declaration(header):
                _append(functions, code, start, header, None)
            start = index + 1
        index += 1
    return functions


def _looks_like_declaration(header):
    return bool(re.match(r"[\w\[\]:<>,&*\s~]+?[\s&*]\**[\w:~]+\s*\(", header)) and not re.match(
        r"(return|using|typedef|static_assert|friend\s+class)\b", header) and "=" not in re.sub(
            r"\([^()]*\)|=\s*(0|default|delete)$", "", header)


def _append(functions, code, start, header, end):
    found = _parameter_list(header)
    if not found:
        return
    begin = start + _BEFORE_HEADER.match(code[start:]).end()
    line = code.count("\n", 0, begin) + 1
    lines = code.count("\n", 0, end) + 1 - line + 1 if end is not None else 0
    functions.append(Function(found[0], line, lines, count_parameters(found[1]),
                              "__global__" in header))
