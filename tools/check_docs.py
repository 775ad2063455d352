#!/usr/bin/env python3
"""Checks that every path that the documents name exists.

Looks at `code spans` and [links](path) of README.md, ARCHITECTURE.md, CONTRIBUTING.md and docs/*.md.
A span is a path if it starts with a folder of this repository or is a file name at its root; `*` and
`<name>` match anything. Build outputs and files outside the repository are not looked at.

usage: check_docs.py [ROOT]        exit status 0: all exist, 1: findings (one a line on stdout)
"""

import pathlib
import re
import sys

TOP = ("src", "apps", "tests", "docs", "tools", "scripts", ".ci", "models", "bench")
CODE_SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")
ROOT_FILE = re.compile(r"^(\w+\.md|CMakeLists\.txt|CMakePresets\.json|LICENSE|\.clang-\w+)$")
PATH = re.compile(r"^[\w.*<>{},/+-]+$")


def candidate(root, word):
    """The repository path that a word of a code span means, or None."""
    word = re.sub(r":\d+(-\d+)?$", "", word).rstrip(".,;:/")
    if not PATH.match(word):
        return None
    first = word.split("/")[0]
    if "/" in word and first in TOP or ROOT_FILE.match(word):
        return word
    if "/" in word and (root / "src" / first).is_dir() and re.search(r"\.(h|cc|cu|cuh)$", word):
        return "src/" + word
    return None


def exists(root, path):
    pattern = re.sub(r"<[^>]*>|\{[^}]*\}", "*", path)
    if "*" in pattern:
        return any(root.glob(pattern))
    return (root / pattern).exists()


def documents(root):
    return [root / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")
            if (root / name).is_file()] + sorted((root / "docs").rglob("*.md"))


def check(root):
    root = pathlib.Path(root)
    findings = []
    for document in documents(root):
        name = document.relative_to(root)
        for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), 1):
            for span in CODE_SPAN.findall(line):
                for word in span.split():
                    path = candidate(root, word)
                    if path and not exists(root, path):
                        findings.append(f"{name}:{number}: expected the path {path}, found nothing")
            for link in LINK.findall(line):
                if "://" not in link and not (document.parent / link).exists():
                    findings.append(f"{name}:{number}: expected the linked {link}, found nothing")
    return findings


def main(arguments):
    root = arguments[0] if arguments else pathlib.Path(__file__).resolve().parent.parent
    findings = check(root)
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
