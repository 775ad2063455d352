#!/usr/bin/env python3
"""Checks the budgets and the words that CONTRIBUTING.md sets for code.

Fails: a file over 800 lines, or over 400 without a comment `budget: REASON`; a function over 120 lines
(CUDA kernel 250) or with more than six parameters; leftovers (to-do marks, commented-out code,
disabled tests); in src/ outside tests: environment variables, printing, exiting, thread-locals.
Lists without failing: functions over 60 lines.

usage: check_budgets.py [ROOT]        exit status 0: within budget, 1: findings (one a line on stdout)
"""

import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import cpp_source

FILE_LINES_ASK, FILE_LINES_FAIL = 400, 800
FUNCTION_LINES_LIST, FUNCTION_LINES_FAIL, CUDA_KERNEL_LINES_FAIL = 60, 120, 250
PARAMETERS_FAIL = 6

CPP_SUFFIXES = {".h", ".cc", ".cu", ".cuh", ".inc"}
AREAS = ("src", "apps", "tests", "tools", "scripts", ".ci")
REASON = re.compile(r"(//|#)\s*budget: \S+")
LEFTOVER = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
# A skip that names its reason (data that is not there) is none.
DISABLED_TEST = re.compile(r"\bDISABLED_\w+|\bGTEST_SKIP\(\)\s*;")
# A comment that is a whole statement on its line. Headers show usage in comments, so not there.
COMMENTED_CODE = re.compile(
    r"^\s*//\s?(#include\b.*|(return\b|[\w:<>&*]+ [\w*&]+( = |\()|[\w.>-]+\(|[\w.\[\]]+ [-+*/|&]?= ).*;"
    r"|(if|for|while) \(.*[{;])$")
# (pattern, who may, why): only for src/ without tests and benchmarks. The file in "who may" is the
# one place that has to.
LIBRARY_WORDS = [
    (re.compile(r"\b(secure_)?getenv\s*\(|\benviron\b"), (), "environment variables: apps/ only"),
    (re.compile(r"\bstd::c(out|err)\b|\bf?printf\s*\(|\bputs\s*\(|\bfmt::print\b"),
     ("src/base/check.cc",), "the library never prints"),
    (re.compile(r"\b(_?exit|quick_exit|abort)\s*\("), ("src/base/check.cc",),
     "the library never exits"),
    (re.compile(r"\bthread_local\b"), (), "nothing hidden: no thread-locals"),
]


def check_file_length(path, text):
    lines = text.count("\n")
    if lines > FILE_LINES_FAIL:
        return [f"{path}:1: expected at most {FILE_LINES_FAIL} lines, found {lines}"]
    if lines > FILE_LINES_ASK and not REASON.search(text):
        return [f"{path}:1: expected at most {FILE_LINES_ASK} lines or a comment "
                f'"budget: REASON", found {lines}']
    return []


def check_functions(path, text):
    """(findings, long ones that are allowed but listed)"""
    findings, listed = [], []
    for function in cpp_source.find_functions(text):
        where = f"{path}:{function.line}: {function.name}"
        limit = CUDA_KERNEL_LINES_FAIL if function.is_cuda_kernel else FUNCTION_LINES_FAIL
        if function.lines > limit:
            findings.append(f"{where}: expected at most {limit} lines, found {function.lines}")
        elif function.lines > FUNCTION_LINES_LIST:
            listed.append(f"{where}: {function.lines} lines")
        if function.parameters > PARAMETERS_FAIL:
            findings.append(f"{where}: expected at most {PARAMETERS_FAIL} parameters, found "
                            f"{function.parameters}: make it a struct")
    return findings, listed


def check_words(path, text):
    findings = []
    is_cpp = path.suffix in CPP_SUFFIXES
    is_library = path.parts[0] == "src" and not re.search(r"_(test|bench|fuzz)$", path.stem)
    for number, line in enumerate(text.splitlines(), 1):
        if LEFTOVER.search(line):
            findings.append(f"{path}:{number}: a leftover: {line.strip()}")
        if is_cpp and path.suffix != ".h" and COMMENTED_CODE.match(line):
            findings.append(f"{path}:{number}: commented-out code: {line.strip()}")
        if is_cpp and DISABLED_TEST.search(line):
            findings.append(f"{path}:{number}: a disabled test: {line.strip()}")
    if is_library and is_cpp:
        for number, line in enumerate(cpp_source.blank(text).splitlines(), 1):
            for pattern, allowed, reason in LIBRARY_WORDS:
                if pattern.search(line) and str(path) not in allowed:
                    findings.append(f"{path}:{number}: {reason}: {line.strip()}")
    return findings


def check(root):
    """(findings, listed) for the tree under root."""
    root = pathlib.Path(root)
    findings, listed = [], []
    for area in AREAS:
        for file in sorted((root / area).rglob("*")):
            path = file.relative_to(root)
            is_script = file.suffix == ".py" or area in ("scripts", ".ci") and file.suffix == ""
            if not file.is_file() or "data" in path.parts or not (
                    is_script or file.suffix in CPP_SUFFIXES):
                continue
            text = file.read_text(encoding="utf-8")
            findings += check_file_length(path, text)
            findings += check_words(path, text)
            if file.suffix in CPP_SUFFIXES:
                wrong, long_ones = check_functions(path, text)
                findings += wrong
                listed += long_ones
    return findings, listed


def main(arguments):
    root = arguments[0] if arguments else pathlib.Path(__file__).resolve().parent.parent
    findings, listed = check(root)
    for item in listed:
        print(f"note: {item} (over {FUNCTION_LINES_LIST})", file=sys.stderr)
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
