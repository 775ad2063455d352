#!/usr/bin/env python3
"""Load on `vexact serve`, and whether every answer is the one that its request has alone.

usage: tests/server/load.py [--seconds 60] [--model PATH] [--clients N] [--idle-connections 10000]
                            [--output FILE]

Clients at twice what the server takes (the rest is refused with 429 and asked again) send requests
of known answers, streamed and not, for some seconds; then for some more while clients are killed at
random and others send their headers byte by byte. Then connections that do nothing are opened, and
at the end SIGTERM comes while answers are in the making. Exit status 1, and what went wrong: an
answer that was lost, came twice or has another word than alone; a server that grew, left work behind
or did not drain. The report is JSON: counts, latencies at the client, memory, the time of the I/O
threads. Python's standard library only.
"""

import argparse
import asyncio
import collections
import json
import os
import pathlib
import platform
import random
import resource
import sys
import time

import serving
import wire

PATH = "/v1/completions"
MAX_SEQS = 8
MAX_WAITING = 8
MAX_GROWTH_BYTES = 24 << 20
TRICKLING = 16  # connections that send a header byte by byte
HEADER_TIMEOUT_S = 10.0  # http_server.h
IDLE_TIMEOUT_S = 75.0  # likewise


def requests(count, max_tokens):
    """Requests of every kind; the prompts are token ids, which every model has."""
    made = []
    for i in range(count):
        made.append({"prompt": [3 + (7 * k + 31 * i) % 250 for k in range(2 + 11 * i % 60)],
                     "max_tokens": 1 + (5 * i) % max_tokens, "seed": 100 + i, "n": 1 + i % 2,
                     "temperature": 0.0 if i % 3 == 0 else 0.9, "logprobs": i % 3,
                     "ignore_eos": True, "return_token_ids": True})
    return made


def words(reply):
    """What decides an answer: of each choice, token ids and log-probabilities."""
    choices = collections.defaultdict(lambda: ([], []))
    for answer in reply.answers():
        for choice in answer["choices"]:
            ids, logprobs = choices[choice["index"]]
            ids += choice["token_ids"]
            logprobs += choice["logprobs"]["token_logprobs"]
    return dict(choices)


class Load:
    """What was asked of a server since then, and what came of it."""

    def __init__(self, server, asked, expected):
        self.server, self.asked, self.expected = server, asked, expected
        self.random = random.Random(1)
        self.counts = collections.Counter()
        self.answer_ids = set()
        self.first_token_s, self.between_tokens_s, self.whole_s = [], [], []
        self.problems = []
        self.ended_before = server.metric("request_success_total")
        self.tokens_before = server.metric("generation_tokens_total")

    def check(self, index, reply):
        if words(reply) != self.expected[index]:
            self.problems.append(f"request {index}: expected the words of the request alone")
        ids = {answer["id"] for answer in reply.answers()}
        if len(ids) != 1 or ids & self.answer_ids:
            self.problems.append(f"request {index}: an answer came twice: {ids}")
        self.answer_ids |= ids
        self.counts["answers"] += 1
        self.counts["samples"] += self.asked[index]["n"]
        self.counts["tokens"] += sum(len(ids) for ids, _ in self.expected[index].values())

    def measure(self, index, reply):
        ended = reply.arrivals[-1][0]
        self.whole_s.append(ended - reply.sent_at)
        if self.asked[index]["n"] > 1 or "event-stream" not in reply.headers["content-type"]:
            return  # pieces are not one sample's tokens
        times = [at for at, piece in reply.arrivals if piece.startswith(b'data: {"id"')]
        self.first_token_s.append(times[0] - reply.sent_at)
        self.between_tokens_s += [b - a for a, b in zip(times, times[1:])]

    async def ask(self, connection):
        index = self.random.randrange(len(self.asked))
        body = dict(self.asked[index], stream=self.random.random() < 0.5)
        try:
            reply = await connection.post(PATH, body)
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
            self.problems.append(f"request {index}: its answer is lost: {error!r}")
            connection.kill()
            return
        if reply.status == 429:
            self.counts["refused"] += 1
            await asyncio.sleep(float(reply.headers["retry-after"]) * self.random.uniform(0.1, 0.5))
        elif reply.status != 200:
            self.problems.append(f"request {index}: status {reply.status}: {reply.body[:200]}")
        else:
            self.check(index, reply)
            self.measure(index, reply)

    async def ask_and_leave(self):
        connection = wire.Connection(self.server.port)
        index = self.random.randrange(len(self.asked))
        await connection.send(PATH, dict(self.asked[index], stream=self.random.random() < 0.5))
        await asyncio.sleep(self.random.random() * 0.2)
        connection.kill()
        self.counts["killed"] += 1
        self.counts["killed_samples"] += self.asked[index]["n"]

    async def client(self, until, kill_share):
        connection = wire.Connection(self.server.port)
        while time.monotonic() < until:
            if self.random.random() < kill_share:
                await self.ask_and_leave()
            await self.ask(connection)
        connection.kill()

    async def trickle(self):
        """Sends a header byte by byte until the server has enough of it."""
        connection = wire.Connection(self.server.port)
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
            self.problems.append("a header that trickles in was waited for")
        connection.kill()

    async def run(self, num_clients, seconds, kill_share=0.0):
        until = time.monotonic() + seconds
        await asyncio.gather(*[self.client(until, kill_share) for _ in range(num_clients)])


def quantiles(values):
    """Milliseconds: p50, p95, p99."""
    ordered = sorted(values)
    return {f"p{p}": round(1e3 * ordered[min(len(ordered) - 1, len(ordered) * p // 100)], 2)
            for p in (50, 95, 99)} if ordered else {}


async def answers_alone(server, asked):
    connection = wire.Connection(server.port)
    replies = [await connection.post(PATH, body) for body in asked]
    connection.kill()
    assert all(reply.status == 200 for reply in replies), replies[0].body
    return [words(reply) for reply in replies]


def check_accounts(load):
    """Every sample that the server took has ended once, and was delivered unless its client left."""
    server, counts = load.server, load.counts
    ended = server.metric("request_success_total") - load.ended_before
    if not counts["samples"] <= ended <= counts["samples"] + counts["killed_samples"]:
        load.problems.append(f"expected {counts['samples']} samples and at most "
                             f"{counts['killed_samples']} of killed clients, found {ended}")
    tokens = server.metric("generation_tokens_total") - load.tokens_before
    if tokens < counts["tokens"] or not counts["killed"] and tokens != counts["tokens"]:
        load.problems.append(f"expected {counts['tokens']} tokens, found {tokens}")


async def settle(server):
    """Until the server's view of its engine (twice a second) is that it has nothing to do."""
    for _ in range(100):
        await asyncio.sleep(0.6)
        if server.metric("num_requests_running") + server.metric("num_requests_waiting") == 0:
            return
    raise AssertionError("the server did not come to rest")


async def hold_idle(load, count):
    """So many connections that do nothing; the server answers beside them."""
    before = load.server.resident_bytes()
    held = [wire.Connection(load.server.port) for _ in range(count)]
    opened_at = []
    for connection in held:
        await connection.open()
        opened_at.append(time.monotonic())
    await load.run(num_clients=4, seconds=2.0)
    closed = [time.monotonic() - at for at, connection in zip(opened_at, held)
              if connection.reader.at_eof()]
    if closed and closed[-1] < IDLE_TIMEOUT_S:
        load.problems.append(f"an idle connection was closed after {closed[-1]:.1f} s")
    grown = load.server.resident_bytes() - before
    for connection in held:
        connection.kill()
    return {"idle_connections": count - len(closed), "bytes_each": round(grown / max(count - len(closed), 1))}


async def drain(load):
    """SIGTERM while answers are in the making: all of them come, and are right."""
    connections = [wire.Connection(load.server.port) for _ in range(MAX_SEQS // 2)]
    index = max(range(len(load.asked)), key=lambda i: load.asked[i]["max_tokens"])
    for connection in connections:
        await connection.send(PATH, dict(load.asked[index], stream=True))
    replies = [await connection.receive_head(time.monotonic()) for connection in connections]
    load.server.process.terminate()
    for connection, reply in zip(connections, replies):
        try:
            body = connection.receive_body(reply)
            load.check(index, await asyncio.wait_for(body, wire.PATIENCE_S))
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
            load.problems.append(f"an answer is lost at SIGTERM: {error!r}")


async def check(server, options):
    """The report, with what went wrong as its "problems"."""
    asked = requests(options.requests, options.max_tokens)
    load = Load(server, asked, await answers_alone(server, asked))
    warm_s = options.seconds / 4
    io_before, began = server.io_cpu_s(), time.monotonic()
    await load.run(options.clients, warm_s)
    resident = [server.resident_bytes()]
    await load.run(options.clients, options.seconds - warm_s)
    resident.append(server.resident_bytes())
    elapsed = time.monotonic() - began
    io_share = (server.io_cpu_s() - io_before) / elapsed
    await settle(server)
    check_accounts(load)
    counts = dict(load.counts)
    tokens_per_s = counts["tokens"] / elapsed
    await asyncio.gather(load.run(options.clients, options.seconds / 3, kill_share=0.3),
                         *[load.trickle() for _ in range(TRICKLING)])
    await settle(server)
    check_accounts(load)
    resident.append(server.resident_bytes())
    if resident[-1] - resident[0] > MAX_GROWTH_BYTES:
        load.problems.append(f"the server grew: resident bytes {resident}")
    idle = await hold_idle(load, options.idle_connections)
    await drain(load)
    if (status := server.wait()) != 0:
        load.problems.append(f"exit status after SIGTERM: expected 0, found {status}")
    return {"model": pathlib.Path(options.model).name, "host": platform.node(), "cpus": os.cpu_count(),
            "seconds": round(elapsed, 1), "clients": options.clients,
            "taken_at_once": MAX_SEQS + MAX_WAITING, **counts, "killed": load.counts["killed"],
            "output_tokens_per_s": round(tokens_per_s, 1),
            "time_to_first_token_ms": quantiles(load.first_token_s),
            "inter_token_latency_ms": quantiles(load.between_tokens_s),
            "whole_answer_ms": quantiles(load.whole_s),
            "io_threads_cpu_s_per_wall_s": round(io_share, 4),
            "resident_mb": [round(r / 2**20, 1) for r in resident], **idle,
            "problems": load.problems[:20]}


def serve_and_check(options):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if options.idle_connections + 1000 > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(options.idle_connections + 1000, hard), hard))
    server = serving.Server(options.model, "--no-receipts", "--max-num-seqs", str(MAX_SEQS),
                            "--max-waiting", str(MAX_WAITING))
    try:
        return asyncio.run(check(server, options))
    finally:
        server.process.kill()


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="of load; a third more follows")
    parser.add_argument("--model", default=serving.TINY)
    parser.add_argument("--clients", type=int, default=2 * (MAX_SEQS + MAX_WAITING))
    parser.add_argument("--requests", type=int, default=48, help="that differ")
    parser.add_argument("--max-tokens", type=int, default=40)
    parser.add_argument("--idle-connections", type=int, default=10000)
    parser.add_argument("--output", type=pathlib.Path)
    return parser.parse_args(arguments)


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
