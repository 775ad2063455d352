"""Each planted violation must be found, and a clean tree must be clean."""

import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import check_layers


class CheckLayersTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.folder.name)
        self.write("src/base/result.h", "")
        self.write("src/request/request.h", '#include "base/result.h"\n')
        self.write("src/kernels/linear/linear.h", '#include "base/result.h"\n')
        self.write("src/kernels/linear/linear_cpu.h", "#include <hwy/highway.h>\n")
        self.write("apps/cli/flags.h", '#include "kernels/linear/linear.h"\n')

    def tearDown(self):
        self.folder.cleanup()

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def findings_of(self, path, text):
        self.write(path, text)
        return check_layers.check(self.root)

    def test_a_tree_that_points_down_is_clean(self):
        self.write("src/kernels/rope/rope.cc", '#include "kernels/linear/linear.h"\n')
        self.write("src/kernels/rope/rope_test.cc", '#include "support/test_scale.h"\n')
        self.write("src/kernels/rope/rope_cpu.cc", '#include "hwy/highway.h"\n')
        self.write("apps/cli/main.cc", '#include "cli/flags.h"\n#include <vector>\n')
        self.assertEqual(check_layers.check(self.root), [])

    def test_an_upward_include_is_found_with_its_line(self):
        found = self.findings_of("src/base/log.cc", '\n#include "request/request.h"\n')
        self.assertEqual(len(found), 1)
        self.assertTrue(found[0].startswith("src/base/log.cc:2: "), found)

    def test_a_sideways_include_is_found(self):
        self.assertEqual(
            len(self.findings_of("src/kvcache/pool.h", '#include "request/request.h"\n')), 1)

    def test_a_reference_may_not_see_a_fast_header(self):
        for header in ('"hwy/highway.h"', "<immintrin.h>", '"kernels/linear/linear_cpu.h"',
                       "<cuda_runtime.h>"):
            found = self.findings_of("src/kernels/linear/linear_reference.cc",
                                     f"#include {header}\n")
            self.assertEqual(len(found), 1, header)

    def test_paths_that_are_not_from_the_include_root_are_found(self):
        for header in ("../base/result.h", "result.h", "src/base/result.h", "base/missing.h"):
            found = self.findings_of("src/base/log.cc", f'#include "{header}"\n')
            self.assertEqual(len(found), 1, header)

    def test_the_library_may_not_include_an_app(self):
        self.assertEqual(len(self.findings_of("src/engine/x.cc", '#include "cli/flags.h"\n')), 1)

    def test_one_app_may_not_include_another(self):
        self.assertEqual(len(self.findings_of("apps/demo/x.cc", '#include "cli/flags.h"\n')), 1)

    def test_a_folder_outside_the_table_is_found(self):
        self.assertEqual(len(self.findings_of("src/misc/x.h", "")), 1)


if __name__ == "__main__":
    unittest.main()
