"""A minute of load (load.py) on a tiny model, and ten thousand connections that do nothing."""

import json
import unittest

import load


class LoadTest(unittest.TestCase):
    def test_every_answer_is_that_of_its_request_alone(self):
        report = load.serve_and_check(load.parse([]))
        print(json.dumps(report), flush=True)
        self.assertEqual(report["problems"], [])
        self.assertGreater(report["refused"], 0, "the load was not above what the server takes")
        self.assertGreater(report["killed"], 0)
        self.assertLess(report["bytes_each"], 64 << 10)

    def test_streams_are_measured(self):
        report = load.serve_and_check(load.parse(
            ["--latency", "--seconds", "4", "--clients", "4", "--processes", "2", "--", "--seed", "1"]))
        print(json.dumps(report), flush=True)
        self.assertEqual(report["problems"], [])
        self.assertEqual(report["serve"], ["--seed", "1"])
        self.assertLess(0, report["engine_busy_s"])
        self.assertLess(report["engine_busy_s"], 2 * report["seconds"])
        self.assertLess(0, report["io_threads_cpu_s_per_engine_s"])
        self.assertLess(0, report["inter_token_latency_ms"]["p50"])


if __name__ == "__main__":
    unittest.main()
