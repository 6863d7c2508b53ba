"""A Hugging Face model in this process: where it runs, how its folder is read, what its errors mean."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from evodistill import RunError
from evodistill.backend import Backend

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

DTYPES = ("auto", "bfloat16", "float16", "float32")
BATCH_TOKENS = {"cpu": 2048, "cuda": 32768}


@dataclass(frozen=True)
class Placement:
    """Throughput and placement; nothing here changes what a model is."""

    dtype: str = "auto"
    device: str = "auto"
    threads: int | None = None
    batch_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"engine.dtype must be one of {', '.join(DTYPES)}, got {self.dtype!r}")
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and not isinstance(value, bool) and value < 1:
                raise ValueError(f"engine.{field.name} must be ≥ 1, got {value}")


@dataclass(eq=False)
class Local(Backend):
    """What every backend over transformers shares. `engine`: the fields of its `Engine`."""

    Engine: ClassVar[type[Placement]] = Placement
    trust_remote_code: ClassVar[bool] = False  # of the model's own repository

    def __post_init__(self) -> None:
        known = [field.name for field in fields(self.Engine)]
        if unknown := [key for key in self.engine if key not in known]:
            raise ValueError(
                f"engine.{unknown[0]} is unknown to {type(self).__name__.lower()}; known: {', '.join(known)}"
            )
        self.settings = self.Engine(**self.engine)  # type: ignore[arg-type]

    @cached_property
    def device(self) -> torch.device:
        import torch

        wanted = self.settings.device
        if wanted == "auto":
            wanted = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            return torch.empty(0, device=wanted).device
        except (RuntimeError, AssertionError) as error:
            raise RunError(f"model {self.name}: engine.device={wanted} cannot be used ({first_line(error)})") from None

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are read as."""
        return read_as(self.settings.dtype, self.device.type)

    @property
    def dtype_name(self) -> str:
        # an engine that is not open is not looked at: torch need not be imported where all replies were in the cache
        return str(self.dtype).removeprefix("torch.") if "model" in self.__dict__ else self.settings.dtype

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        from transformers import AutoTokenizer

        with self.loading():
            return AutoTokenizer.from_pretrained(self.weights.folder, trust_remote_code=self.trust_remote_code)

    @property
    def batch_tokens(self) -> int:
        """Most tokens of a batch that is read, with its padding."""
        return self.settings.batch_tokens or BATCH_TOKENS.get(self.device.type, BATCH_TOKENS["cuda"])

    def prepare(self) -> None:
        """Settings of the process, before a model is loaded."""
        import torch
        from transformers.utils.logging import disable_progress_bar

        from evodistill.backend import heap

        disable_progress_bar()  # of loading: seconds, and control characters in every log
        if self.settings.threads:
            torch.set_num_threads(self.settings.threads)
        if self.device.type == "cpu":
            heap.keep()

    def close(self) -> None:
        for held in ("model", "tokenizer", "scorers"):
            self.__dict__.pop(held, None)
        gc.collect()
        if self.__dict__.pop("device", None) is not None:
            import torch

            torch.cuda.empty_cache()  # does nothing where there is no GPU

    @contextmanager
    def loading(self) -> Iterator[None]:
        """One line for a folder that transformers cannot read."""
        try:
            yield
        except (OSError, ValueError, ImportError) as error:
            if "trust_remote_code" in str(error):
                raise RunError(
                    f"model {self.name}: it is code in its own repository, which is not run unasked; read that code, "
                    "then set trust_remote_code=true on a backend that has it (reward, classifier)"
                ) from None
            raise RunError(f"model {self.name}: cannot load {self.weights.folder}: {first_line(error)}") from error

    @contextmanager
    def memory(self, cure: str) -> Iterator[None]:
        """One line for a GPU that is too small."""
        import torch

        try:
            yield
        except torch.cuda.OutOfMemoryError as error:
            raise RunError(f"model {self.name}: out of GPU memory; lower {cure}, what had finished is kept") from error


def read_as(wanted: str, device: str) -> torch.dtype:
    """`auto`: bfloat16, but float32 on a CPU without instructions for it, where the products of bfloat16 take seven
    times as long."""
    import torch

    if wanted == "auto":
        wanted = "float32" if device == "cpu" and not multiplies_bfloat16() else "bfloat16"
    return getattr(torch, wanted)


def multiplies_bfloat16() -> bool:
    """Whether torch's matrix products know bfloat16 on this CPU (x86 from AVX-512 on, recent ARM)."""
    import torch

    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
