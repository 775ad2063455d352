"""A running `vexact serve`, as the tests of this folder use it. VEXACT names the program."""

import os
import pathlib
import re
import subprocess
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("VEXACT", str(ROOT / "build/release/vexact"))
TINY = str(ROOT / "models/tiny-llama")  # without a tokenizer: prompts are token ids
KEY = "a-key"


def smollm2():
    """The path of the model's file, or None."""
    found = subprocess.run([ROOT / "scripts/fetch_model", "--cached"], capture_output=True,
                           text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else None


class Server:
    """A running server; its API key is KEY."""

    def __init__(self, model, *flags):
        device = [] if "--device" in flags else ["--device", "cpu"]
        command = [PROGRAM, "serve", "--model", model, "--port", "0", *device, "--quiet",
                   "--api-key", KEY, *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()
        assert self.address, f"vexact serve ended with status {self.process.wait()}"
        self.url = self.address + "/v1"
        self.port = int(self.address.rsplit(":", 1)[1])

    def get(self, path):
        request = urllib.request.Request(self.address + path,
                                         headers={"Authorization": "Bearer " + KEY})
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.read().decode()

    def metric(self, name):
        """The sum of a metric's values over its labels."""
        values = re.findall(rf"^vexact:{name}{{.*}} (\S+)$", self.get("/metrics"), re.MULTILINE)
        return sum(map(float, values))

    def resident_bytes(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) << 10

    def io_cpu_s(self):
        """CPU seconds of the threads that read, parse, format and write."""
        ticks = []
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            name, fields = (task / "stat").read_text(encoding="utf-8").rsplit(")", 1)
            if name.endswith("(vexact-io"):
                ticks.append(sum(map(int, fields.split()[11:13])))  # utime, stime
        assert ticks, "no thread is called vexact-io"
        return sum(ticks) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        """Drains; returns the exit status."""
        self.process.terminate()
        return self.wait()

    def wait(self):
        status = self.process.wait(timeout=60)
        self.process.stdout.close()
        return status
