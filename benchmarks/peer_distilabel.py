"""The peer's half of peers.py, run by the Python that distilabel is installed in.

    PYTHON peer_distilabel.py answer SEEDS URL BATCH FOLDER     answer instructions by a server
    PYTHON peer_distilabel.py evolve SEEDS MODEL TOKENS         one Evol-Instruct evolution by a model in this process

Prints one JSON line at the end.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def read(path: str) -> list[dict]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def answer(seeds: str, url: str, batch: str, folder: str) -> dict:
    from distilabel.models import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts
    from distilabel.steps.tasks import TextGeneration

    rows = [{"instruction": row["instruction"]} for row in read(seeds)]
    with Pipeline("answers", cache_dir=folder) as pipeline:
        llm = OpenAILLM(model="stub", base_url=url, api_key="none", generation_kwargs={"max_new_tokens": 2048})  # type: ignore[arg-type]
        load = LoadDataFromDicts(data=rows, batch_size=int(batch))
        load >> TextGeneration(llm=llm, input_batch_size=int(batch))  # type: ignore[operator]
    made = pipeline.run(use_cache=True)["default"]["train"]
    return {"rows": [[row["instruction"], row["generation"]] for row in made]}


def evolve(seeds: str, model: str, tokens: str) -> dict:
    from distilabel.models import TransformersLLM
    from distilabel.steps.tasks import EvolInstruct

    kwargs = {"max_new_tokens": int(tokens), "temperature": 0.7, "top_p": 0.95, "repetition_penalty": 1.0}
    llm = TransformersLLM(model=model, torch_dtype="float32", generation_kwargs=kwargs)
    task = EvolInstruct(llm=llm, num_evolutions=1)
    task.load()
    rows = [{"instruction": row["instruction"]} for row in read(seeds)]
    next(task.process(rows[:1]))  # opened and warm
    started, cpu = time.monotonic(), time.process_time()
    made = next(task.process(rows))
    seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    usage = [row["distilabel_metadata"] for row in made]
    return {"seconds": seconds, "cpu": cpu, "rows": [row["evolved_instruction"] for row in made], "usage": usage}


if __name__ == "__main__":
    found = {"answer": answer, "evolve": evolve}[sys.argv[1]](*sys.argv[2:])
    print(json.dumps(found))
