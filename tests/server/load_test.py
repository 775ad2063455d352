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


if __name__ == "__main__":
    unittest.main()
