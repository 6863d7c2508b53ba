"""What the tests of backends share: a server that runs the packaged SmolLM2-135M."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

START_SECONDS = 300


class Server(NamedTuple):
    base_url: str  # up to /v1
    model: str  # the name it is served under


@pytest.fixture(scope="session")
def needs_vllm() -> None:
    """Skip where vLLM is missing; in CI its absence is a failure."""
    if find_spec("vllm") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("vLLM is not installed: make vllm")


@pytest.fixture(scope="session")
def vllm_server(needs_vllm, smollm2, tmp_path_factory) -> Iterator[Server]:
    """An OpenAI-compatible server on a free local port, in processes of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(f"http://127.0.0.1:{port}/v1", "smollm2-135m")
    # what `vllm serve` runs; the CPU build's own `vllm` command looks for a distribution of that name and fails
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(smollm2.folder)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", server.model]
    command += ["--max-model-len", "2048", "--enforce-eager", "--dtype", "float32"]
    settings = {"VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    log = tmp_path_factory.mktemp("vllm") / "serve.log"
    with log.open("w") as out:
        # a session of its own, so that its children can be ended with it
        process = subprocess.Popen(
            command, env=settings | os.environ, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        wait_until_healthy(process, port, log)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with suppress(ProcessLookupError):  # children that outlived it
            os.killpg(process.pid, signal.SIGKILL)


def wait_until_healthy(process: subprocess.Popen, port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"vllm serve ended with {process.returncode}:\n{log.read_text()[-3000:]}")
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health", timeout=5, trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    pytest.fail(f"vllm serve did not answer within {START_SECONDS} s:\n{log.read_text()[-3000:]}")
