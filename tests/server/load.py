#!/usr/bin/env python3
"""Load on `vexact serve`, and whether every answer is the one that its request has alone.

usage: tests/server/load.py [--seconds 60] [--model PATH] [--running 8] [--waiting 8] [--clients N]
                            [--processes 1] [--latency] [--output FILE] [-- OPTION OF serve...]

Clients at twice what the server takes (the rest is refused with 429 and asked again) send requests
of known answers, streamed and not, for some seconds; then for some more while clients are killed at
random and others send their headers byte by byte. Then connections that do nothing are opened, and
at the end SIGTERM comes while answers are in the making. Exit status 1, and what went wrong: an
answer that was lost, came twice or has another word than alone; a server that grew, left work behind
or did not drain. With --latency there is none of that: every client streams one answer after the
other, of prompts that are not in the prefix cache.

The report is JSON: counts, rates, latencies at the client and at the server, memory, and what the
server costs, as CPU seconds of its I/O threads for a second in which the engine is at work. Python's
standard library only.
"""

import argparse
import asyncio
import json
import os
import pathlib
import platform
import resource
import sys
import time

import serving
import wire
from load_clients import PATH, Load, Players, words

MAX_GROWTH_BYTES = 24 << 20
TRICKLING = 16  # connections that send a header byte by byte
HEADER_TIMEOUT_S = 10.0  # http_server.h
IDLE_TIMEOUT_S = 75.0  # likewise


def prompt(i, length):
    """Token ids, which every model has."""
    return [3 + (7 * k + 31 * i) % 250 for k in range(length)]


def mixed_requests(count, prompt_tokens, max_tokens):
    """Requests of every kind."""
    return [{"prompt": prompt(i, 2 + 11 * i % prompt_tokens), "max_tokens": 1 + (5 * i) % max_tokens,
             "seed": 100 + i, "n": 1 + i % 2, "temperature": 0.0 if i % 3 == 0 else 0.9,
             "logprobs": i % 3, "ignore_eos": True, "return_token_ids": True} for i in range(count)]


def chat_requests(count, prompt_tokens, max_tokens):
    """Lengths as in a conversation: from 2/5 of the longest prompt, from half of the longest answer."""
    return [{"prompt": prompt(i, prompt_tokens * 2 // 5 + 37 * i % (prompt_tokens * 3 // 5 + 1)),
             "max_tokens": max_tokens // 2 + 1 + 23 * i % (max_tokens // 2), "seed": 100 + i,
             "temperature": 0.9, "ignore_eos": True, "return_token_ids": True} for i in range(count)]


async def trickle(port, problems):
    """Sends a header byte by byte until the server has enough of it."""
    connection = wire.Connection(port)
    await connection.open()
    until = time.monotonic() + 2 * HEADER_TIMEOUT_S
    while time.monotonic() < until:
        try:
            connection.writer.write(b"G")
            await asyncio.wait_for(connection.reader.read(1), 0.5)
            break
        except asyncio.TimeoutError:
            continue
        except OSError:
            break
    else:
        problems.append("a header that trickles in was waited for")
    connection.kill()


def quantiles(values):
    """Milliseconds: p50, p95, p99."""
    ordered = sorted(values)
    return {f"p{p}": round(1e3 * ordered[min(len(ordered) - 1, len(ordered) * p // 100)], 2)
            for p in (50, 95, 99)} if ordered else {}


class Meter:
    """What the server itself counts and costs since then. Read it at rest: what /metrics knows of
    the engine is half a second old."""

    LATENCIES = ("time_to_first_token", "inter_token_latency")

    def __init__(self, server):
        self.server, self.began = server, time.monotonic()
        self.before = self.read()

    def read(self):
        names = ["request_success_total", "generation_tokens_total", "engine_busy_seconds_total"]
        names += [f"{name}_seconds_{part}" for name in self.LATENCIES for part in ("sum", "count")]
        return {name: self.server.metric(name) for name in names} | {"io": self.server.io_cpu_s()}

    def since(self):
        return {name: now - self.before[name] for name, now in self.read().items()}

    def report(self):
        since = self.since()
        busy, io = since["engine_busy_seconds_total"], since["io"]
        means = {f"{name}_ms": round(1e3 * since[f"{name}_seconds_sum"]
                                     / max(since[f"{name}_seconds_count"], 1), 2)
                 for name in self.LATENCIES}
        return {"means_at_the_server": means, "engine_busy_s": round(busy, 2),
                "io_threads_cpu_s": round(io, 2),
                "io_threads_cpu_s_per_engine_s": round(io / busy, 4),
                "io_threads_cpu_us_per_token": round(1e6 * io / since["generation_tokens_total"], 1)}


def check_accounts(meter, outcome):
    """Every sample that the server took has ended once, and was delivered unless its client left."""
    since, counts = meter.since(), outcome.counts
    ended, tokens = since["request_success_total"], since["generation_tokens_total"]
    if not counts["samples"] <= ended <= counts["samples"] + counts["killed_samples"]:
        outcome.problems.append(f"expected {counts['samples']} samples and at most "
                                f"{counts['killed_samples']} of killed clients, found {ended}")
    if tokens < counts["tokens"] or not counts["killed"] and tokens != counts["tokens"]:
        outcome.problems.append(f"expected {counts['tokens']} tokens, found {tokens}")


async def answers_alone(server, asked):
    connection = wire.Connection(server.port)
    replies = [await connection.post(PATH, body) for body in asked]
    connection.kill()
    assert all(reply.status == 200 for reply in replies), replies[0].body
    return [words(reply) for reply in replies]


async def settle(server):
    """Until the server's view of its engine (twice a second) is that it has nothing to do."""
    for _ in range(100):
        await asyncio.sleep(0.6)
        if server.metric("num_requests_running") + server.metric("num_requests_waiting") == 0:
            return
    raise AssertionError("the server did not come to rest")


async def hold_idle(server, players, count):
    """So many connections that do nothing; the server answers beside them."""
    before = server.resident_bytes()
    held = [wire.Connection(server.port) for _ in range(count)]
    opened_at = []
    for connection in held:
        await connection.open()
        opened_at.append(time.monotonic())
    await players.run(num_clients=4, seconds=2.0)
    closed = [time.monotonic() - at for at, connection in zip(opened_at, held)
              if connection.reader.at_eof()]
    if closed and closed[-1] < IDLE_TIMEOUT_S:
        players.outcome.problems.append(f"an idle connection was closed after {closed[-1]:.1f} s")
    grown = server.resident_bytes() - before
    for connection in held:
        connection.kill()
    return {"idle_connections": count - len(closed),
            "bytes_each": round(grown / max(count - len(closed), 1))}


async def drain(server, players, count):
    """SIGTERM while answers are in the making: all of them come, and are right."""
    load, outcome = players.load, players.outcome
    connections = [wire.Connection(server.port) for _ in range(count)]
    index = max(range(len(load.asked)), key=lambda i: load.asked[i]["max_tokens"])
    for connection in connections:
        await connection.send(PATH, dict(load.asked[index], stream=True))
    replies = [await connection.receive_head(time.monotonic()) for connection in connections]
    server.process.terminate()
    for connection, reply in zip(connections, replies):
        try:
            body = connection.receive_body(reply)
            outcome.check(index, await asyncio.wait_for(body, wire.PATIENCE_S), load)
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
            outcome.problems.append(f"an answer is lost at SIGTERM: {error!r}")
    if (status := server.wait()) != 0:
        outcome.problems.append(f"exit status after SIGTERM: expected 0, found {status}")


async def steady_load(server, players, meter, options):
    """The report of the part without kills, with what the server held at a quarter and at the end."""
    began = time.monotonic()
    await players.run(options.clients, options.seconds / 4)
    resident = [server.resident_bytes()]
    await players.run(options.clients, options.seconds * 3 / 4)
    resident.append(server.resident_bytes())
    elapsed = time.monotonic() - began
    await settle(server)
    outcome = players.outcome
    check_accounts(meter, outcome)
    counts = dict(outcome.counts)
    return resident, {
        "seconds": round(elapsed, 1), **counts, "answers_per_s": round(counts["answers"] / elapsed, 2),
        "output_tokens_per_s": round(counts["tokens"] / elapsed, 1),
        "time_to_first_token_ms": quantiles(outcome.first_token_s),
        "inter_token_latency_ms": quantiles(outcome.between_tokens_s),
        "whole_answer_ms": quantiles(outcome.whole_s), **meter.report(),
        "busiest_client_process": round(outcome.busiest_client, 2)}


async def roughness(server, players, meter, options, resident):
    """Killed clients, slow headers, idle connections, SIGTERM."""
    problems = players.outcome.problems
    await asyncio.gather(players.run(options.clients, options.seconds / 3, kill_share=0.3),
                         *[trickle(server.port, problems) for _ in range(TRICKLING)])
    await settle(server)
    check_accounts(meter, players.outcome)
    resident.append(server.resident_bytes())
    if resident[-1] - resident[0] > MAX_GROWTH_BYTES:
        problems.append(f"the server grew: resident bytes {resident}")
    killed = players.outcome.counts["killed"]
    idle = await hold_idle(server, players, options.idle_connections)
    await drain(server, players, options.running // 2)
    return {"killed": killed, **idle}


async def check(server, options):
    """The report, with what went wrong as its "problems"."""
    make = chat_requests if options.latency else mixed_requests
    asked = make(options.requests, options.prompt_tokens, options.max_tokens)
    load = Load(server.port, asked, await answers_alone(server, asked), options.latency)
    await settle(server)
    players, meter = Players(load, options.processes), Meter(server)
    resident, report = await steady_load(server, players, meter, options)
    if not options.latency:
        report |= await roughness(server, players, meter, options, resident)
    return {"model": pathlib.Path(options.model).name, "host": platform.node(), "cpus": os.cpu_count(),
            "serve": options.serve, "clients": options.clients,
            "taken_at_once": options.running + options.waiting, **report,
            "resident_mb": [round(r / 2**20, 1) for r in resident],
            "problems": players.outcome.problems[:20]}


def serve_and_check(options):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = options.idle_connections + 1000
    if hard != resource.RLIM_INFINITY and files > hard:
        sys.exit(f"load.py: expected a limit of {files} open files, found {hard}: "
                 "give fewer --idle-connections")
    if files > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    server = serving.Server(options.model, "--no-receipts", "--max-num-seqs", str(options.running),
                            "--max-waiting", str(options.waiting), *options.serve)
    try:
        return asyncio.run(check(server, options))
    finally:
        server.process.kill()


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="of load; a third more follows")
    parser.add_argument("--model", default=serving.TINY)
    parser.add_argument("--running", type=int, default=8, help="samples that the server computes at once")
    parser.add_argument("--waiting", type=int, default=8, help="samples that may wait beside them")
    parser.add_argument("--clients", type=int, help="[twice what the server takes]")
    parser.add_argument("--processes", type=int, default=1, help="that play the clients")
    parser.add_argument("--latency", action="store_true", help="nothing but streams")
    parser.add_argument("--requests", type=int, default=48, help="that differ")
    parser.add_argument("--prompt-tokens", type=int, default=60)
    parser.add_argument("--max-tokens", type=int, default=40)
    parser.add_argument("--idle-connections", type=int, default=10000)
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument("serve", nargs="*", help="options of `vexact serve`, behind --")
    options = parser.parse_args(arguments)
    options.clients = options.clients or 2 * (options.running + options.waiting)
    return options


def main(arguments):
    options = parse(arguments)
    report = serve_and_check(options)
    text = json.dumps(report, indent=1)
    print(text)
    if options.output:
        options.output.write_text(text + "\n", encoding="utf-8")
    return 1 if report["problems"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
