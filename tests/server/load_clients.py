"""Clients of the load on a server (load.py), in processes of their own, and what comes of what they
ask."""

import array
import asyncio
import collections
import concurrent.futures
import itertools
import random
import time

import wire

PATH = "/v1/completions"


def words(reply):
    """What decides an answer: of each choice, token ids and log-probabilities."""
    choices = collections.defaultdict(lambda: ([], []))
    for answer in reply.answers():
        for choice in answer["choices"]:
            ids, logprobs = choices[choice["index"]]
            ids += choice["token_ids"]
            if choice["logprobs"]:
                logprobs += choice["logprobs"]["token_logprobs"]
    return dict(choices)


class Load:
    """What clients ask of a server and have to get. It goes to their processes."""

    def __init__(self, port, asked, expected, is_latency):
        self.port, self.asked, self.expected, self.is_latency = port, asked, expected, is_latency


class Outcome:
    """What came of clients' requests."""

    def __init__(self):
        self.counts = collections.Counter()
        self.answer_ids = set()
        self.first_token_s, self.between_tokens_s, self.whole_s = (array.array("d") for _ in range(3))
        self.problems = []
        self.busiest_client = 0.0  # CPU seconds a second of a process that plays clients

    def check(self, index, reply, load):
        found = words(reply)
        if found != load.expected[index]:
            self.problems.append(f"request {index}: expected the words of the request alone")
        self.take_ids(index, {answer["id"] for answer in reply.answers()})
        self.counts["answers"] += 1
        self.counts["samples"] += load.asked[index].get("n", 1)
        self.counts["tokens"] += sum(len(ids) for ids, _ in found.values())

    def take_ids(self, index, ids):
        if len(ids) != 1 or ids & self.answer_ids:
            self.problems.append(f"request {index}: an answer came twice: {ids}")
        self.answer_ids |= ids

    def measure(self, reply, samples):
        ended = reply.arrivals[-1][0]
        self.whole_s.append(ended - reply.sent_at)
        if samples > 1 or "event-stream" not in reply.headers["content-type"]:
            return  # pieces are not one sample's tokens
        times = [at for at, piece in reply.arrivals for _ in range(piece.count(b'data: {"id"'))]
        self.first_token_s.append(times[0] - reply.sent_at)
        self.between_tokens_s.extend(b - a for a, b in zip(times, times[1:]))

    def add(self, other):
        self.counts += other.counts
        twice = self.answer_ids & other.answer_ids
        self.problems += other.problems + ([f"answers came twice: {twice}"] if twice else [])
        self.answer_ids |= other.answer_ids
        self.first_token_s += other.first_token_s
        self.between_tokens_s += other.between_tokens_s
        self.whole_s += other.whole_s
        self.busiest_client = max(self.busiest_client, other.busiest_client)


class Clients:
    """Some clients of one process, and what comes of what they ask."""

    def __init__(self, load, seed):
        self.load, self.random = load, random.Random(seed)
        self.outcome = Outcome()
        self.salts = (f"{seed}-{i}" for i in itertools.count())

    def pick(self):
        """A request and its index."""
        index = self.random.randrange(len(self.load.asked))
        body = dict(self.load.asked[index])
        if self.load.is_latency:
            return index, dict(body, stream=True, cache_salt=next(self.salts))
        return index, dict(body, stream=self.random.random() < 0.5)

    async def ask(self, connection):
        index, body = self.pick()
        outcome = self.outcome
        try:
            reply = await connection.post(PATH, body)
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
            outcome.problems.append(f"request {index}: its answer is lost: {error!r}")
            connection.kill()
            return
        if reply.status == 429:
            outcome.counts["refused"] += 1
            await asyncio.sleep(float(reply.headers["retry-after"]) * self.random.uniform(0.1, 0.5))
        elif reply.status != 200:
            outcome.problems.append(f"request {index}: status {reply.status}: {reply.body[:200]}")
        else:
            outcome.check(index, reply, self.load)
            outcome.measure(reply, body.get("n", 1))

    async def ask_and_leave(self):
        connection = wire.Connection(self.load.port)
        _, body = self.pick()
        await connection.send(PATH, body)
        await asyncio.sleep(self.random.random() * 0.2)
        connection.kill()
        self.outcome.counts["killed"] += 1
        self.outcome.counts["killed_samples"] += body.get("n", 1)

    async def client(self, until, kill_share):
        connection = wire.Connection(self.load.port)
        while time.monotonic() < until:
            if self.random.random() < kill_share:
                await self.ask_and_leave()
            await self.ask(connection)
        connection.kill()

    async def run(self, count, seconds, kill_share):
        until = time.monotonic() + seconds
        await asyncio.gather(*[self.client(until, kill_share) for _ in range(count)])


def play_clients(load, seed, count, seconds, kill_share):
    """In a process of its own: one process cannot read as fast as a GPU writes."""
    clients = Clients(load, seed)
    began, cpu_began = time.monotonic(), time.process_time()
    asyncio.run(clients.run(count, seconds, kill_share))
    clients.outcome.busiest_client = ((time.process_time() - cpu_began)
                                      / (time.monotonic() - began))
    return clients.outcome


class Players:
    """Processes that play clients, and what came of all that they asked."""

    def __init__(self, load, num_processes):
        self.load, self.outcome = load, Outcome()
        self.num_processes = num_processes
        self.pool = concurrent.futures.ProcessPoolExecutor(num_processes)
        self.seeds = itertools.count(1)

    async def run(self, num_clients, seconds, kill_share=0.0):
        shares = [len(range(i, num_clients, self.num_processes)) for i in range(self.num_processes)]
        loop = asyncio.get_running_loop()
        parts = [loop.run_in_executor(self.pool, play_clients, self.load, next(self.seeds), share,
                                      seconds, kill_share) for share in shares if share > 0]
        for part in await asyncio.gather(*parts):
            self.outcome.add(part)
