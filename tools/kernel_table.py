#!/usr/bin/env python3
"""Sums a trace of `vexact bench throughput --profile`: time by kernel and by class of step.

  tools/kernel_table.py TRACE.json[.gz]

A class is a range of tokens in the step. `wall` is the time from one step's results to the next's,
`busy` that in which at least one kernel ran, both a step; a kernel's time is its sum a step, and adds
up to more than `busy` where kernels overlap. Milliseconds.
"""

import collections
import gzip
import json
import pathlib
import re
import sys

CLASSES = (8, 32, 64, 128, 256, 512, 1024, 2048)  # the most tokens of each


def class_of(tokens: int) -> int:
    """Index into CLASSES; one more for what is larger than all."""
    return next((i for i, most in enumerate(CLASSES) if tokens <= most), len(CLASSES))


def class_name(index: int) -> str:
    low = CLASSES[index - 1] + 1 if index > 0 else 1
    return f"{low}-{CLASSES[index]}" if index < len(CLASSES) else f"{low}-"


def short_name(name: str) -> str:
    """Without return type, namespaces and parameters: DecodeKernel<128, 2>."""
    name = re.sub(r"\(anonymous namespace\)::|\(bool\)|\(int\)", "", name)
    name = re.sub(r"^void ", "", name)
    depth = 0
    for i, letter in enumerate(name):
        depth += {"<": 1, ">": -1}.get(letter, 0)
        if letter == "(" and depth == 0:
            name = name[:i]
            break
    return re.sub(r"\b\w+::", "", name)


def covered(intervals: list) -> float:
    """The length of a union."""
    total, end = 0.0, float("-inf")
    for begin, finish in sorted(intervals):
        total += max(0.0, finish - max(begin, end))
        end = max(end, finish)
    return total


def summarise(trace: dict) -> dict:
    """Class -> {"steps", "wall", "busy", "kernels": {name: [calls, microseconds]}}; sums."""
    events = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    steps = {event["args"]["step"]: event for event in events if event["name"] == "step"}
    table, intervals = {}, collections.defaultdict(list)
    class_of_step = {}
    for number, event in steps.items():
        index = class_of(event["args"]["prefill_tokens"] + event["args"]["decode_tokens"])
        class_of_step[number] = index
        row = table.setdefault(index, {"steps": 0, "wall": 0.0, "kernels": {}})
        row["steps"] += 1
        row["wall"] += event["dur"]
    for event in events:
        if event["name"] == "step":
            continue
        index = class_of_step[event["args"]["step"]]
        sums = table[index]["kernels"].setdefault(short_name(event["name"]), [0, 0.0])
        sums[0] += 1
        sums[1] += event["dur"]
        intervals[index].append((event["ts"], event["ts"] + event["dur"]))
    for index, row in table.items():
        row["busy"] = covered(intervals[index])
    return table


def report(table: dict) -> str:
    lines = []
    for index in sorted(table):
        row = table[index]
        steps = row["steps"]
        wall, busy = row["wall"] / steps / 1e3, row["busy"] / steps / 1e3
        lines.append(f"{class_name(index)} tokens: {steps} steps, wall {wall:.3f} ms, "
                     f"busy {busy:.3f} ms")
        kernels = sorted(row["kernels"].items(), key=lambda item: -item[1][1])
        for name, (calls, microseconds) in kernels:
            lines.append(f"  {microseconds / steps / 1e3:9.4f} ms {100 * microseconds / row['wall']:5.1f} % "
                         f"{calls / steps:7.1f} calls of {microseconds / calls:8.2f} us  {name}")
    return "\n".join(lines)


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    data = pathlib.Path(sys.argv[1]).read_bytes()
    print(report(summarise(json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
