#!/usr/bin/env python3
"""Checks that every include points down (ARCHITECTURE.md, layout).

A folder of src/ includes only itself and folders on earlier lines of LAYERS; apps/ may include
everything. A *_reference file includes neither SIMD nor CUDA headers nor a *_cpu header, so that a
misreading of the arithmetic cannot agree with itself.

usage: check_layers.py [ROOT]        exit status 0: clean, 1: findings (one a line on stdout)
"""

import pathlib
import re
import sys

# The one table. Folders on the same line may not include each other.
LAYERS = [
    ["base"],
    ["numerics"],
    ["tensor"],
    ["request", "tokenizer", "checkpoint", "kvcache"],
    ["chat"],
    ["kernels"],
    ["batch"],
    ["scheduler", "model", "sampler", "output"],
    ["engine"],
]

SOURCE_SUFFIXES = {".h", ".cc", ".cu", ".cuh", ".inc"}
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]', re.MULTILINE)
REFERENCE = re.compile(r"_reference\.(h|cc)$")
# What a folder of apps/ may include of others there, beside common/.
APPS = {"cli": ["server"]}
# What a reference may not include.
FAST_HEADER = re.compile(r"^hwy/|intrin\.h$|^arm_neon\.h$|^cuda|^cute/|^cutlass/|_cpu[^/]*\.h$|\.cuh$")


def line_of(folder):
    """The index of the folder's line in LAYERS, or None."""
    for index, folders in enumerate(LAYERS):
        if folder in folders:
            return index
    return None


def check_include(root, path, quote, header):
    """The complaint about one include of the file at path (relative to root), or None."""
    area, folder = path.parts[0], path.parts[1]
    if REFERENCE.search(path.name) and FAST_HEADER.search(header):
        return f'a reference includes "{header}": expected no SIMD, CUDA or *_cpu header'
    if quote == "<":
        return None
    parts = pathlib.PurePosixPath(header).parts
    if ".." in parts:
        return f'"{header}": expected a path from the include root, found ".."'
    if header.startswith("hwy/"):
        return None
    target = parts[0]
    if line_of(target) is not None and (root / "src" / header).is_file():
        if area == "src" and target != folder and line_of(target) >= line_of(folder):
            return (f'"{header}": {folder}/ (line {line_of(folder)}) may include only folders on '
                    f"earlier lines, found {target}/ (line {line_of(target)})")
        return None
    if area == "apps" and target in [folder, "common", *APPS.get(folder, [])] and (root / "apps" / header).is_file():
        return None
    if target == "support" and path.stem.endswith("_test"):
        return None
    return f'"{header}": expected a header of this repository, by its path from src/ or apps/'


def check(root):
    """All complaints about the tree under root, as "path:line: text"."""
    root = pathlib.Path(root)
    findings = []
    for area in ("src", "apps"):
        for file in sorted((root / area).rglob("*")):
            if file.suffix not in SOURCE_SUFFIXES or not file.is_file():
                continue
            path = file.relative_to(root)
            if area == "src" and (len(path.parts) < 3 or line_of(path.parts[1]) is None):
                findings.append(f"{path}:1: expected a file in a folder of LAYERS")
                continue
            text = file.read_text(encoding="utf-8")
            for match in INCLUDE.finditer(text):
                complaint = check_include(root, path, match.group(1), match.group(2))
                if complaint:
                    line = text.count("\n", 0, match.start(2)) + 1
                    findings.append(f"{path}:{line}: {complaint}")
    return findings


def main(arguments):
    root = arguments[0] if arguments else pathlib.Path(__file__).resolve().parent.parent
    findings = check(root)
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
