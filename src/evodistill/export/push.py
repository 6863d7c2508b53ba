"""Upload to the Hugging Face hub: the files in one commit, so that what is there is whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from evodistill import RunError


def push(repository: str, files: Mapping[str, Path], private: bool) -> str:
    """Upload `files` (name there → path here) to the dataset OWNER/NAME, made where it is not there; gives its address.
    The token is the client's own: HF_TOKEN, or that of `hf auth login`."""
    from huggingface_hub import CommitOperationAdd, HfApi

    # HTTPError is that of the client it was built on (requests, httpx, httpx2), which changed over its versions
    from huggingface_hub.errors import HTTPError  # pyright: ignore[reportPrivateImportUsage]

    api = HfApi()
    try:
        api.create_repo(repository, repo_type="dataset", private=private, exist_ok=True)
        added = [CommitOperationAdd(name, str(path)) for name, path in files.items()]
        made = api.create_commit(repository, added, commit_message="Data of evodistill", repo_type="dataset")
    except (HTTPError, OSError) as error:
        first = str(error).strip().splitlines()[0]
        raise RunError(
            f"--push {repository}: the hub refused it ({first}); set HF_TOKEN to a token that may write there"
        ) from None
    return str(made.repo_url)


def check(repository: str) -> None:
    """RunError for what is no name of a dataset, by the hub's own rules."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        if "/" not in repository:
            raise HFValidationError("the owner is missing")
        validate_repo_id(repository)
    except HFValidationError as error:
        raise RunError(f"--push {repository}: name a dataset of the hub, OWNER/NAME ({error})") from None
