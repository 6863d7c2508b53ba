"""An upload to a hub of our own: one dataset, one commit, with its card."""

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from repository import FAKES

from evodistill.pipeline import run


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's protocol as an upload needs. Only `token` may write."""

    token = "mine"
    asked: list[tuple[str, str]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.asked.append((self.path, body))
        here = f"http://{self.headers['Host']}"
        if self.headers.get("Authorization") != f"Bearer {self.token}":
            self.reply(401, {"error": "Invalid username or password."})
        elif self.path == "/api/repos/create":
            self.reply(200, {"url": f"{here}/datasets/lab/mine"})
        elif self.path == "/api/validate-yaml":
            self.reply(200, {"errors": [], "warnings": []})
        elif self.path == "/api/datasets/lab/mine/preupload/main":
            files = [file["path"] for file in json.loads(body)["files"]]
            modes = [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in files]
            self.reply(200, {"files": modes})
        elif self.path.startswith("/api/datasets/lab/mine/commit/main"):
            address = f"{here}/datasets/lab/mine/commit/c0ffee"
            self.reply(200, {"success": True, "commitOid": "c0ffee", "commitUrl": address, "hookOutput": ""})
        else:
            self.reply(404, {"error": self.path})

    def reply(self, status: int, told: dict[str, object]) -> None:
        data = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """(address, what it was asked)"""
    handler = type("OneHub", (Hub,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler.asked  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


@pytest.fixture
def ran(cfg, tmp_path) -> Path:
    words = ["+experiment=smoke", *FAKES, "steps=[dataset,respond]", "metric=[]", "instructions=null", "name=mine"]
    composed = cfg(*words, "dataset.limit=3", f"artifacts={tmp_path}/artifacts")
    run(composed, tmp_path / "run")
    (tmp_path / "run" / ".hydra").mkdir()
    OmegaConf.save(composed, tmp_path / "run" / ".hydra" / "config.yaml")
    return tmp_path / "run"


def pushed(ran: Path, address: str, token: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: huggingface_hub reads its settings once, when imported."""
    command = [
        sys.executable,
        "-m",
        "evodistill.export",
        str(ran),
        "--to",
        str(ran / "out"),
        "--format",
        "llama_factory",
    ]
    hf = {"HF_ENDPOINT": address, "HF_TOKEN": token, "HF_HOME": str(ran / "hf"), "HF_HUB_DISABLE_XET": "1"}
    env = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"} | hf
    return subprocess.run([*command, "--push", "lab/mine", "--private"], capture_output=True, text=True, env=env)


def test_rows_and_card_are_one_commit(ran, hub):
    address, asked = hub
    done = pushed(ran, address, "mine")
    assert done.returncode == 0, done.stderr
    assert f"uploaded: {address}/datasets/lab/mine" in done.stderr
    made = json.loads(dict(asked)["/api/repos/create"])
    assert (made["name"], made["organization"], made["type"], made["visibility"]) == (
        "mine",
        "lab",
        "dataset",
        "private",
    )
    (commit,) = [body for path, body in asked if "/commit/" in path]
    files = [json.loads(line)["value"] for line in commit.splitlines() if '"file"' in line]
    told = {file["path"]: base64.b64decode(file["content"]).decode() for file in files}
    assert sorted(told) == ["README.md", "dataset_info.json", "mine.json", "mine.yaml"]
    assert len(json.loads(told["mine.json"])) == 3 and "license: apache-2.0" in told["README.md"]
    assert "| tiny |" in told["README.md"].lower() and "| teacher | fake |" in told["README.md"]


def test_a_refused_token_is_one_line_and_the_files_stay(ran, hub):
    address, asked = hub
    done = pushed(ran, address, "nobody's")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: --push lab/mine: the hub refused it") and "set HF_TOKEN" in last
    assert [path for path, _ in asked] == ["/api/repos/create"] and (ran / "out" / "mine.json").exists()


def test_a_hub_that_is_not_there_is_one_line(ran):
    done = pushed(ran, "http://127.0.0.1:9", "mine")
    assert done.returncode == 1 and "Traceback" not in done.stderr and "--push lab/mine" in done.stderr
