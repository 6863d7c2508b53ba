"""How fast does the transformers backend write? Beside `model.generate` on the same prompts in the same batches.

    python benchmarks/decode.py [--model smollm2-135m] [--rows 48] [--threads 2]

Three kinds of work: a judge's labels (one template, a few new tokens), rewrites (one template, many new tokens) and
several answers to each question (equal prompts). Both write the same number of tokens for every row. The two alternate;
what is compared is processor time, which other work on the machine hardly touches.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import Any

from hydra import compose, initialize_config_dir
from label import CONF, shipped

from evodistill.backend import Chat, Sampling, chat
from evodistill.backend.tokens import encode
from evodistill.backend.transformers import Transformers
from evodistill.config import build
from evodistill.prompt import render

PAIRS = 3


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        model = build(compose("config", overrides=[f"model@teacher={given.model}"]).teacher)
    model.generate([chat("Hello")], Sampling(max_tokens=2))  # open the engine
    for name, (chats, new) in work(given.rows).items():
        spent: dict[str, list[float]] = {"ours": [], "generate": []}
        for pair in range(PAIRS + 1):
            for way in ("ours", "generate") if pair % 2 else ("generate", "ours"):
                started = time.process_time()
                (ours if way == "ours" else plain)(model, chats, new)
                spent[way].append(time.process_time() - started)
        # the first pair warms up
        a, b = (median(spent[way][1:]) for way in ("ours", "generate"))
        ratio = median(y / x for x, y in list(zip(*spent.values(), strict=True))[1:])
        tokens = sum(len(encode(model.tokenizer, ask)) for ask in chats)
        print(f"{name:<26} {len(chats)} prompts of {tokens / len(chats):.0f} tokens, {new:>2} new each:", end=" ")
        print(f"{a:.2f} s against {b:.2f} s, {ratio:.2f} x", flush=True)


def work(n: int) -> dict[str, tuple[list[Chat], int]]:
    """Chats and new tokens of each kind."""
    asked = [record.prompt for record, _ in shipped()][:n]
    judge = [chat(render("complexity_rate/intent", instruction=text, input="")) for text in asked]
    evolve = [chat(render("evol_instruct/constraints", instruction=text, input="")) for text in asked]
    samples = [chat(text) for text in asked[: -(-n // 8)] for _ in range(8)][:n]
    return {
        "labels of a judge": (judge, 4),
        "rewrites": (evolve, 48),
        "8 answers to each question": (samples, 24),
    }


def ours(model: Transformers, chats: list[Chat], new: int) -> None:
    for _ in model.complete(model.requests(chats, Sampling(temperature=0.0, max_tokens=new))):
        pass


def plain(model: Transformers, chats: list[Chat], new: int) -> None:
    import torch

    prompts = sorted((encode(model.tokenizer, ask) for ask in chats), key=len, reverse=True)
    for start in range(0, len(prompts), model.settings.batch_size):
        batch = prompts[start : start + model.settings.batch_size]
        width = max(map(len, batch))
        ids = torch.tensor([[0] * (width - len(row)) + row for row in batch], device=model.device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in batch], device=model.device)
        engine: Any = model.model
        out = engine.generate(ids, attention_mask=mask, max_new_tokens=new, do_sample=False, pad_token_id=0)
        model.tokenizer.batch_decode(out[:, width:], skip_special_tokens=True)


if __name__ == "__main__":
    main()
