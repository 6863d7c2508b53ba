"""IFD of Alpaca rows: our scoring against the plain way, same weights, dtype and threads, each in a process of its own.

    python benchmarks/ifd.py                                  # 96 synthetic rows
    python benchmarks/ifd.py --data alpaca.json --limit 500   # rows of instruction, input, output

The plain way is that of published code: batch 1 and three forward passes a record, for the losses of the instruction,
of the answer behind it and of the answer alone, each by transformers' own loss. Expected on a CPU: at least 2.5 × its
records per second, and the same IFD up to the noise of bfloat16.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from evodistill.backend.tokens import encode_parts
from evodistill.backend.transformers import Transformers
from evodistill.dataset.tiny import FILE

MODELS = Path(__file__).parents[1] / "conf" / "model"
SEPARATOR = "\n"


def main() -> None:
    args = arguments()
    if args.way:
        print(json.dumps(WAYS[args.way](args)))
        return
    ours, plain = (run(way) for way in ("ours", "plain"))
    n, tokens = len(ours["ifd"]), ours["tokens"]
    print(f"{n} records, {tokens} tokens in {ours['batches']} batches, {ours['padding']:.1%} padding")
    print(f"plain   {n / plain['best']:6.2f} records/s {plain['best']:7.1f} s   peak {plain['peak']:.2f} GiB")
    print(f"ours    {n / ours['best']:6.2f} records/s {ours['best']:7.1f} s   peak {ours['peak']:.2f} GiB", end="")
    print(f"   {tokens / ours['best']:.0f} tokens/s")
    print(
        f"first   {n / ours['first']:6.2f} records/s {ours['first']:7.1f} s   with what is done once, such as compiling"
    )
    print(f"ratio   {plain['best'] / ours['best']:6.2f}   first call {plain['best'] / ours['first']:.2f}")
    differences = [abs(a - b) for a, b in zip(ours["ifd"], plain["ifd"], strict=True)]
    means = [math.fsum(way["ifd"]) / n for way in (ours, plain)]
    print(f"IFD     {means[0]:.4f} against {means[1]:.4f}; a record differs by {max(differences):.1e} at most")
    share = ours["work"] / ours["best"] / ours["matmul"]
    print(f"matmul  {ours['matmul'] / 1e12:.2f} TFLOP/s at best here; ours reaches {share:.0%} of it")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Records per second of IFD, ours against the plain way.")
    parser.add_argument(
        "--data", type=Path, help="JSON or JSONL of instruction, input, output; default: synthetic rows"
    )
    parser.add_argument("--limit", type=int, default=96, help="rows")
    parser.add_argument("--model", default="smollm2-135m", help="a name in conf/model, or a folder")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-tokens", type=int, help="default: the backend's own")
    parser.add_argument("--compile", default="auto", choices=["auto", "true", "false"])
    parser.add_argument("--repeat", type=int, default=2, help="runs of each way; the best counts")
    parser.add_argument("--way", choices=sorted(WAYS), help="one way only, its figures as JSON")
    return parser.parse_args()


def run(way: str) -> dict[str, Any]:
    """A child process: neither way finds memory or kernels that the other has warmed."""
    command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def ours(args: argparse.Namespace) -> dict[str, Any]:
    from evodistill.backend.likelihood import plan

    compiled = {"true": True, "false": False}.get(args.compile, args.compile)
    engine = {"dtype": args.dtype, "threads": args.threads, "batch_tokens": args.batch_tokens, "compile": compiled}
    backend = Transformers(**named(args.model), engine=engine)
    pairs = read(args)
    given = [(question, SEPARATOR, answer) for question, answer in pairs]
    alone = [(answer,) for _, answer in pairs]
    assert backend.model is not None  # opening it is not measured

    def ifd() -> list[float]:
        losses = [-float(found.parts[-1].mean()) for found in backend.logprobs(given + alone)]
        return [one / other for one, other in zip(losses[: len(pairs)], losses[len(pairs) :], strict=True)]

    figures = measured(args, ifd)
    ids = [encode_parts(backend.tokenizer, parts)[0] for parts in given + alone]
    batches = plan(ids, backend.batch_tokens)
    tokens, cells = sum(map(len, ids)), sum(len(batch) * len(ids[batch[0]]) for batch in batches)
    figures |= {"tokens": tokens, "batches": len(batches), "padding": 1 - tokens / cells}
    return figures | {"work": work(backend.model, ids), "matmul": matmul(backend.model)}


def plain(args: argparse.Namespace) -> dict[str, Any]:
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(args.threads)
    found = Transformers(**named(args.model))  # for the place of the weights, the tokenizer and the device only
    model = AutoModelForCausalLM.from_pretrained(found.weights.folder, dtype=args.dtype).to(found.device).eval()

    def loss(ids: list[int], start: int, end: int) -> float:
        inputs = torch.tensor([ids], device=found.device)
        labels = torch.full_like(inputs, -100)
        labels[:, start:end] = inputs[:, start:end]
        return model(inputs, labels=labels).loss.item()

    @torch.inference_mode()
    def ifd() -> list[float]:
        values = []
        for question, answer in pairs:
            ids, (asked, _, answered) = encode_parts(found.tokenizer, (question, SEPARATOR, answer))
            alone, (whole,) = encode_parts(found.tokenizer, (answer,))
            loss(ids, *asked)
            values.append(loss(ids, *answered) / loss(alone, *whole))
        return values

    pairs = read(args)
    return measured(args, ifd)


WAYS: Mapping[str, Callable[[argparse.Namespace], dict[str, Any]]] = {"ours": ours, "plain": plain}


def measured(args: argparse.Namespace, ifd: Callable[[], list[float]]) -> dict[str, Any]:
    """Seconds of the first and of the best of some runs, IFD per record, and the most memory held, in GiB."""
    import torch

    seconds = []
    values: list[float] = []
    for _ in range(args.repeat):
        start = time.perf_counter()
        values = ifd()
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    if torch.cuda.is_available():
        peak = torch.cuda.max_memory_allocated() / 2**30
    return {"first": seconds[0], "best": min(seconds), "ifd": values, "peak": peak}


def named(model: str) -> dict[str, Any]:
    """What a backend needs to find the weights."""
    if Path(model).is_dir():
        return {"name": Path(model).name, "path": model}
    data = OmegaConf.to_container(OmegaConf.load(MODELS / f"{model}.yaml"))
    return {key: data[key] for key in ("name", "path", "package", "source") if key in data}


def read(args: argparse.Namespace) -> list[tuple[str, str]]:
    """(question, answer), both with text: a ratio needs both losses."""
    if args.data:
        text = args.data.read_text(encoding="utf-8")
        lines = text.splitlines()
        rows = json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in lines if line]
    else:
        rows = synthetic(args.limit)
    pairs = [("\n".join(filter(None, (row["instruction"], row.get("input")))), row["output"]) for row in rows]
    return [pair for pair in pairs[: args.limit] if all(pair)]


def synthetic(n: int) -> list[dict[str, str]]:
    """Rows with answers as long as those of Alpaca-GPT4, about 150 tokens in the mean; they say nothing."""
    seeds = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
    words = " ".join(seed["instruction"] for seed in seeds if seed["language"] == "en").split()
    rng = random.Random(0)
    lengths = [1 + int(rng.lognormvariate(4.4, 0.8)) for _ in range(n)]
    answers = [" ".join(rng.choices(words, k=length)) for length in lengths]
    return [seeds[row % len(seeds)] | {"output": answer} for row, answer in enumerate(answers)]


def work(model: Any, texts: list[list[int]]) -> float:
    """Floating point operations of the matrix products and of causal attention, without padding."""
    config = model.config.get_text_config()
    weights = config.vocab_size * config.hidden_size + sum(w.numel() for w in model.base_model.layers.parameters())
    width = config.num_attention_heads * getattr(config, "head_dim", config.hidden_size // config.num_attention_heads)
    attention = sum(len(ids) ** 2 for ids in texts) * config.num_hidden_layers * width
    return 2 * weights * sum(map(len, texts)) + 2 * attention


def matmul(model: Any, seconds: float = 2.0) -> float:
    """FLOP/s of the widest matrix product of the model's layers, the best of many."""
    import torch

    weight = max(model.base_model.layers[0].parameters(), key=torch.numel)
    rows = torch.randn(2048, weight.shape[1], dtype=weight.dtype, device=weight.device)
    best, end = math.inf, time.perf_counter() + seconds
    with torch.inference_mode():
        while time.perf_counter() < end:
            start = time.perf_counter()
            for _ in range(4):
                product = torch.nn.functional.linear(rows, weight)
            product[0, 0].item()  # waits for a GPU
            best = min(best, (time.perf_counter() - start) / 4)
    return 2 * len(rows) * weight.numel() / best


if __name__ == "__main__":
    main()
