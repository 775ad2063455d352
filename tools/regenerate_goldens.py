#!/usr/bin/env python3
"""Golden digests of whole runs: tests/data/golden/digests.json.

  tools/regenerate_goldens.py            runs every case, rewrites the digests
  tools/regenerate_goldens.py --check    runs every case twice, with different engine options, and
                                         exits 1 if a digest differs from the committed one

A digest is a SHA-256 over token ids and log-probability bits (`vexact generate --digest`). A change
of a digest is a change of the arithmetic: it needs a new profile name in docs/numerics.md and a
reason (CONTRIBUTING.md). SmolLM2 is left out, and said so, where scripts/fetch_model has not been.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
DIGESTS = ROOT / "tests/data/golden/digests.json"
TINY_MODELS = ["tiny-llama", "tiny-qwen2", "tiny-qwen3", "tiny-qwen3-moe"]
TINY_VOCABULARY = 256  # ids below every tiny model's vocabulary
# Any engine options give the same digest; --check tries two that differ in all that could matter.
SCHEDULES = [["--max-num-batched-tokens", "48", "--threads", "1", "--block-size", "16"],
             ["--max-num-seqs", "5", "--block-size", "64", "--no-enable-prefix-caching",
              "--pipeline-depth", "0"]]


def token_ids(seed: int, count: int, vocabulary: int) -> list:
    """A linear congruential generator (Knuth's MMIX constants): the same ids in every Python."""
    ids, state = [], seed
    for _ in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        ids.append((state >> 33) % vocabulary)
    return ids


def tiny_requests() -> list:
    shapes = [{"temperature": 0},
              {"temperature": 1.0, "seed": 1},
              {"temperature": 0.7, "top_p": 0.9, "seed": 2},
              {"temperature": 1.3, "top_k": 20, "min_p": 0.02, "seed": 3},
              {"temperature": 0, "repetition_penalty": 1.3, "frequency_penalty": 0.4},
              {"temperature": 1.0, "presence_penalty": 0.5, "seed": -4, "logit_bias": {"7": 3.5}},
              {"temperature": 0.9, "seed": 5, "min_tokens": 7, "prompt_logprobs": 2},
              {"temperature": 1.0, "seed": 6, "n": 3, "allowed_token_ids": list(range(10, 90))}]
    requests = []
    for i, prompt_len in enumerate([1, 5, 16, 17, 127, 128, 129, 255, 256, 257, 300, 40, 70, 383,
                                    385, 450]):
        request = {"prompt_token_ids": token_ids(i, prompt_len, TINY_VOCABULARY),
                   "max_tokens": 8 + 3 * (i % 7), "logprobs": i % 4, "ignore_eos": i % 2 == 0}
        request.update(shapes[i % len(shapes)])
        requests.append(request)
    return requests


def smollm2_requests() -> list:
    prompts = ["The capital of France is", "def fibonacci(n):\n", "Once upon a time",
               "Water boils at", "Q: What is 17 + 25?\nA:"]
    requests = []
    for i, prompt in enumerate(prompts):
        requests.append({"prompt": prompt, "max_tokens": 24, "temperature": 0})
        requests.append({"prompt": prompt, "max_tokens": 24, "temperature": 0.8, "top_p": 0.95,
                         "seed": i})
    requests.append({"prompt_token_ids": token_ids(99, 290, 40000), "max_tokens": 8, "seed": 9,
                     "prompt_logprobs": 0})
    return requests


def smollm2_path():
    run = subprocess.run([ROOT / "scripts/fetch_model", "--cached"], capture_output=True, text=True,
                         check=False)
    return run.stdout.strip() if run.returncode == 0 else None


def digest(program: str, model: str, requests: list, options: list) -> str:
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.writelines(json.dumps(request) + "\n" for request in requests)
        file.flush()
        command = [program, "generate", "--model", model, "--input", file.name,
                   "--output", os.devnull, "--digest", *options]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit status {run.returncode}\n{run.stderr}")
    return json.loads(run.stdout.splitlines()[-1])["digest"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--program", default=str(ROOT / "build/release/vexact"))
    args = parser.parse_args()

    runs = {name: (str(ROOT / "models" / name), tiny_requests()) for name in TINY_MODELS}
    smollm2 = smollm2_path()
    if smollm2:
        runs["smollm2"] = (smollm2, smollm2_requests())
    else:
        print("smollm2: left out, the model is not in the cache (scripts/fetch_model)")

    committed = json.loads(DIGESTS.read_text()) if DIGESTS.exists() else {}
    found, wrong = dict(committed), 0
    for name, (model, requests) in runs.items():
        schedules = SCHEDULES if args.check and name != "smollm2" else SCHEDULES[:1]
        for options in schedules:
            found[name] = digest(args.program, model, requests, options)
            same = found[name] == committed.get(name)
            if args.check and not same:
                wrong += 1
            print(f"{name}: {found[name]} {'as committed' if same else 'NOT as committed'}"
                  f" ({' '.join(options)})", flush=True)
    if not args.check:
        DIGESTS.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
