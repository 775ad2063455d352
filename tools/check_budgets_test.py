"""Each planted violation must be found, and ordinary code must not be."""

import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import check_budgets
import cpp_source

ORDINARY = """
#include <vector>
// The example of a call: Foo(1, 2, 3, 4, 5, 6, 7).
namespace vexact {
namespace {
constexpr int kTable[] = {1, 2, 3};
const std::vector<int> numbers{1, 2};
struct Options {
  int depth = 0;
  std::vector<int> sizes = {1, 2};
};
enum class Kind { kOne, kTwo };
template <typename T>
class Box {
 public:
  explicit Box(T value) : value_(value), list_{1, 2} { Check(); }
  T Get() const { return value_; }

 private:
  T value_;
  std::vector<int> list_;
};
std::map<int, int> Join(const std::map<int, int>& a, std::pair<int, int> b, int c, int d, int e,
                        int f) {
  const char* text = "} {";
  for (int i = 0; i < 3; ++i) {
    if (a.size() < b.first) return {};
  }
  auto lambda = [&](int x) { return x; };
  return Merge(a, {b, c}, d, e, f, 1, 2, 3, 4);
}
}  // namespace
TEST(Box, HoldsAValue) {
  EXPECT_EQ(Box(1).Get(), 1);
}
}  // namespace vexact
"""


def body(lines):
    return "int F(int a) {\n" + "  a += 1;\n" * (lines - 2) + "}\n"


class FindFunctionsTest(unittest.TestCase):
    def test_finds_functions_methods_and_tests_but_no_types_or_tables(self):
        bodies = [f for f in cpp_source.find_functions(ORDINARY) if f.lines]
        self.assertEqual([f.name for f in bodies], ["Box", "Get", "Join", "TEST"])
        self.assertEqual([f.lines for f in bodies], [1, 1, 9, 3])
        self.assertEqual([f.parameters for f in bodies], [1, 0, 6, 2])

    def test_lines_are_counted_from_header_to_closing_brace(self):
        function = cpp_source.find_functions("\n\n" + body(40))[0]
        self.assertEqual((function.line, function.lines), (3, 40))


class CheckBudgetsTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.folder.name)
        self.write("src/base/ordinary.cc", ORDINARY)

    def tearDown(self):
        self.folder.cleanup()

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def findings_of(self, path, text):
        self.write(path, text)
        return check_budgets.check(self.root)[0]

    def test_ordinary_code_is_clean(self):
        self.assertEqual(check_budgets.check(self.root), ([], []))

    def test_files_over_400_lines_need_a_reason_and_over_800_fail(self):
        self.assertEqual(self.findings_of("src/base/a.h", "int x;\n" * 400), [])
        self.assertEqual(len(self.findings_of("src/base/a.h", "int x;\n" * 401)), 1)
        reason = "// budget: one table\n"
        self.assertEqual(self.findings_of("src/base/a.h", reason + "int x;\n" * 799), [])
        self.assertEqual(len(self.findings_of("src/base/a.h", reason + "int x;\n" * 800)), 1)

    def test_functions_over_60_lines_are_listed_and_over_120_fail(self):
        self.write("src/base/a.cc", body(61))
        self.assertEqual(len(check_budgets.check(self.root)[1]), 1)
        self.assertEqual(self.findings_of("src/base/a.cc", body(120)), [])
        self.assertEqual(len(self.findings_of("src/base/a.cc", body(121))), 1)

    def test_a_cuda_kernel_may_have_250_lines(self):
        kernel = "__global__ void " + body(250)[4:]
        self.assertEqual(self.findings_of("src/kernels/a.cu", kernel), [])
        self.assertEqual(len(self.findings_of("src/kernels/a.cu", kernel.replace(
            "(int a) {\n", "(int a) {\n  a += 1;\n"))), 1)

    def test_a_seventh_parameter_is_found_in_definitions_and_declarations(self):
        seven = "void F(int a, int b, int c, int d, int e, int f, int g)"
        self.assertEqual(len(self.findings_of("src/base/a.cc", seven + " {}\n")), 1)
        self.assertEqual(len(self.findings_of("src/base/a.cc", seven + ";\n")), 1)
        self.assertEqual(len(self.findings_of(
            "src/base/a.cc", f"class A {{\n public:\n  static {seven} const;\n}};\n")), 1)
        constructor = "A::A(int a, int b, int c, int d, int e, int f, int g) : a_(a), b_{b} {}\n"
        self.assertEqual(len(self.findings_of("src/base/a.cc", constructor)), 1)

    def test_leftovers_are_found(self):
        for text in ("// TO" + "DO: later\n", "  // return x;\n", "// total += x;\n",
                     "TEST(A, DISABLED_B) {}\n", "TEST(A, B) { GTEST_SKIP(); }\n"):
            self.assertEqual(len(self.findings_of("src/base/a_test.cc", text)), 1, text)

    def test_prose_that_speaks_of_code_is_no_leftover(self):
        for text in ("// y[t] = w * x[t]; the same for k\n", "// returns the sum\n",
                     "// if (a) holds, b follows\n"):
            self.write("src/base/a.cc", text)
            self.assertEqual(check_budgets.check(self.root)[0], [])

    def test_the_library_may_not_print_exit_or_read_the_environment(self):
        for line in ('getenv("X");', 'std::printf("x");', "std::cout << 1;", "std::exit(1);",
                     "thread_local int x;", 'fmt::print("x");'):
            text = f"void F() {{ {line} }}\n"
            self.assertEqual(len(self.findings_of("src/base/a.cc", text)), 1, line)
            (self.root / "src/base/a.cc").unlink()
            self.assertEqual(self.findings_of("apps/cli/a.cc", text), [], line)


if __name__ == "__main__":
    unittest.main()
