"""GGUF file → transformers folder (bf16 safetensors, tokenizer, chat template), once.

What transformers loses on the way is put back from the file's own metadata: the end tokens beside the first one, the
splitting of digits that SmolLM's tokenizer was trained with, the context length as the tokenizer's limit.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from evodistill import RunError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

REVISION = 1  # part of a converted model's identity: raise it when the same file would convert differently

# Tokens that end a turn or a text. A family lists their ids in its generation config, which GGUF cannot carry;
# llama.cpp stops at the same names (llama-vocab.cpp, special_eog_ids).
END_TOKENS = (
    "<|endoftext|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "<|eom_id|>",
    "<|end|>",
    "<end_of_turn>",
    "</s>",
    "<eos>",
)


def convert(file: Path, folder: Path) -> None:
    """Write `file` as a transformers folder into the existing `folder`. Needs about five times its size in memory."""
    import torch
    from safetensors import SafetensorError
    from tqdm.auto import tqdm
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, GgufConfig
    from transformers import modeling_gguf_pytorch_utils as reader
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # control characters in every log
    setattr(reader, "tqdm", partial(tqdm, disable=None))  # noqa: B010 - a bar that is left: for a terminal alone
    where = {"gguf_file": file.name, "local_files_only": True}
    model = AutoModelForCausalLM.from_pretrained(
        file.parent, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16, **where
    )
    tokenizer = AutoTokenizer.from_pretrained(file.parent, **where)
    tokenizer.model_max_length = model.config.max_position_embeddings
    restore_split(tokenizer, pre_tokenizer(file))
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=end_ids(tokenizer, model.config.eos_token_id),
        pad_token_id=tokenizer.pad_token_id,
    )
    try:
        model.save_pretrained(folder)
    except SafetensorError as error:  # how safetensors reports a full disk
        raise RunError(f"{folder}: cannot write the weights ({error}); make room, or set EVODISTILL_HOME") from None
    tokenizer.save_pretrained(folder)
    # reading it back as its own class (Qwen2Tokenizer, …) restores that class's normaliser in tokenizer.json as well
    AutoTokenizer.from_pretrained(folder, local_files_only=True).save_pretrained(folder)


def end_ids(tokenizer: PreTrainedTokenizerFast, own: int | list[int] | None) -> list[int]:
    """The file's own end token first, then every other end token its vocabulary marks as special."""
    found = [own] if isinstance(own, int) else list(own or [])
    special = set(tokenizer.all_special_ids) | {
        i for i, token in tokenizer.added_tokens_decoder.items() if token.special
    }
    vocabulary = tokenizer.get_vocab()
    found += [vocabulary[token] for token in END_TOKENS if vocabulary.get(token) in special]
    return list(dict.fromkeys(found))


def pre_tokenizer(file: Path) -> str:
    """The name GGUF gives the way text is split before merging, for example "qwen2" or "smollm"."""
    # transformers' own reader of the header: a hundred times faster than gguf.GGUFReader
    from transformers.integrations.gguf.reader import read_gguf_metadata

    metadata, _ = read_gguf_metadata(str(file))
    return metadata.get("tokenizer.ggml.pre", "")


def restore_split(tokenizer: PreTrainedTokenizerFast, name: str) -> None:
    """SmolLM splits digits one by one before the GPT-2 pattern; transformers knows no such pattern and drops it."""
    from tokenizers import pre_tokenizers

    if name == "smollm":
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
