"""lm-eval (model local-completions) against `vexact serve`: two runs over 20 items of GSM8K, one
request at a time and 32 at once, have the same answers and the same score to its last digit."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import serving

DATA = pathlib.Path(__file__).parent / "data"
MODEL = serving.smollm2()


def evaluate(server, num_concurrent):
    """The scores, and each item's prompt and answer."""
    arguments = (f"model=smollm2,base_url={server.url}/completions,num_concurrent={num_concurrent},"
                 "tokenizer_backend=None,tokenized_requests=False,max_retries=1")
    with tempfile.TemporaryDirectory() as folder:
        environment = dict(os.environ, OPENAI_API_KEY=serving.KEY, HF_HOME=folder,
                           HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
        ran = subprocess.run(
            [sys.executable, "-m", "lm_eval", "run", "--model", "local-completions",
             "--model_args", arguments, "--tasks", "gsm8k_20", "--include_path", ".",
             "--output_path", folder, "--log_samples"],
            cwd=DATA, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr[-4000:]
        output = pathlib.Path(folder) / "smollm2"
        results = json.loads(next(output.glob("results_*.json")).read_text(encoding="utf-8"))
        lines = next(output.glob("samples_*.jsonl")).read_text(encoding="utf-8").splitlines()
    samples = {sample["doc_id"]: (sample["arguments"], sample["resps"])
               for sample in map(json.loads, lines)}
    return results["results"]["gsm8k_20"], samples


@unittest.skipIf(MODEL is None, "SmolLM2 is not there; scripts/fetch_model fetches it")
class LmEvalTest(unittest.TestCase):
    def test_two_runs_are_equal_to_the_last_digit_at_any_concurrency(self):
        server = serving.Server(MODEL, "--no-receipts", "--served-model-name", "smollm2",
                                "--no-enable-prefix-caching")
        alone, at_once = evaluate(server, 1), evaluate(server, 32)
        self.assertEqual(server.stop(), 0)
        print("lm-eval:", alone[0], flush=True)
        self.assertEqual(len(alone[1]), 20)
        self.assertGreater(alone[0]["chrf,none"], 0.0)
        self.assertEqual(alone, at_once)


if __name__ == "__main__":
    unittest.main()
