#!/usr/bin/env python3
"""Shows that tests can fail: breaks the code on purpose, one line at a time, and runs the test that
has to notice.

Each mutation of tools/mutations.txt is applied to a copy of the tree, the named test program is
built there without CUDA and run with the filter. A mutant is killed if the test fails (or hangs),
and survives if it passes: then the test is too weak. Before that, every test must pass unbroken.
One compilation and one run a mutation: too long to be part of CI.

usage: mutation_check.py [--only TEXT] [--known TABLE] [--folder FOLDER] [--output FILE]
  --only TEXT      only mutations whose file or test contains TEXT
  --known TABLE    an earlier table (bench/results/mutations.txt): the mutants that it calls killed
                   are taken from it and not run again
  --folder FOLDER  the copy and its build, kept for the next run [build/mutation_check]
  --output FILE    the table, one line a mutant [standard output]
exit status 0: all killed, 1: one survived, did not build, or the list is wrong
"""

import argparse
import collections
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
KEYS = ("file", "find", "with", "test")
TEST_SECONDS = 300

# test: "PROGRAM GTEST_FILTER"
Mutation = collections.namedtuple("Mutation", ("file", "find", "with_", "test"))


def parse(text):
    """The mutations of a list: blocks of four `key: value` lines, `#` begins a comment line."""
    mutations = []
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for block in re.split(r"\n\s*\n", "\n".join(lines)):
        if not block.strip():
            continue
        pairs = [line.split(": ", 1) for line in block.strip().splitlines()]
        if tuple(pair[0] for pair in pairs) != KEYS or any(len(pair) != 2 for pair in pairs):
            raise ValueError(f"expected the lines {', '.join(KEYS)}, found:\n{block}")
        mutations.append(Mutation(*(pair[1] for pair in pairs)))
    return mutations


def mutate(text, mutation):
    count = text.count(mutation.find)
    if count != 1:
        raise ValueError(f"{mutation.file}: expected once, found {count} times: {mutation.find}")
    return text.replace(mutation.find, mutation.with_)


def describe(text, mutation):
    """The mutation's part of its line in the table; `text` is the file's."""
    mutate(text, mutation)  # fails if the list is stale
    line = text[:text.index(mutation.find)].count("\n") + 1
    return f"{mutation.file}:{line} | {mutation.find} -> {mutation.with_} | {mutation.test}"


class Project:
    """A copy of the tree that git knows, and its build."""

    def __init__(self, folder):
        self.tree = pathlib.Path(folder).resolve() / "tree"
        self.build_folder = self.tree / "build" / "release"
        self.environment = dict(os.environ, CCACHE_BASEDIR=str(self.tree), CCACHE_NOHASHDIR="1")

    def copy_from(self, root):
        """Copies what has changed, so that the next build compiles only that."""
        listed = subprocess.run(["git", "-C", root, "ls-files", "--cached", "--others",
                                 "--exclude-standard", "-z"], check=True, capture_output=True)
        names = [name for name in listed.stdout.decode().split("\0") if name]
        for name in names:
            source, target = pathlib.Path(root) / name, self.tree / name
            if source.is_file() and not (
                    target.is_file() and target.read_bytes() == source.read_bytes()):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
        known = set(names)
        for folder in ("src", "apps", "tests"):
            for file in (self.tree / folder).rglob("*"):
                if file.is_file() and str(file.relative_to(self.tree)) not in known:
                    file.unlink()

    def configure(self):
        launcher = ["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
        subprocess.run(["cmake", "--preset", "release", "-DVEXACT_CUDA=OFF", *launcher],
                       cwd=self.tree, env=self.environment, check=True, stdout=sys.stderr)

    def build(self, program):
        """"" or the compiler's messages."""
        built = subprocess.run(["cmake", "--build", self.build_folder, "--target", program],
                               env=self.environment, capture_output=True, text=True)
        return "" if built.returncode == 0 else built.stdout[-2000:]

    def run(self, program, test_filter):
        """Number of tests that ran and passed, or 0 if one failed or none was found."""
        try:
            done = subprocess.run([self.build_folder / program, f"--gtest_filter={test_filter}"],
                                  cwd=self.tree, capture_output=True, timeout=TEST_SECONDS)
        except subprocess.TimeoutExpired:
            return 0
        passed = re.search(rb"\[  PASSED  \] (\d+) test", done.stdout)
        return int(passed[1]) if done.returncode == 0 and passed else 0


def check_unbroken(project, mutations):
    """Findings: tests that do not build, find nothing or fail before anything is broken."""
    findings = []
    for test in sorted({mutation.test for mutation in mutations}):
        program, test_filter = test.split(" ", 1)
        messages = project.build(program)
        if messages:
            findings.append(f"{program}: does not build:\n{messages}")
        elif project.run(program, test_filter) == 0:
            findings.append(f"{test}: expected a test that passes, found none")
    return findings


def verdict(project, mutation):
    """killed | SURVIVED | DOES NOT BUILD"""
    file = project.tree / mutation.file
    original = file.read_text(encoding="utf-8")
    program, test_filter = mutation.test.split(" ", 1)
    file.write_text(mutate(original, mutation), encoding="utf-8")
    try:
        if project.build(program):
            return "DOES NOT BUILD"
        return "SURVIVED" if project.run(program, test_filter) else "killed"
    finally:
        file.write_text(original, encoding="utf-8")


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--known", type=pathlib.Path)
    parser.add_argument("--folder", default=ROOT / "build" / "mutation_check")
    parser.add_argument("--output", type=argparse.FileType("w"), default=sys.stdout)
    options = parser.parse_args(arguments)
    mutations = [m for m in parse((ROOT / "tools" / "mutations.txt").read_text(encoding="utf-8"))
                 if options.only in m.file or options.only in m.test]
    known = options.known.read_text(encoding="utf-8").splitlines() if options.known else []
    rows = {m: describe((ROOT / m.file).read_text(encoding="utf-8"), m) for m in mutations}
    is_known = {m: f"killed | {row}" in known for m, row in rows.items()}
    project = Project(options.folder)
    project.copy_from(ROOT)
    project.configure()
    findings = check_unbroken(project, [m for m in mutations if not is_known[m]])
    if findings:
        print("\n".join(findings))
        return 1
    bad = 0
    for mutation, row in rows.items():
        found = "killed" if is_known[mutation] else verdict(project, mutation)
        bad += found != "killed"
        print(f"{found} | {row}", file=options.output, flush=True)
    print(f"{len(mutations)} mutants, {bad} not killed", file=options.output)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
