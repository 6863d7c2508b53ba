"""What a teacher says of the answers that a student is to learn: one pass over their tokens, nothing is generated."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evodistill import RunError
from evodistill.trainer.logprobs import About, Sample, Writer

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)
POOL = 1024  # samples that are sorted by length at a time; the others stay on disk
BATCH_TOKENS = {"cpu": 2048, "cuda": 16384}  # of a batch, with its padding


def common(student: Path, teacher: Path, policy: str) -> int:
    """How many tokens of the vocabulary are compared: all, or with `common_slice` those that both models have. RunError
    where ids do not mean the same tokens to both."""
    from transformers import AutoConfig, AutoTokenizer

    sizes = [AutoConfig.from_pretrained(folder).get_text_config().vocab_size for folder in (student, teacher)]
    words: list[dict[str, int]] = [AutoTokenizer.from_pretrained(folder).get_vocab() for folder in (student, teacher)]
    # what only the teacher can say does not matter; what the student says the teacher must know
    ids = [
        {id: token for token, id in words[0].items()},
        {id: token for token, id in words[1].items() if id < min(sizes)},
    ]
    if other := sorted(id for id in {*ids[0], *ids[1]} if ids[0].get(id) != ids[1].get(id)):
        first = other[0]
        raise RunError(
            f"student and teacher have different vocabularies: {len(other)} ids mean other tokens, id {first} is "
            f"{ids[0].get(first)!r} to one and {ids[1].get(first)!r} to the other; "
            "choose a teacher of the student's family, or train on its answers with trainer=sft"
        )
    if sizes[0] != sizes[1] and policy == "error":
        raise RunError(
            f"student and teacher have vocabularies of {sizes[0]} and {sizes[1]} tokens, equal as far as both go; "
            "compare these with vocab_policy=common_slice"
        )
    return min(sizes)


def load(folder: Path, dtype: str) -> Any:
    """The model in evaluation mode, over all GPUs where there are any."""
    import torch
    from transformers import AutoModelForCausalLM

    from evodistill.backend import local

    gpus = torch.cuda.is_available()
    read = local.read_as(dtype, "cuda" if gpus else "cpu")
    return AutoModelForCausalLM.from_pretrained(folder, dtype=read, **({"device_map": "auto"} if gpus else {})).eval()


def ask(model: Any, samples: Iterable[Sample], folder: Path, about: About, batch_tokens: int | None = None) -> None:
    """Write the log-probabilities of the answers' tokens; what a pass that was killed has left is kept."""
    from evodistill.backend.likelihood import plan

    limit = batch_tokens or BATCH_TOKENS.get(model.device.type, BATCH_TOKENS["cuda"])
    with Writer(folder, about) as out:
        todo = (sample for sample in samples if sample.id not in out.known)
        if out.known:
            log.info("%s: goes on behind %d samples", folder.name, len(out.known))
        while pool := list(islice(todo, POOL)):
            for batch in plan([sample.ids for sample in pool], limit):
                for number, (tokens, values) in zip(batch, read(model, [pool[n] for n in batch], about), strict=True):
                    out.add(pool[number], tokens.cpu().numpy(), values.cpu().numpy())
            log.info("%s: %d samples", folder.name, len(out.known))


def read(model: Any, samples: list[Sample], about: About) -> Iterator[tuple[Tensor, Tensor]]:
    """For each sample the likeliest tokens [n, k] and the log-probabilities [n, k+1]: those at a position are of the
    distribution that the tokens before it make, so that position i of the answer belongs to its i-th token (W3)."""
    import torch

    from evodistill.trainer.divergence import CHUNK, buckets

    width = max(len(sample.ids) for sample in samples)
    first = min(len(sample.ids) - sample.n for sample in samples) - 1
    # padded on the right and without a mask: a causal model never looks there
    ids = torch.tensor([[*sample.ids, *[0] * (width - len(sample.ids))] for sample in samples], device=model.device)
    with torch.inference_mode():
        # a number, not positions: these would lie on one GPU, and what they pick from perhaps on another
        logits = model(input_ids=ids, use_cache=False, logits_to_keep=width - first).logits
        for row, sample in zip(logits, samples, strict=True):
            end = len(sample.ids) - 1 - first
            found = []
            for part in row[end - sample.n : end, : about.vocabulary].split(CHUNK):
                soft = part.float() / about.temperature
                tokens = soft.topk(about.k).indices
                found.append((tokens, buckets(soft, tokens)))
            yield torch.cat([tokens for tokens, _ in found]), torch.cat([values for _, values in found])


def samples(rows: Iterable[Path]) -> Iterator[Sample]:
    """Those of the rows that are trained on and held out."""
    import pyarrow as pa

    from evodistill.trainer.examples import IGNORED

    for path in rows:
        with pa.memory_map(str(path)) as mapped:
            for batch in pa.ipc.open_stream(mapped):
                for row in batch.to_pylist():
                    learned = sum(label != IGNORED for label in row["labels"])
                    yield Sample(row["id"], row["input_ids"], learned)


def free() -> None:
    import torch

    gc.collect()
    torch.cuda.empty_cache()  # does nothing where there is no GPU
