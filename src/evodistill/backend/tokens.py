"""Text to token ids, in one place: every engine that takes ids gets the same ones.

encode(tokenizer, [{"role": "user", "content": "Name a tea."}])   # the ids of the prompt, ready to be continued
encode_parts(tokenizer, ["Name a tea.\n", "Assam."])              # ([bos, …], [(1, 6), (6, 9)])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from evodistill import RunError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from evodistill.backend import Chat

END_OF_TEXT = "<|endoftext|>"  # separates documents where a tokenizer names no BOS (Qwen, GPT-2)


def encode(tokenizer: PreTrainedTokenizerBase, chat: Chat, ask: bool = True) -> list[int]:
    """The chat by the tokenizer's own template, up to where the assistant speaks (`ask`) or as it stands. The template
    writes the BOS where the model wants one; none is added to it (EV5, RW6). RunError where there is no template or it
    refuses the chat."""
    from jinja2 import TemplateError

    if not tokenizer.chat_template:
        raise RunError(
            f"{tokenizer.name_or_path}: the tokenizer has no chat template, so the model cannot read chats; "
            "choose its instruction-tuned sibling, or put a chat_template.jinja into its folder"
        )
    messages = [{"role": message["role"], "content": repaired(message["content"])} for message in chat]
    try:
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=ask, tokenize=True, return_dict=False)
        return cast("list[int]", ids)
    except TemplateError as error:
        roles = ", ".join(message["role"] for message in messages)
        raise RunError(f"{tokenizer.name_or_path}: its chat template refuses the roles {roles}: {error}") from None


def encode_parts(tokenizer: PreTrainedTokenizerBase, parts: Sequence[str]) -> tuple[list[int], list[tuple[int, int]]]:
    """(ids, one [start, end) per part). Each part is tokenised alone, so that it has the same ids wherever it stands
    (IFD1, IFD2), behind one BOS, so that its first token can be scored too (IFD5)."""
    ids = [bos(tokenizer)]
    spans = []
    for part in parts:
        start = len(ids)
        # a part may be longer than the context: whoever scores it says so for that record, the tokenizer need not warn
        ids += tokenizer(repaired(part), add_special_tokens=False, verbose=False)["input_ids"]
        spans.append((start, len(ids)))
    return ids, spans


def shortened(ids: list[int], spans: list[tuple[int, int]], limit: int) -> tuple[list[int], list[tuple[int, int]], int]:
    """(ids, spans, how many ids were cut): without what stands beyond `limit` ids."""
    kept = [(min(start, limit), min(end, limit)) for start, end in spans]
    return ids[:limit], kept, max(0, len(ids) - limit)


def bos(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token every scored text starts behind: BOS, else the end-of-text token, else the end token."""
    if tokenizer.bos_token_id is not None:
        return cast("int", tokenizer.bos_token_id)
    separator = tokenizer.get_vocab().get(END_OF_TEXT, tokenizer.eos_token_id)
    if separator is None:
        raise RunError(
            f"{tokenizer.name_or_path}: the tokenizer has neither a BOS nor an end token; "
            "set bos_token in its tokenizer_config.json"
        )
    return cast("int", separator)


def repaired(text: str) -> str:
    """Text without lone surrogates, which tokenizers refuse: a pair becomes its character, a single one U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
