"""Sums of a small trace, worked out by hand."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import kernel_table


def step(number, tokens, ts, dur):
    return {"ph": "X", "name": "step", "ts": ts, "dur": dur,
            "args": {"step": number, "prefill_tokens": 0, "decode_tokens": tokens}}


def kernel(name, number, ts, dur):
    return {"ph": "X", "name": name, "ts": ts, "dur": dur, "args": {"step": number}}


class KernelTableTest(unittest.TestCase):
    def test_sums_are_by_class_and_kernel_and_overlap_counts_once_in_busy(self):
        table = kernel_table.summarise({"traceEvents": [
            {"ph": "M", "name": "thread_name"},
            step(1, 8, 0, 100), step(2, 3, 100, 50), step(3, 9, 150, 70),
            kernel("void vexact::A<2>(int)", 1, 0, 40), kernel("B", 1, 30, 20),
            kernel("void vexact::A<2>(int)", 2, 100, 10), kernel("B", 3, 160, 5)]})
        self.assertEqual(table[0], {"steps": 2, "wall": 150.0, "busy": 60.0,
                                    "kernels": {"A<2>": [2, 50], "B": [1, 20]}})
        self.assertEqual(table[1]["kernels"], {"B": [1, 5]})
        lines = kernel_table.report(table).splitlines()
        self.assertEqual(lines[0], "1-8 tokens: 2 steps, wall 0.075 ms, busy 0.030 ms")
        self.assertIn("A<2>", lines[1])  # the largest first
        self.assertIn("0.0250 ms  33.3 %     1.0 calls of    25.00 us", lines[1])

    def test_classes_end_at_their_most_tokens(self):
        for tokens, name in ((1, "1-8"), (8, "1-8"), (9, "9-32"), (2048, "1025-2048"),
                             (2049, "2049-")):
            self.assertEqual(kernel_table.class_name(kernel_table.class_of(tokens)), name)

    def test_names_lose_return_type_namespaces_and_parameters(self):
        for name, short in (
                ("void vexact::(anonymous namespace)::Norm<(int)4, (bool)1>(vexact::Args, float)",
                 "Norm<4, 1>"),
                ("vexact::sm90::Decode(vexact::Rows<float const>)", "Decode"),
                ("nvjet_sm90_tst_128x64_64x6_2x1_v_bz_TNT", "nvjet_sm90_tst_128x64_64x6_2x1_v_bz_TNT")):
            self.assertEqual(kernel_table.short_name(name), short)


if __name__ == "__main__":
    unittest.main()
