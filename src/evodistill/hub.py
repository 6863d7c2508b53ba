"""A model from the Hugging Face hub or its cache on this machine: safetensors and settings, never pickles or code."""

from __future__ import annotations

import json
import logging
import threading
from functools import partial
from pathlib import Path

from evodistill import RunError

log = logging.getLogger(__name__)
WANTED = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]
# the same weights once more, in other formats
UNWANTED = ["original/*", "consolidated*", "onnx/*", "openvino/*", "coreml/*", "gguf/*"]


class Unreachable(Exception):
    """The hub did not answer, or not with this model, and the model is not in the local cache either."""


def fetch(name: str, path: str, seconds: float) -> Path:
    """The snapshot folder of `path` (owner/name or owner/name@revision), downloaded where needed and named by commit.

    The hub has `seconds` to answer. Raises Unreachable before a download has begun, RunError once it has."""
    from huggingface_hub import snapshot_download

    # HTTPError is that of the client it was built on (requests, httpx, httpx2), which changed over its versions
    from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError  # pyright: ignore[reportPrivateImportUsage]

    repo, _, revision = path.partition("@")
    snapshot = partial(snapshot_download, repo, allow_patterns=WANTED, ignore_patterns=UNWANTED)
    try:
        commit = ask(repo, revision or None, seconds)
    except Unreachable as reason:
        try:
            folder = Path(snapshot(revision=revision or None, local_files_only=True))
        except LocalEntryNotFoundError:
            raise reason from None
        if lack := missing(folder):
            raise Unreachable(f"{reason}; its copy in the local hub cache lacks {lack}") from None
        return folder
    log.info("model %s: downloading %s@%s", name, repo, commit)
    try:
        folder = Path(snapshot(revision=commit))
    except (HTTPError, OSError) as error:
        raise RunError(
            f"model {name}: download of {repo} broke off ({first_line(error)}); run again to go on with it"
        ) from None
    if lack := missing(folder):
        raise RunError(f"model {name}: {repo} on the hub has no {lack}; choose a repository with safetensors weights")
    return folder


def fetch_code(name: str, repo: str, commit: str) -> None:
    """The Python of that snapshot, beside its weights. Only for whom asked to run it."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError  # pyright: ignore[reportPrivateImportUsage]

    try:
        snapshot_download(repo, revision=commit, allow_patterns=["*.py"])
    except (HTTPError, OSError, LocalEntryNotFoundError) as error:
        raise RunError(f"model {name}: the code of {repo} cannot be fetched ({first_line(error)}); run again") from None


def ask(repo: str, revision: str | None, seconds: float, kind: str = "model") -> str:
    """The commit that `revision` (default: main) of a model or dataset stands for. It is asked once."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        HTTPError,  # pyright: ignore[reportPrivateImportUsage]
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    answer: list[str | Exception] = []

    def call() -> None:
        try:
            answer.append(HfApi().repo_info(repo, repo_type=kind, revision=revision, timeout=seconds).sha or "")
        except GatedRepoError:
            answer.append(Unreachable("access to it is restricted; ask for access on its page and set HF_TOKEN"))
        except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError):
            cure = f"mend {'path' if kind == 'model' else 'its id'}, or set HF_TOKEN for a private one"
            answer.append(Unreachable(f"no such {kind} or revision; {cure}"))
        except (HTTPError, OSError) as error:
            answer.append(Unreachable(first_line(error)))

    # a thread, for the time-out of the connection does not cover looking up its name
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    reply = answer[0] if answer else Unreachable(f"no answer within {seconds} s")
    if isinstance(reply, Exception):
        raise reply
    return reply


def missing(folder: Path) -> str:
    """What a snapshot lacks to be a model; empty when it is whole."""
    for needed in ("config.json", "tokenizer_config.json"):
        if not (folder / needed).exists():
            return needed
    index = folder / "model.safetensors.index.json"
    names = (
        sorted(set(json.loads(index.read_text())["weight_map"].values())) if index.exists() else ["model.safetensors"]
    )
    return next((name for name in names if not (folder / name).exists()), "")


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
