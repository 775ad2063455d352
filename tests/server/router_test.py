"""Two replicas of `vexact serve` behind a ready-made router (smg): whichever answers, the bits are
the same."""

import asyncio
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request

import serving
import wire

MODEL = serving.smollm2()


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Router:
    """smg in front of the servers, in turn."""

    def __init__(self, servers):
        self.port = free_port()
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "smg", "launch", "--worker-urls", *[s.address for s in servers],
             "--api-key", serving.KEY, "--policy", "round_robin", "--host", "127.0.0.1",
             "--port", str(self.port), "--prometheus-port", str(free_port())],
            stdout=self.log, stderr=self.log)

    def wait_until_ready(self, num_workers):
        """Until it has found its workers."""
        for _ in range(240):
            try:
                url = f"http://127.0.0.1:{self.port}/workers"
                request = urllib.request.Request(
                    url, headers={"Authorization": "Bearer " + serving.KEY})
                with urllib.request.urlopen(request, timeout=5) as reply:
                    text = reply.read().decode()
                if text.count('"is_healthy":true') == num_workers:
                    return
            except (urllib.error.URLError, OSError):
                pass
            time.sleep(0.25)
        self.log.seek(0)
        raise AssertionError("the router did not find its workers: " + self.log.read()[-4000:])

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=60)
        self.log.close()


def bodies():
    common = {"model": "smollm2", "max_tokens": 6, "temperature": 0.8, "logprobs": 1,
              "return_token_ids": True}
    return [dict(common, prompt=f"{i} and {i} is", seed=i) for i in range(8)]


def words(reply):
    assert reply.status == 200, reply.body
    choice = reply.answers()[0]["choices"][0]
    return choice["token_ids"], choice["logprobs"]["token_logprobs"]


async def ask_all(port):
    connections = [wire.Connection(port) for _ in bodies()]
    replies = await asyncio.gather(*[c.post("/v1/completions", body)
                                     for c, body in zip(connections, bodies())])
    for connection in connections:
        connection.kill()
    return [words(reply) for reply in replies]


@unittest.skipIf(MODEL is None, "SmolLM2 is not there; scripts/fetch_model fetches it")
class RouterTest(unittest.TestCase):
    def test_any_replica_gives_the_same_bits(self):
        # Replicas that differ in all that must not matter.
        servers = [serving.Server(MODEL, "--no-receipts", "--served-model-name", "smollm2", *flags)
                   for flags in (["--threads", "1"], ["--max-num-batched-tokens", "32"])]
        expected = asyncio.run(ask_all(servers[0].port))
        before = [server.metric("request_success_total") for server in servers]
        router = Router(servers)
        try:
            router.wait_until_ready(len(servers))
            for _ in range(2):
                self.assertEqual(asyncio.run(ask_all(router.port)), expected)
        finally:
            router.stop()
        for server, count in zip(servers, before):
            self.assertGreater(server.metric("request_success_total"), count,
                               "the router left this replica alone")
            self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
