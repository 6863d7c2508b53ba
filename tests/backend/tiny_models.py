"""Tiny models with random weights and a tokenizer, made in a folder: what a test of a backend can load in no time."""

from pathlib import Path
from typing import Any

WORDS = ["tea", "cup", "river", "tree", "green", "blue", "sun", "moon", "user", "assistant", ":"]
SPECIAL = ["<pad>", "<unk>", "<s>", "</s>"]
# the template writes the BOS, and so would the tokenizer: encoded naively, a chat had two (RW6)
TEMPLATE = "<s>{% for m in messages %}{{ m['role'] }} : {{ m['content'] }}</s>{% endfor %}"
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


def tokenizer(folder: Path, **given: Any) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(SPECIAL + WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A </s> $B:1 </s>:1", [("<s>", 2), ("</s>", 3)])
    names = dict(zip(("pad_token", "unk_token", "bos_token", "eos_token"), SPECIAL, strict=True))
    made = PreTrainedTokenizerFast(tokenizer_object=words, **names)
    made.chat_template = TEMPLATE
    for key, value in given.items():
        setattr(made, key, value)
    made.save_pretrained(folder)
    return made


def llama(folder: Path, num_labels: int = 1, **settings: Any) -> Path:
    """A Llama with a head for whole texts."""
    import torch
    from transformers import LlamaConfig, LlamaForSequenceClassification

    torch.manual_seed(0)
    given = {"vocab_size": len(SPECIAL + WORDS), "max_position_embeddings": 40, "num_labels": num_labels}
    LlamaForSequenceClassification(LlamaConfig(**SIZES, **{"pad_token_id": None} | given | settings)).save_pretrained(
        folder
    )
    tokenizer(folder)
    return folder


def bert(folder: Path, labels: dict[int, str], **settings: Any) -> Path:
    """A BERT that puts pairs of texts into classes."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    given = {"vocab_size": len(SPECIAL + WORDS), "max_position_embeddings": 40, "id2label": labels}
    BertForSequenceClassification(BertConfig(**SIZES, **given | settings)).save_pretrained(folder)
    tokenizer(folder, model_input_names=["input_ids", "token_type_ids", "attention_mask"])
    return folder
