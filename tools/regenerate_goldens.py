#!/usr/bin/env python3
"""Digests of whole runs and of operators, recorded on one device and compared on any other:
bench/results/evidence/runs.json and operators.json.

  tools/regenerate_goldens.py            computes every case and rewrites the digests
  tools/regenerate_goldens.py --check    computes every case again, a run with each of its sets of
                                         engine options; exits 1 if anything differs from what was
                                         recorded, or if nothing was, naming the requests
  --cases NAME,...    only these; `quick` is what ctest checks, `evidence` what only .ci/run does
  --device cuda       on the GPU
  --receipts FOLDER   keeps the runs' receipts there, for `vexact verify` to say what differs

A run has one digest for each request: SHA-256 of the answer in its receipt (token ids, every word of
every log-probability, ranks, reported top lists, how it ended). Operators have the digests of
`vexact doctor --record-digests`. A digest that changes is a change of the arithmetic: it needs a new
profile name in docs/numerics.md and a reason (CONTRIBUTING.md). Each case says what recorded it.
SmolLM2 is left out of `quick`, and said so, where scripts/fetch_model has not been.
"""

import argparse
import dataclasses
import datetime
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
EVIDENCE = ROOT / "bench/results/evidence"
TINY_MODELS = ["tiny-llama", "tiny-qwen2", "tiny-qwen3", "tiny-qwen3-moe"]
TINY_VOCABULARY = 256  # ids below every tiny model's vocabulary
# Any engine options give the same digest; --check tries two that differ in all that could matter.
SCHEDULES = [["--max-num-batched-tokens", "48", "--threads", "1", "--block-size", "16"],
             ["--max-num-seqs", "5", "--block-size", "64", "--no-enable-prefix-caching",
              "--pipeline-depth", "0"]]
# A pool of 72 blocks of 16 tokens for 32 sequences, and 64 tokens a step: sequences are preempted,
# prompts run in pieces, and blocks of prompts that begin alike are found again.
SMOLLM2_CROWDED = ["--max-num-batched-tokens", "64", "--max-num-seqs", "32", "--block-size", "16",
                   "--max-model-len", "640", "--kv-cache-memory-bytes", str(72 * 16 * 23040)]
QWEN3_OPTIONS = ["--load-format", "dummy", "--max-num-batched-tokens", "256",
                 "--max-model-len", "256", "--kv-cache-memory-bytes", str(64 * 16 * 114688)]
# A CPU runs an operator again at the numbers of rows up to this before it records it; a GPU, whose
# schedules depend on the number of rows, at all of them.
CPU_REPEATED_ROWS = 16


class Failure(Exception):
    """What ends the program with a message."""


@dataclasses.dataclass
class Run:
    """Requests to a model; each of `schedules` is a set of engine options."""
    model: str | None  # None: scripts/fetch_model's, which is not there
    requests: list
    schedules: list
    is_evidence: bool = False
    shows: tuple = ()  # fields of --batch-probe that some step must count


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


def evidence_requests(name: str) -> list:
    """Requests that tools/make_evidence_requests.py wrote."""
    text = (EVIDENCE / f"{name}_requests.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def smollm2_path() -> str | None:
    run = subprocess.run([ROOT / "scripts/fetch_model", "--cached"], capture_output=True, text=True,
                         check=False)
    return run.stdout.strip() if run.returncode == 0 else None


def all_runs() -> dict:
    runs = {name: Run(str(ROOT / "models" / name), tiny_requests(), SCHEDULES)
            for name in TINY_MODELS}
    smollm2 = smollm2_path()
    runs["smollm2"] = Run(smollm2, smollm2_requests(), SCHEDULES[:1])
    runs["smollm2-200"] = Run(smollm2, evidence_requests("smollm2"), [SMOLLM2_CROWDED], True,
                              ("preempted", "cached_tokens"))
    runs["qwen3-1.7b"] = Run(str(ROOT / "models/configs/Qwen3-1.7B"),
                             evidence_requests("qwen3_1.7b"), [QWEN3_OPTIONS], True)
    return runs


def answer_digest(receipt: dict) -> str:
    answer = {name: receipt[name] for name in ("prompt_logprobs", "outputs")}
    text = json.dumps(answer, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def call(command: list, **options) -> subprocess.CompletedProcess:
    run = subprocess.run(command, text=True, check=False, **options)
    if run.returncode != 0:
        raise Failure(f"{' '.join(command)}: exit status {run.returncode}\n{run.stderr or ''}")
    return run


def check_probe(name: str, probe: pathlib.Path, shows: tuple) -> None:
    steps = [json.loads(line) for line in probe.read_text().splitlines()]
    for field in shows:
        if sum(step[field] for step in steps) == 0:
            raise Failure(f"{name}: expected steps with \"{field}\", found none of {len(steps)}")


def receipts_of(args, name: str, run: Run, options: list) -> list:
    """Runs the requests; the receipts in their order."""
    with tempfile.TemporaryDirectory() as folder:
        here = pathlib.Path(folder)
        kept = pathlib.Path(args.receipts or folder)
        kept.mkdir(parents=True, exist_ok=True)
        (here / "requests.jsonl").write_text(
            "".join(json.dumps(request) + "\n" for request in run.requests))
        receipts = kept / f"{name}.receipts.jsonl"
        call([args.program, "generate", "--model", run.model, "--device", args.device,
              "--input", str(here / "requests.jsonl"), "--output", os.devnull, "--quiet",
              "--receipts", str(receipts), "--batch-probe", str(here / "probe.jsonl"), *options],
             capture_output=True)
        check_probe(name, here / "probe.jsonl", run.shows)
        lines = [json.loads(line) for line in receipts.read_text().splitlines()]
    if len(lines) != len(run.requests):
        raise Failure(f"{name}: expected {len(run.requests)} receipts, found {len(lines)}")
    return lines


def num_tokens(receipts: list) -> int:
    return sum(len(receipt["request"]["prompt_token_ids"]) +
               sum(len(output["tokens"]) for output in receipt["outputs"])
               for receipt in receipts)


def provenance(args) -> dict:
    """What is recording."""
    commit = args.commit or call(["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"],
                                 capture_output=True).stdout.strip()
    recorded = {"date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
                "commit": commit}
    if args.device == "cuda":
        gpu = call(["nvidia-smi", "-i", "0", "--query-gpu=name,driver_version",
                    "--format=csv,noheader"], capture_output=True).stdout.strip().split(", ")
        return {"on": gpu[0], "driver": gpu[1], **recorded}
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.split(":")[1].strip() for line in cpuinfo if line.startswith("model name")]
    return {"on": f"cpu ({models[0] if models else 'unknown'})", **recorded}


def described(recorded: dict) -> str:
    driver = f", driver {recorded['driver']}" if "driver" in recorded else ""
    return (f"recorded on: {recorded['on']}{driver}, {recorded['date']}, "
            f"commit {recorded['commit']}")


def differences(expected: list, found: list) -> list:
    """Indices of requests."""
    return [i for i, digest in enumerate(found) if i >= len(expected) or digest != expected[i]]


def compare_run(name: str, committed: dict | None, receipts: list) -> bool:
    """Prints how a run compares with what was recorded; whether it is equal."""
    if committed is None:
        print(f"{name}: NOT recorded yet", flush=True)
        return False
    weights = receipts[0]["weights_id"]
    if weights != committed["weights_id"]:
        print(f"{name}: OTHER WEIGHTS: expected {committed['weights_id']}, found {weights}")
        return False
    found = [answer_digest(receipt) for receipt in receipts]
    wrong = differences(committed["requests"], found)
    if len(found) != len(committed["requests"]):
        print(f"{name}: expected {len(committed['requests'])} requests, found {len(found)}")
        return False
    verdict = f"DIFFERENT: requests {', '.join(map(str, wrong))}" if wrong else "equal"
    print(f"{name}: {len(found)} requests, {num_tokens(receipts)} tokens, {verdict}; "
          f"{described(committed['recorded'])}", flush=True)
    return not wrong


def do_run(args, name: str, run: Run, recorded_runs: dict) -> bool:
    """Records a run, or with --check compares it; whether it is what was recorded before."""
    equal = True
    for options in run.schedules if args.check else run.schedules[:1]:
        start = time.monotonic()
        receipts = receipts_of(args, name, run, options)
        equal = compare_run(name, recorded_runs.get(name), receipts) and equal
        print(f"  {time.monotonic() - start:.1f} s, {' '.join(options)}", flush=True)
    if not args.check:
        recorded_runs[name] = {"recorded": provenance(args),
                               "weights_id": receipts[0]["weights_id"],
                               "requests": [answer_digest(receipt) for receipt in receipts]}
    return equal


def record_operators(args, path: pathlib.Path) -> None:
    rows = ["--digest-rows", str(CPU_REPEATED_ROWS)] if args.device == "cpu" else []
    call([args.program, "doctor", "--device", args.device, "--quick", "--record-digests", str(path),
          *rows])
    recorded = {"recorded": provenance(args), **json.loads(path.read_text())}
    path.write_text(json.dumps(recorded, indent=1) + "\n")


def check_operators(args, path: pathlib.Path) -> bool:
    if not path.exists():
        print("operators: NOT recorded yet")
        return False
    print(f"operators: {described(json.loads(path.read_text())['recorded'])}", flush=True)
    run = subprocess.run([args.program, "doctor", "--device", args.device, "--quick",
                          "--compare-digests", str(path), "--digest-rows", str(args.digest_rows)],
                         check=False)
    print(f"operators: {'equal' if run.returncode == 0 else 'DIFFERENT'}", flush=True)
    return run.returncode == 0


def chosen_cases(text: str, runs: dict) -> list:
    """Names, in the order of `runs`; operators last."""
    groups = {"quick": [name for name, run in runs.items() if not run.is_evidence],
              "evidence": [name for name, run in runs.items() if run.is_evidence] + ["operators"]}
    groups["all"] = groups["quick"] + groups["evidence"]
    names = []
    for word in text.split(","):
        if word not in groups and word not in groups["all"]:
            raise Failure(f"--cases: expected any of {', '.join([*groups, *groups['all']])}, "
                          f"found \"{word}\"")
        names += groups.get(word, [word])
    if "quick" in text.split(",") and runs["smollm2"].model is None:
        print("smollm2: left out, the model is not in the cache (scripts/fetch_model)")
        names.remove("smollm2")
    for name in names:
        if name in runs and runs[name].model is None:
            raise Failure(f"{name}: expected the model in the cache, run scripts/fetch_model")
    return [name for name in groups["all"] if name in names]


def main(arguments: list) -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--cases", default="all")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--digest-rows", type=int, default=2048,
                        help="rows of an operator that --check computes, and single rows beyond")
    parser.add_argument("--receipts", help="folder that keeps them")
    parser.add_argument("--folder", default=str(EVIDENCE), help="of runs.json and operators.json")
    parser.add_argument("--commit", help="to name as the recorder's, where git is not at hand")
    parser.add_argument("--program", default=str(ROOT / "build/release/vexact"))
    args = parser.parse_args(arguments)

    runs_path = pathlib.Path(args.folder) / "runs.json"
    operators_path = pathlib.Path(args.folder) / "operators.json"
    recorded_runs = json.loads(runs_path.read_text()) if runs_path.exists() else {}
    runs, all_equal = all_runs(), True
    for name in chosen_cases(args.cases, runs):
        if name != "operators":
            all_equal = do_run(args, name, runs[name], recorded_runs) and all_equal
        elif args.check:
            all_equal = check_operators(args, operators_path) and all_equal
        else:
            record_operators(args, operators_path)
    if not args.check:
        runs_path.write_text(json.dumps(recorded_runs, indent=1, sort_keys=True) + "\n")
        return 0
    return 0 if all_equal else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Failure as failure:
        sys.exit(f"regenerate_goldens: {failure}")
