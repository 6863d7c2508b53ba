"""IFD of Alpaca rows: our scoring against the plain way, same weights, dtype and threads, turn by turn.

    python benchmarks/ifd.py                                  # 96 synthetic rows
    python benchmarks/ifd.py --data alpaca.json --limit 500   # rows of instruction, input, output

The plain way is that of published code: batch 1 and three forward passes a record, for the losses of the instruction,
of the answer behind it and of the answer alone, each by transformers' own loss. Expected on a CPU that multiplies
bfloat16: at least 3 × its records per second, and the same IFD up to the noise of bfloat16. In float32 the matrix
products are nearly all there is to do, for both, and the ratio can hardly be more than that of the work.
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
from statistics import median
from typing import Any

from omegaconf import OmegaConf

from evodistill.backend.tokens import encode_parts
from evodistill.backend.transformers import Transformers, can_compile
from evodistill.dataset.tiny import FILE

MODELS = Path(__file__).parents[1] / "conf" / "model"
SEPARATOR = "\n"


def main() -> None:
    args = arguments()
    if args.way:
        serve(WAYS[args.way](args))
        return
    ways = {name: Way(name) for name in WAYS}
    first = {name: way.ask("run") for name, way in ways.items()}
    # turn by turn, so that whatever else the machine does falls on both
    turns = [{name: way.ask("run") for name, way in ways.items()} for _ in range(args.repeat)]
    best = {name: min(turn[name]["seconds"] for turn in turns) for name in ways}
    ratios = sorted(turn["plain"]["seconds"] / turn["ours"]["seconds"] for turn in turns)
    peak = ways["ours"].ask("peak")
    twice, facts = ways["ours"].ask("twice"), ways["ours"].ask("facts")
    n, tokens = len(first["ours"]["ifd"]), facts["tokens"]
    print(f"{n} records, {tokens} tokens in {facts['batches']} batches, {facts['padding']:.1%} padding")
    print(f"plain   {n / best['plain']:6.2f} records/s   peak {ways['plain'].ask('peak'):.2f} GiB")
    print(f"ours    {n / best['ours']:6.2f} records/s   peak {peak:.2f} GiB   {tokens / best['ours']:.0f} tokens/s")
    print(f"        peak of twice the records {twice:.2f} GiB; compiling and warming up {warm(first, best):.0f} s")
    print(f"ratio   {median(ratios):6.2f}   (median of {len(ratios)} turns, {ratios[0]:.2f} to {ratios[-1]:.2f})")
    differences = [abs(a - b) for a, b in zip(first["ours"]["ifd"], first["plain"]["ifd"], strict=True)]
    means = [math.fsum(first[way]["ifd"]) / n for way in ("ours", "plain")]
    print(f"IFD     {means[0]:.4f} against {means[1]:.4f}; a record differs by {max(differences):.1e} at most")
    share = facts["work"] / best["ours"] / facts["matmul"]
    print(f"matmul  {facts['matmul'] / 1e12:.3f} TFLOP/s at best in {facts['dtype']}; ours reaches {share:.0%} of it")
    print(f"work    the plain way has {facts['plain'] / facts['work']:.2f} × the floating point operations")
    print("spent   " + ", ".join(f"{name} {part:.0%}" for name, part in facts["spent"].items()))


def warm(first: dict[str, Any], best: dict[str, float]) -> float:
    return first["ours"]["seconds"] - best["ours"]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Records per second of IFD, ours against the plain way.")
    parser.add_argument(
        "--data", type=Path, help="JSON or JSONL of instruction, input, output; default: synthetic rows"
    )
    parser.add_argument("--limit", type=int, default=96, help="rows")
    parser.add_argument("--model", default="smollm2-135m", help="a name in conf/model, or a folder")
    parser.add_argument("--dtype", default="auto", help="of both; default: what the backend takes on this device")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-tokens", type=int, help="default: the backend's own")
    # as for a whole data set; auto would find so few rows not worth it
    parser.add_argument("--compile", default="true" if can_compile() else "false", choices=["auto", "true", "false"])
    parser.add_argument("--repeat", type=int, default=4, help="turns of both ways after the first")
    parser.add_argument("--way", choices=sorted(WAYS), help="one way only, asked line by line on its input")
    return parser.parse_args()


class Way:
    """A child process that is asked line by line: neither way finds memory or kernels that the other has warmed."""

    def __init__(self, name: str) -> None:
        command = [sys.executable, __file__, *sys.argv[1:], "--way", name]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, what: str) -> Any:
        assert self.process.stdin and self.process.stdout
        print(what, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())


def serve(answers: Mapping[str, Callable[[], Any]]) -> None:
    for line in sys.stdin:
        print(json.dumps(answers[line.strip()]()), flush=True)


def ours(args: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    from evodistill.backend.likelihood import plan

    compiled = {"true": True, "false": False}.get(args.compile, args.compile)
    engine = {"dtype": args.dtype, "threads": args.threads, "batch_tokens": args.batch_tokens, "compile": compiled}
    backend = Transformers(**named(args.model), engine=engine)
    pairs = read(args)
    given = [(question, SEPARATOR, answer) for question, answer in pairs]
    alone = [(answer,) for _, answer in pairs]
    assert backend.model is not None  # opening it is not measured

    def ifd(copies: int = 1) -> list[float]:
        found = backend.logprobs((given + alone) * copies)
        losses = [-float(one.parts[-1].mean()) for one in found[: 2 * len(pairs)]]
        return [one / other for one, other in zip(losses[: len(pairs)], losses[len(pairs) :], strict=True)]

    def twice() -> float:
        ifd(2)
        return peak()

    def facts() -> dict[str, Any]:
        ids = [encode_parts(backend.tokenizer, parts)[0] for parts in given + alone]
        thrice = ids + ids[: len(given)]  # the plain way reads question and answer twice
        batches = plan(ids, backend.batch_tokens)
        tokens, cells = sum(map(len, ids)), sum(len(batch) * len(ids[batch[0]]) for batch in batches)
        return {
            "tokens": tokens,
            "batches": len(batches),
            "padding": 1 - tokens / cells,
            "work": work(backend.model, ids),
            "plain": work(backend.model, thrice),
            "dtype": str(backend.dtype).removeprefix("torch."),
            "matmul": matmul(backend.model),
            "spent": spent(ifd),
        }

    return {"run": lambda: timed(ifd), "peak": peak, "twice": twice, "facts": facts}


def plain(args: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(args.threads)
    # for the place of the weights, the tokenizer, the device and the type of numbers only
    found = Transformers(**named(args.model), engine={"dtype": args.dtype})
    model = AutoModelForCausalLM.from_pretrained(found.weights.folder, dtype=found.dtype).to(found.device).eval()

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
    return {"run": lambda: timed(ifd), "peak": peak}


WAYS = {"plain": plain, "ours": ours}


def timed(ifd: Callable[[], list[float]]) -> dict[str, Any]:
    start = time.perf_counter()
    values = ifd()
    return {"seconds": time.perf_counter() - start, "ifd": values}


def peak() -> float:
    """The most memory that this process has held, in GiB."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def spent(ifd: Callable[[], list[float]]) -> dict[str, float]:
    """Shares of the processor's time: what the matrix products and the attention leave is elementwise work."""
    from torch.profiler import profile

    with profile() as seen:
        ifd()
    kinds = {"matrix products": ("::mm", "::addmm", "::bmm", "linear"), "attention": ("attention",)}
    times = dict.fromkeys((*kinds, "the rest"), 0.0)
    for event in seen.key_averages():
        named = next((kind for kind, parts in kinds.items() if any(part in event.key for part in parts)), "the rest")
        times[named] += event.self_cpu_time_total
    return {kind: part / sum(times.values()) for kind, part in times.items()}


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
