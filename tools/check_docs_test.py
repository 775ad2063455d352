"""A path that is gone must be found; what is no path of the repository must not be."""

import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import check_docs


class CheckDocsTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.folder.name)
        for path in ("src/base/result.h", "scripts/demo", "docs/numerics.md"):
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_text("", encoding="utf-8")

    def tearDown(self):
        self.folder.cleanup()

    def findings_of(self, text):
        (self.root / "README.md").write_text(text, encoding="utf-8")
        return check_docs.check(self.root)

    def test_paths_that_exist_are_fine(self):
        self.assertEqual(self.findings_of(
            'Run `scripts/demo "hi"`, see `base/result.h`, `src/<folder>/*.h`, `src/base/`,\n'
            "`docs/numerics.md:12` and [the law](docs/numerics.md#dot16).\n"), [])

    def test_paths_that_are_gone_are_found(self):
        for text in ("`scripts/gone`", "`src/base/gone.h`", "`base/gone.h`", "`GONE.md`",
                     "`src/gone/*.h`", "[x](docs/gone.md)"):
            self.assertEqual(len(self.findings_of(text)), 1, text)

    def test_what_is_no_path_of_the_repository_is_left_alone(self):
        self.assertEqual(self.findings_of(
            "`build/release/vexact`, `a/b`, `--flag`, `tokens/s`, [x](https://example.org/y)"), [])


if __name__ == "__main__":
    unittest.main()
