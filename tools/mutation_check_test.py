"""The list is read as written, a mutant is judged by its test, and the file comes back."""

import contextlib
import io
import pathlib
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import mutation_check

ROOT = pathlib.Path(__file__).resolve().parent.parent

LIST = """# a comment

file: src/a.h
find: a + b
with: a - b: c
test: src_a_test A.*
"""


class FakeProject:
    """A project of one file; its test passes while the file contains `wanted`."""

    def __init__(self, folder, wanted):
        self.tree = pathlib.Path(folder)
        self.wanted = wanted
        self.file = self.tree / "src" / "a.h"
        self.file.parent.mkdir()
        self.file.write_text("int f() {\n  return a + b;\n}\n")

    def build(self, program):
        return "" if ";" in self.file.read_text() else "expected ;"

    def copy_from(self, root):
        pass

    def configure(self):
        pass

    def run(self, program, test_filter):
        return 1 if self.wanted in self.file.read_text() else 0


class MutationCheckTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.mutation = mutation_check.parse(LIST)[0]

    def tearDown(self):
        self.folder.cleanup()

    def test_a_list_is_blocks_of_four_lines(self):
        self.assertEqual(tuple(self.mutation),
                         ("src/a.h", "a + b", "a - b: c", "src_a_test A.*"))
        self.assertEqual(len(mutation_check.parse(LIST + "\n" + LIST)), 2)
        for wrong in (LIST.replace("with", "width"), LIST.replace("test: src_a_test A.*\n", "")):
            with self.assertRaisesRegex(ValueError, "expected the lines"):
                mutation_check.parse(wrong)

    def test_the_text_must_be_there_once(self):
        self.assertEqual(mutation_check.mutate("x\na + b", self.mutation), "x\na - b: c")
        self.assertEqual(mutation_check.describe("x\na + b", self.mutation),
                         "src/a.h:2 | a + b -> a - b: c | src_a_test A.*")
        for text in ("", "a + b, a + b"):
            for function in (mutation_check.mutate, mutation_check.describe):
                with self.assertRaisesRegex(ValueError, "expected once"):
                    function(text, self.mutation)

    def test_a_mutant_is_killed_by_a_test_that_fails_and_survives_one_that_passes(self):
        for wanted, expected in (("a + b", "killed"), ("return", "SURVIVED")):
            with tempfile.TemporaryDirectory() as folder:
                project = FakeProject(folder, wanted)
                before = project.file.read_text()
                self.assertEqual(mutation_check.verdict(project, self.mutation), expected)
                self.assertEqual(project.file.read_text(), before)

    def test_what_does_not_build_is_not_killed(self):
        project = FakeProject(self.folder.name, "a + b")
        mutation = self.mutation._replace(find="a + b;", with_="a + b")
        self.assertEqual(mutation_check.verdict(project, mutation), "DOES NOT BUILD")

    def test_tests_that_fail_unbroken_are_found(self):
        project = FakeProject(self.folder.name, "nothing that is there")
        self.assertEqual(len(mutation_check.check_unbroken(project, [self.mutation])), 1)

    def test_the_copy_follows_the_tree(self):
        root = pathlib.Path(self.folder.name) / "root"
        (root / "src").mkdir(parents=True)
        subprocess.run(["git", "init", "-q", root], check=True)
        (root / "src" / "a.h").write_text("1")
        (root / "src" / "b.h").write_text("2")
        project = mutation_check.Project(pathlib.Path(self.folder.name) / "copy")
        project.copy_from(root)
        copied = project.tree / "src" / "a.h"
        time = copied.stat().st_mtime_ns
        (root / "src" / "b.h").unlink()
        project.copy_from(root)
        self.assertEqual(copied.stat().st_mtime_ns, time)
        self.assertFalse((project.tree / "src" / "b.h").exists())

    def test_what_a_known_table_calls_killed_is_not_run_again(self):
        folder = pathlib.Path(self.folder.name)
        (folder / "tools").mkdir()
        (folder / "tools" / "mutations.txt").write_text(LIST + "\n" + LIST.replace("- b", "* b"))
        project = FakeProject(folder, "nothing that is there")  # every test fails
        project.file.write_text("a + b;")
        row = mutation_check.describe("a + b;", self.mutation)
        other = row.replace("- b", "* b")
        known = folder / "known.txt"
        for verdict, status, expected in (
                ("killed", 0, f"killed | {row}\nkilled | {other}\n2 mutants, 0 not killed\n"),
                ("SURVIVED", 1, "src_a_test A.*: expected a test that passes, found none\n")):
            known.write_text(f"# a head\nkilled | {other}\n{verdict} | {row}\n")
            printed = io.StringIO()
            with mock.patch.object(mutation_check, "ROOT", folder), \
                    mock.patch.object(mutation_check, "Project", lambda _: project), \
                    contextlib.redirect_stdout(printed):
                self.assertEqual(mutation_check.main(["--known", str(known)]), status)
            self.assertEqual(printed.getvalue(), expected)

    def test_the_projects_own_list_fits_its_sources(self):
        mutations = mutation_check.parse((ROOT / "tools" / "mutations.txt").read_text())
        self.assertGreater(len(mutations), 40)
        for mutation in mutations:
            mutation_check.mutate((ROOT / mutation.file).read_text(), mutation)


if __name__ == "__main__":
    unittest.main()
