"""GGUF file → transformers folder (bf16 safetensors, tokenizer, chat template), once.

What transformers loses on the way is put back from the file's own metadata: a file names one end token, while models stop at
several; the splitting of digits that SmolLM's tokenizer was trained with; the context length as the tokenizer's limit.
"""

from __future__ import annotations

from pathlib import Path

REVISION = 1  # part of a converted model's identity: raise it when the same file would convert differently

# Tokens that end a turn or a text, by their text: the ids a family puts in its generation config, which GGUF cannot carry.
# llama.cpp stops at the same names (`llama_vocab::impl::load`, special_eog_ids).
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
    """Write `file` as a transformers folder into the existing, empty `folder`. Takes about six times the file in memory."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    where = {"gguf_file": file.name, "local_files_only": True}
    model = AutoModelForCausalLM.from_pretrained(
        file.parent, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16, **where
    )
    tokenizer = AutoTokenizer.from_pretrained(file.parent, **where)
    tokenizer.model_max_length = model.config.max_position_embeddings
    restore_split(tokenizer, pre_tokenizer(file))
    model.generation_config.eos_token_id = end_ids(tokenizer, model.config.eos_token_id)
    # greedy and sampling settings come with each request: only the ids belong to the model
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    # reading it back as its own class (Qwen2Tokenizer, …) restores that class's normaliser in tokenizer.json as well
    AutoTokenizer.from_pretrained(folder, local_files_only=True).save_pretrained(folder)


def end_ids(tokenizer, own: int | list[int] | None) -> list[int]:
    """The file's own end token first, then every other end token its vocabulary marks as special."""
    found = [own] if isinstance(own, int) else list(own or [])
    special = set(tokenizer.all_special_ids) | {
        i for i, token in tokenizer.added_tokens_decoder.items() if token.special
    }
    found += [i for i in tokenizer.convert_tokens_to_ids(list(END_TOKENS)) if i is not None and i in special]
    return list(dict.fromkeys(found))


def pre_tokenizer(file: Path) -> str:
    """The name GGUF gives the way text is split before merging, for example "qwen2" or "smollm"."""
    from gguf import GGUFReader

    field = GGUFReader(file).get_field("tokenizer.ggml.pre")
    return str(field.contents()) if field else ""


def restore_split(tokenizer, name: str) -> None:
    """SmolLM splits digits one by one before the GPT-2 pattern; transformers knows no pattern of that name and drops it."""
    from tokenizers import pre_tokenizers

    if name == "smollm":
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
