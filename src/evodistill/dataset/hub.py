"""A dataset of the Hugging Face hub, or a local copy of it: `dataset.path=FILE` takes the place of the hub."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from evodistill import RunError
from evodistill.dataset import Row, rows
from evodistill.dataset.jsonl import JSONL
from evodistill.hub import Unreachable, ask

HUB_SECONDS = 10  # how long the hub may take to answer before the cache alone is read


@dataclass(frozen=True, kw_only=True)
class Hub(JSONL):
    """`id` is the dataset's name on the hub, `subset` its configuration, `file` one file of it (null: as its card
    says), `split` the part to read, `revision` a branch, tag or commit."""

    id: str | None
    subset: str | None
    file: str | None
    split: str
    revision: str

    @property
    def place(self) -> str:
        return super().place or str(self.id)

    @property
    def sources(self) -> tuple[str, ...]:
        return super().sources if self.path is not None else (f"hub:{self.named()}@{self.revision}",)

    def source(self) -> Iterator[Row]:
        if self.path is not None:
            yield from super().source()
            return
        made = download(self.named(), self.subset, self.file, self.split, self.revision, key="dataset.path")
        for number, row in enumerate(made, 1):
            yield Row(f"{self.id}/{self.split}:{number}", rows.plain(row))

    def named(self) -> str:
        if self.id is None:
            raise RunError(
                "dataset.id is not set: name a dataset of the hub, or a file of your own by dataset.path=FILE"
            )
        return self.id


def download(
    id: str, subset: str | None, file: str | None, split: str, revision: str | None, key: str
) -> Iterator[dict[str, object]]:
    """The rows of a dataset of the hub; `key` takes a local copy in its place."""
    import datasets
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HfHubHTTPError

    unreached = ""
    if not Path(id).is_dir():
        try:
            ask(id, revision, HUB_SECONDS, kind="dataset")
        except Unreachable as reason:
            unreached = str(reason)
    try:
        with offline() if unreached else nullcontext():
            # never trust_remote_code: a dataset is data
            found = datasets.load_dataset(id, subset, data_files=file, split=split, revision=revision)
    except (OSError, ValueError, HfHubHTTPError, DatasetsError) as error:
        reason = unreached or str(error).strip().partition("\n")[0]
        raise RunError(
            f"cannot load {id} from the hub ({reason}); download it from "
            f"https://huggingface.co/datasets/{id} and set {key}=FILE (JSON, JSONL, CSV or Parquet)"
        ) from None
    return iter(cast("Iterable[dict[str, object]]", found))


@contextmanager
def offline() -> Iterator[None]:
    """Only the cache of this machine is read. Else the library tries the hub again for half a minute, with a warning
    each time."""
    from datasets import config
    from huggingface_hub import constants

    before = config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before
