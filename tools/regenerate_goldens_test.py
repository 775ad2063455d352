"""A stand-in for vexact answers; what was recorded must be compared request by request."""

import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest
import unittest.mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import make_evidence_requests
import regenerate_goldens

# Answers every request with one token; the token of request `wrong` is another one. `doctor` writes
# a file, or finds it different if `wrong` is there.
VEXACT = """#!/usr/bin/env python3
import json, pathlib, sys
words = sys.argv[1:]
flag = dict(zip(words[1:], words[2:]))
wrong_file = pathlib.Path(__file__).parent / "wrong"
wrong = int(wrong_file.read_text()) if wrong_file.exists() else -1
if words[0] == "doctor":
    if "--record-digests" in words:
        pathlib.Path(flag["--record-digests"]).write_text('{"device": "d", "operators": []}')
        sys.exit(0)
    sys.exit(0 if wrong < 0 else 1)
lines = []
for i, line in enumerate(open(flag["--input"])):
    token = {"token_id": 9 if i == wrong else 5, "logprob": "bf800000", "rank": 1, "top": []}
    lines.append(json.dumps({"weights_id": "w", "prompt_logprobs": None,
                             "request": {"prompt_token_ids": [1, 2]},
                             "outputs": [{"tokens": [token], "finish_reason": "length"}]}))
pathlib.Path(flag["--receipts"]).write_text("".join(line + chr(10) for line in lines))
pathlib.Path(flag["--batch-probe"]).write_text(json.dumps({"preempted": 0, "cached_tokens": 3}))
"""


class RegenerateGoldensTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.program = self.folder / "vexact"
        self.program.write_text(VEXACT)
        self.program.chmod(0o755)
        no_model = unittest.mock.patch.object(regenerate_goldens, "smollm2_path", lambda: None)
        no_model.start()
        self.addCleanup(no_model.stop)

    def run_tool(self, *arguments) -> tuple:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            status = regenerate_goldens.main(["--program", str(self.program), "--commit", "abc",
                                              "--folder", str(self.folder), *arguments])
        return status, out.getvalue()

    def test_what_was_recorded_is_equal_and_says_where_it_comes_from(self):
        self.run_tool("--cases", "tiny-qwen3,operators")
        status, out = self.run_tool("--check", "--cases", "tiny-qwen3,operators")
        self.assertEqual(status, 0, out)
        self.assertIn("tiny-qwen3: 16 requests, 48 tokens, equal; recorded on: cpu (", out)
        self.assertIn("commit abc", out)
        self.assertIn("operators: equal", out)

    def test_a_mismatch_names_the_request(self):
        self.run_tool("--cases", "tiny-qwen3,operators")
        (self.folder / "wrong").write_text("11")
        status, out = self.run_tool("--check", "--cases", "tiny-qwen3")
        self.assertEqual(status, 1)
        self.assertIn("DIFFERENT: requests 11;", out)
        status, out = self.run_tool("--check", "--cases", "operators")
        self.assertEqual(status, 1)
        self.assertIn("operators: DIFFERENT", out)

    def test_what_was_never_recorded_fails(self):
        for case in ("tiny-llama", "operators"):
            status, out = self.run_tool("--check", "--cases", case)
            self.assertEqual(status, 1)
            self.assertIn(f"{case}: NOT recorded yet", out)

    def test_recording_one_case_keeps_the_others(self):
        self.run_tool("--cases", "tiny-llama")
        self.run_tool("--cases", "tiny-qwen2")
        recorded = json.loads((self.folder / "runs.json").read_text())
        self.assertEqual(sorted(recorded), ["tiny-llama", "tiny-qwen2"])

    def test_a_run_without_what_it_is_meant_to_show_fails(self):
        probe = self.folder / "probe.jsonl"
        probe.write_text('{"preempted": 0, "cached_tokens": 3}\n')
        regenerate_goldens.check_probe("r", probe, ("cached_tokens",))
        with self.assertRaisesRegex(regenerate_goldens.Failure, "preempted"):
            regenerate_goldens.check_probe("r", probe, ("preempted",))

    def test_without_the_model_quick_says_so_and_evidence_fails(self):
        _, out = self.run_tool("--cases", "quick")
        self.assertIn("smollm2: left out", out)
        with self.assertRaisesRegex(regenerate_goldens.Failure, "smollm2-200: expected the model"):
            self.run_tool("--check", "--cases", "evidence")

    def test_an_unknown_case_fails(self):
        with self.assertRaisesRegex(regenerate_goldens.Failure, "tiny-gpt"):
            self.run_tool("--cases", "tiny-gpt")

    def test_the_committed_requests_are_those_of_the_script(self):
        for name, requests in (("smollm2", make_evidence_requests.smollm2_requests()),
                               ("qwen3_1.7b", make_evidence_requests.qwen3_requests())):
            self.assertEqual(regenerate_goldens.evidence_requests(name), requests)


if __name__ == "__main__":
    unittest.main()
