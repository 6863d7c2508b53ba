"""vLLM's offline engine, in this process' children: GPU, or the CPU build.

Token ids go in, so that the prompt is the one the tokenizer's own chat template writes (EV5). Log-probabilities are
raw: of the model's distribution before temperature and top_p (LP3; vLLM's `logprobs_mode`). A draw follows from its
request's seed alone, up to rounding: vLLM's batches differ from run to run, and with them the last bits of bfloat16.
"""

# pyright: reportMissingImports=false
# vLLM is an extra: it need not be there where types are checked

from __future__ import annotations

import gc
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from evodistill import RunError
from evodistill.backend import Backend, Completion, Logprobs, Request
from evodistill.backend.tokens import encode, encode_parts, shortened

if TYPE_CHECKING:
    from vllm import LLM, RequestOutput, SamplingParams
    from vllm.outputs import CompletionOutput

    Prompt: TypeAlias = tuple[int, list[int], SamplingParams]  # position, token ids, how to go on

log = logging.getLogger(__name__)
CPU_CONTEXT = 4096  # tokens of prompt and completion on a CPU, where none are given
QUEUES = 2  # requests in the engine, in multiples of what it computes at once: it never starves, memory stays bounded


@dataclass(eq=False)
class VLLM(Backend):
    """`engine` goes to `vllm.LLM` as it stands, `environment` to the process where it has no such variable."""

    environment: Mapping[str, str | int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.engine.get("data_parallel_size") or 1) != 1:
            # vLLM raises on this too, but after a minute of imports, and names an example of its own (issue 22575)
            raise ValueError(
                "engine.data_parallel_size must be 1 in vLLM's offline engine; for N copies choose backend ray "
                "(backend@ROLE=ray backend@ROLE.inner=vllm ROLE.replicas=N), or vllm serve --data-parallel-size N "
                "with backend api"
            )

    def ready(self) -> None:
        if not find_spec("vllm"):
            raise RunError(
                f"model {self.name}: vLLM is not installed; "
                "pip install 'evodistill[vllm]' where there is a GPU, make vllm for its CPU build"
            )

    @cached_property
    def llm(self) -> LLM:
        """The open engine. Reading it starts one, which takes from ten seconds to minutes."""
        self.ready()  # before gigabytes are fetched for it
        folder = str(self.weights.folder)
        for key, value in self.environment.items():
            os.environ.setdefault(key, str(value))
        # vLLM sets this too, but only after its first messages
        logging.getLogger("vllm").setLevel(os.environ.get("VLLM_LOGGING_LEVEL", "INFO").upper())
        from vllm import LLM
        from vllm.exceptions import VLLMError
        from vllm.platforms import current_platform

        engine: dict[str, Any] = {key: value for key, value in self.engine.items() if value is not None}
        engine.pop("data_parallel_size", None)
        if current_platform.is_cpu():
            engine = suit_cpu(engine, self.weights.folder)
        log.info("model %s: starting vLLM on %s", self.name, current_platform.device_name)
        try:
            return LLM(folder, **engine)
        except (TypeError, ValueError, VLLMError) as error:  # a key or a value of `engine` that vLLM refuses
            raise RunError(f"model {self.name}: vLLM refuses engine: {first_line(error)}") from error
        except RuntimeError as error:  # the engine's process ended and has said why on the console
            raise RunError(
                f"model {self.name}: vLLM did not start, its own message stands above. Where memory is short: lower "
                "engine.max_model_len, or give more by engine.gpu_memory_utilization (GPU) or "
                "environment.VLLM_CPU_KVCACHE_SPACE (CPU)"
            ) from error

    @property
    def dtype_name(self) -> str | None:
        if llm := self.__dict__.get("llm"):
            return str(llm.model_config.dtype).removeprefix("torch.")
        return super().dtype_name

    @property
    def context(self) -> int:
        """Tokens of prompt and completion together."""
        return self.llm.model_config.max_model_len

    def close(self) -> None:
        llm = self.__dict__.pop("llm", None)
        if llm is None:
            return
        from vllm import envs

        llm.llm_engine.engine_core.shutdown()  # ends the child processes, and with them their hold on the GPU
        del llm
        gc.collect()
        if not envs.VLLM_ENABLE_V1_MULTIPROCESSING:  # asked to run in this process: what it held is to be freed here
            from vllm.distributed import cleanup_dist_env_and_memory

            cleanup_dist_env_and_memory()

    def complete(self, requests: Sequence[Request]) -> Iterator[list[tuple[int, Completion]]]:
        tokenizer: Any = self.llm.get_tokenizer()
        too_long: list[tuple[int, Completion]] = []
        read, shared = 0, 0  # tokens of prompts, and those of them that the prefix cache held

        def prompts() -> Iterator[Prompt]:
            # equal beginnings one after the other: the engine computes them once (prefix caching)
            order = sorted(range(len(requests)), key=lambda position: texts(requests[position]))
            for position in order:
                ids = encode(tokenizer, requests[position].chat)
                if error := self.overflow(ids):
                    too_long.append((position, Completion("", "error", prompt_tokens=len(ids), error=error)))
                else:
                    yield position, ids, self.sampling(requests[position])

        for group in self.run(prompts()):
            for _, output in group:
                read += len(output.prompt_token_ids or ())
                shared += output.num_cached_tokens or 0
            yield [(position, completion(output)) for position, output in group]
        yield too_long
        if read:
            told = (self.name, 100 * shared / read, read)
            log.info("%s: %.0f %% of %d prompt tokens were found in the prefix cache", *told)

    def score(self, texts: Sequence[Sequence[str]], limit: int | None = None) -> Iterator[list[tuple[int, Logprobs]]]:
        import numpy as np
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        tokenizer: Any = self.llm.get_tokenizer()
        # One engine writes and scores. A cached prefix would leave its log-probabilities unset (vLLM issue 42019), so
        # these requests don't read the cache. vLLM draws at least one token; here it is thrown away.
        params = SamplingParams(
            max_tokens=1,
            temperature=0,
            prompt_logprobs=0,
            skip_reading_prefix_cache=True,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        too_long: list[tuple[int, Logprobs]] = []
        spans: dict[int, list[tuple[int, int]]] = {}
        cuts: dict[int, int] = {}
        # one token is left for the completion, as in `overflow`
        most = 1 << 62 if limit is None else min(limit, self.context - 1)

        def prompts() -> Iterator[Prompt]:
            for position, parts in enumerate(texts):
                ids, spans[position], cuts[position] = shortened(*encode_parts(tokenizer, parts), most)
                if error := self.overflow(ids):
                    too_long.append((position, Logprobs((), error)))
                else:
                    yield position, ids, params

        for group in self.run(prompts()):
            scored = []
            for position, output in group:
                # the first token has nothing before it: vLLM gives None there
                found = zip(output.prompt_token_ids[1:], output.prompt_logprobs[1:], strict=True)
                values = np.array([0.0, *(at[token].logprob for token, at in found)], np.float32)
                parts = tuple(values[start:end] for start, end in spans.pop(position))
                scored.append((position, Logprobs(parts, cut=cuts.pop(position))))
            yield scored
        yield too_long

    def run(self, prompts: Iterator[Prompt]) -> Iterator[list[tuple[int, Any]]]:
        """Give the engine its requests as it has room, and yield what has finished (vLLM's RequestOutput) after every
        step of it."""
        from vllm.exceptions import VLLMClientError
        from vllm.inputs import tokens_input
        from vllm.v1.engine.exceptions import EngineDeadError

        engine = self.llm.llm_engine
        room = QUEUES * engine.vllm_config.scheduler_config.max_num_seqs
        waiting: set[str] = set()
        try:
            while True:
                for position, ids, params in islice(prompts, room - len(waiting)):
                    engine.add_request(str(position), tokens_input(ids), params)
                    waiting.add(str(position))
                if not waiting:
                    return
                if done := [output for output in engine.step() if output.finished]:
                    waiting.difference_update(output.request_id for output in done)
                    yield [(int(output.request_id), output) for output in done]
        except VLLMClientError as error:  # prompts fit by now: what is left is wrong for all of them
            raise RunError(f"model {self.name}: vLLM refuses sampling: {first_line(error)}") from error
        except EngineDeadError as error:
            self.close()
            raise RunError(
                f"model {self.name}: the vLLM engine died, perhaps for want of memory; its own message stands above. "
                "What had finished is kept: lower engine.max_num_seqs and run the same command again"
            ) from error
        finally:
            if waiting and "llm" in self.__dict__:  # whoever asked has gone away
                engine.abort_request(list(waiting))

    def sampling(self, request: Request) -> SamplingParams:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        wanted = request.sampling
        held: dict[str, Any] = {}
        if request.choices:
            from vllm.sampling_params import StructuredOutputsParams

            held = {"structured_outputs": StructuredOutputsParams(choice=list(request.choices))}
        return SamplingParams(
            temperature=wanted.temperature,
            top_p=wanted.top_p,
            max_tokens=wanted.max_tokens,
            seed=request.seed,  # 63 bits: vLLM takes a signed 64-bit integer, -1 for none
            stop=list(wanted.stop),
            logprobs=wanted.logprobs or None,
            output_kind=RequestOutputKind.FINAL_ONLY,
            **held,
        )

    def overflow(self, ids: Sequence[int]) -> str:
        """What is wrong with a prompt that leaves no room for a single token; empty where nothing is."""
        if len(ids) < self.context:
            return ""
        return f"{len(ids)} tokens do not fit the context of {self.context} tokens (one is left for the completion)"


def completion(output: RequestOutput) -> Completion:
    made = output.outputs[0]
    counts = (len(output.prompt_token_ids or ()), len(made.token_ids))
    if made.finish_reason not in ("stop", "length"):
        told = f"vLLM ended the request with {made.finish_reason}"
        # a repetition would come again, these come of the engine's state
        return Completion("", "error", *counts, error=told, passing=made.finish_reason in ("abort", "error"))
    return Completion(made.text, made.finish_reason, *counts, logprobs=tuple(alternatives(made)))


def alternatives(made: CompletionOutput) -> Iterator[list[tuple[str, float]]]:
    """Per position the chosen token, then the others by falling probability; nothing where none were asked for."""
    logprobs: Any = made.logprobs
    if logprobs is None:
        return
    for token, found in zip(made.token_ids, logprobs, strict=True):
        others = sorted((at for other, at in found.items() if other != token), key=lambda at: -at.logprob)
        yield [(at.decoded_token, at.logprob) for at in (found[token], *others)]


def texts(request: Request) -> list[str]:
    return [message["content"] for message in request.chat]


def first_line(error: Exception) -> str:
    """What an error says; pydantic says it behind a count, a field's name in between, and explains it at length."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    counted = "validation error" in lines[0] and len(lines) > 1
    return " ".join(lines[1:3]).partition(" [type=")[0].partition(". ")[0] if counted else lines[0]


def suit_cpu(engine: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The settings, with those that the CPU build needs where none are given.

    It ends with "CPU Generator does not use offset" when it splits the prompt of a seeded request over two steps: so
    prompts stay whole, a step has room for a whole context, and the context is short enough for that."""
    own = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("max_position_embeddings", CPU_CONTEXT)
    context = engine.get("max_model_len") or min(own, CPU_CONTEXT)
    # compiling for the CPU takes a minute, longer than most runs that have no GPU gain by it
    needed = {"enforce_eager": True, "enable_chunked_prefill": False, "max_model_len": context}
    step = max(context, engine.get("max_num_batched_tokens") or 0)
    return needed | engine | {"max_num_batched_tokens": step}
