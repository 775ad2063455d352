#!/usr/bin/env python3
"""Requests whose answers are evidence: bench/results/evidence/*_requests.jsonl.

  tools/make_evidence_requests.py    writes the files; the same ones in every Python

SmolLM2: 200 requests of at most 15,000 tokens, prompts and answers, that hold every kind of request:
greedy and drawn, penalties, several samples, prompts of one word and of several KV segments, groups
of prompts that begin alike, reported log-probabilities. Qwen3-1.7B with generated weights: four
requests, 200 tokens. tools/regenerate_goldens.py runs them.
"""

import json
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "bench/results/evidence"

OPENINGS = ["The capital of France is", "Once upon a time", "def fibonacci(n):\n", "Water boils at",
            "Q: What is 17 + 25?\nA:", "The", "Dear Sir or Madam,", "1, 1, 2, 3, 5,",
            "In the year 1905", "SELECT name FROM users WHERE", "Roses are red,", "Größe: 12 µm;",
            "Why is the sky blue?", "import numpy as np\n", "She opened the door and",
            "Die Katze schläft auf dem", "東京は", "A list of fruits:\n- apples\n-"]
SENTENCES = ["The river runs through the old town and under seven bridges.",
             "Nobody had told the engineer that the clock was wrong.",
             "In 1911 the laboratory moved to a larger building on the hill.",
             "A good proof leaves no room for another reading.",
             "Rain fell on the harbour, and the boats stayed where they were.",
             "The committee asked for figures, dates and a list of suppliers.",
             "Every number in the table was measured twice.",
             "He counted the steps: one, two, three, five, eight, thirteen.",
             "Light takes about eight minutes from the sun to the earth.",
             "The recipe wants two eggs, some flour and a little patience.",
             "When the power came back, the machine went on as if nothing had happened.",
             "They agreed that the second answer was better than the first."]
# What varies from request to request; the numbers of lengths and of these have no common factor.
SAMPLING = [{"temperature": 0},
            {"temperature": 0, "logprobs": 3},
            {"temperature": 1.0},
            {"temperature": 0.7, "top_p": 0.9, "logprobs": 0},
            {"temperature": 1.3, "top_k": 40, "min_p": 0.02},
            {"temperature": 0, "repetition_penalty": 1.2, "frequency_penalty": 0.4},
            {"temperature": 0.9, "presence_penalty": 0.6, "repetition_penalty": 0.9},
            {"temperature": 0.8, "n": 2},
            {"temperature": 1.0, "min_tokens": 6, "logit_bias": {"284": 2.5, "28": -3.0}},
            {"temperature": 1.1, "n": 3, "top_k": 12},
            {"temperature": 1.0, "allowed_token_ids": list(range(300, 500))}]
QWEN3_VOCABULARY = 151936


class Numbers:
    """A linear congruential generator (Knuth's MMIX constants)."""

    def __init__(self, seed: int):
        self.state = seed

    def below(self, bound: int) -> int:
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % bound

    def choose(self, values: list):
        return values[self.below(len(values))]

    def text(self, sentences: int) -> str:
        return " ".join(self.choose(SENTENCES) for _ in range(sentences))


def smollm2_requests() -> list:
    numbers = Numbers(4)
    # Beginnings that many prompts share: about 30, 140 and 270 tokens.
    shared = [numbers.text(count) for count in (2, 10, 19)]
    requests = []
    for i in range(200):
        if i % 10 == 4:
            prompt = f"{shared[i // 10 % 3]} {numbers.choose(OPENINGS)}"
        elif i % 20 == 9:
            prompt = numbers.text(12 + numbers.below(16))  # 170 to 380 tokens
        elif i % 5 == 2:
            prompt = f"{numbers.text(1)} {numbers.choose(OPENINGS)}"
        else:
            prompt = numbers.choose(OPENINGS)
        request = {"prompt": prompt, "max_tokens": 4 + numbers.below(24),
                   "ignore_eos": i % 3 == 0, **SAMPLING[i % len(SAMPLING)]}
        if request["temperature"] > 0:
            request["seed"] = numbers.below(2**31) - 2**30
        if i % 7 == 0:
            request["prompt_logprobs"] = numbers.below(3)
        if i % 25 == 13:
            request["max_tokens"] = 90
        requests.append(request)
    return requests


def qwen3_requests() -> list:
    numbers = Numbers(5)
    shapes = [{"temperature": 0}, {"temperature": 1.0, "seed": 11, "logprobs": 2},
              {"temperature": 0.8, "top_p": 0.9, "seed": -12, "prompt_logprobs": 1},
              {"temperature": 1.0, "top_k": 50, "repetition_penalty": 1.1, "seed": 13}]
    return [{"prompt_token_ids": [numbers.below(QWEN3_VOCABULARY) for _ in range(length)],
             "max_tokens": 20, "ignore_eos": True, **shape}
            for length, shape in zip((60, 33, 17, 10), shapes)]


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, requests in (("smollm2", smollm2_requests()), ("qwen3_1.7b", qwen3_requests())):
        lines = "".join(json.dumps(request, ensure_ascii=False) + "\n" for request in requests)
        (FOLDER / f"{name}_requests.jsonl").write_text(lines, encoding="utf-8")


if __name__ == "__main__":
    main()
