"""The hub is asked with a limit, only weights and settings are taken from it, and its local cache does without it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

COMMIT = "c0ffee" + "0" * 34
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "tokenizer_config.json": b"{}",
    "model.safetensors": b"weights" * 100,
    "pytorch_model.bin": b"a pickle",
    "modeling_evil.py": b"raise SystemExit",
    "original/consolidated.safetensors": b"once more",
}


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's protocol as a download needs."""

    files: dict[str, bytes] = FILES
    silent = False

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        if self.silent:
            threading.Event().wait(8)
            return
        path = self.path.partition("?")[0]
        if not path.removeprefix("/api/models").startswith("/lab/tiny"):
            self.reply(401, b"{}", body, {"X-Error-Code": "RepoNotFound"})
        elif "/tree/" in path:
            tree = [{"type": "file", "path": n, "size": len(d), "oid": blob(d)} for n, d in self.files.items()]
            self.reply(200, json.dumps(tree).encode(), body)
        elif path.startswith("/api/models/"):
            info = {"id": "lab/tiny", "sha": COMMIT, "siblings": [{"rfilename": name} for name in self.files]}
            self.reply(200, json.dumps(info).encode(), body)
        else:
            data = self.files[path.split(f"/resolve/{COMMIT}/")[1]]
            self.reply(200, data, body, {"ETag": f'"{blob(data)}"', "X-Repo-Commit": COMMIT})

    def reply(self, status: int, data: bytes, body: bool, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
            **(headers or {}),
        }.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


def blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Hub]]:
    handler = type("OneHub", (Hub,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.setenv("EVODISTILL_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield handler
    server.shutdown()
    server.server_close()


def resolve(path: str = "lab/tiny", how: str = "resolve('tiny', sys.argv[1], None)", **env: str) -> dict[str, str]:
    """`weights.resolve` in a process of its own: huggingface_hub reads its settings once, when imported."""
    code = (
        "import json, time, sys\nfrom evodistill import RunError\nfrom evodistill.weights import resolve\n"
        "from evodistill.backend.reward import Reward\n"
        "from huggingface_hub import HfApi, snapshot_download\n"
        "begin = time.time()\n"
        f"try:\n    found = {how}\n"
        "    out = {'folder': str(found.folder), 'identity': found.identity, 'origin': found.origin}\n"
        "except RunError as error:\n    out = {'error': str(error)}\n"
        "print(json.dumps(out | {'seconds': time.time() - begin}))"
    )
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "src")} | env
    done = subprocess.run([sys.executable, "-c", code, path], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_only_weights_and_settings_come_from_the_hub(hub: type[Hub]) -> None:
    found = resolve()
    assert found["origin"] == f"hub lab/tiny@{COMMIT}"
    names = {str(p.relative_to(found["folder"])) for p in Path(found["folder"]).rglob("*") if p.is_file()}
    assert names == {"config.json", "tokenizer_config.json", "model.safetensors"}


def test_code_comes_from_the_hub_for_whom_asks_to_run_it(hub: type[Hub]) -> None:
    found = resolve(how="Reward('tiny', path=sys.argv[1], trust_remote_code=True).weights")
    assert (Path(found["folder"]) / "modeling_evil.py").read_bytes() == FILES["modeling_evil.py"]
    plain = resolve(how="Reward('tiny', path=sys.argv[1]).weights")
    assert plain["identity"] == found["identity"], "the weights are the same"


def test_a_model_once_found_needs_no_hub(hub: type[Hub]) -> None:
    first = resolve()
    hub.files = {}
    again = resolve(HF_ENDPOINT="http://127.0.0.1:9")
    assert (again["folder"], again["identity"]) == (first["folder"], first["identity"])


def test_the_local_hub_cache_does_when_the_hub_is_gone(hub: type[Hub], tmp_path: Path) -> None:
    first = resolve()
    again = resolve(f"lab/tiny@{COMMIT}", HF_ENDPOINT="http://127.0.0.1:9", EVODISTILL_HOME=str(tmp_path / "other"))
    assert again["identity"] == first["identity"]
    offline = resolve(f"lab/tiny@{COMMIT}", HF_HUB_OFFLINE="1", EVODISTILL_HOME=str(tmp_path / "third"))
    assert offline["identity"] == first["identity"]


def test_a_repository_without_safetensors_is_one_line(hub: type[Hub]) -> None:
    hub.files = {name: data for name, data in FILES.items() if name != "model.safetensors"}
    assert "no model.safetensors; choose a repository with safetensors" in resolve()["error"]


def test_an_unknown_repository_is_one_line(hub: type[Hub]) -> None:
    assert "no such model or revision" in resolve("lab/other")["error"]


def test_a_hub_that_says_nothing_is_left_after_three_seconds(hub: type[Hub]) -> None:
    hub.silent = True
    found = resolve()
    assert "the hub cannot be used" in found["error"]
    assert float(found["seconds"]) < 7
