"""Chat completions of any OpenAI-compatible server, `vllm serve` included.

vllm serve Qwen/Qwen2.5-72B-Instruct --generation-config vllm
python run.py +experiment=… backend@evolver=api evolver.base_url=http://localhost:8000/v1
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import os
import threading
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar
from urllib.parse import urlsplit

from evodistill import RunError
from evodistill.backend import Backend, Completion, Request
from evodistill.backend.servers import Servers
from evodistill.backend.session import Session
from evodistill.backend.spending import Spending
from evodistill.backend.throttle import Bucket, Ledger, Limits, dollars
from evodistill.backend.tokens import repaired
from evodistill.record import digest

log = logging.getLogger(__name__)

SET_HERE = (
    "model",
    "messages",
    "temperature",
    "top_p",
    "max_tokens",
    "seed",
    "stop",
    "logprobs",
    "top_logprobs",
    "n",
    "stream",
)

MOST_LOGPROBS = 20  # that OpenAI and vLLM give


@dataclass(eq=False, kw_only=True)
class API(Backend):
    """A model behind an OpenAI-compatible server.

    The server's weights cannot be seen: `identity` trusts the model's name. Serve other weights under the same name and
    the cache still gives the old answers.

    The key is read from the environment variable `key_env` when requests are made, and is never part of the object; a
    run without it is refused at its start. Where all answers are in the store already, `key_env=null` goes without.
    Limits hold for this object: two roles on one server have two of them. The budget holds for all that a study spends
    at the server, where the run gives the object the study's `spending`."""

    served: ClassVar[bool] = True

    base_url: str | Sequence[str]  # several: servers of the same model, each asked as fast as it answers
    served_name: str | None = None
    key_env: str | None = "OPENAI_API_KEY"
    extra_body: Mapping[str, object] = field(default_factory=dict)
    rename: Mapping[str, str | None] = field(default_factory=dict)
    structured: bool = False  # the server has structured output: replies that must be one of a list come as JSON

    def __post_init__(self) -> None:
        if not self.urls:
            raise ValueError("base_url is an empty list: name at least one server")
        for base_url in self.urls:
            url = urlsplit(base_url)
            if url.username or url.password or url.query:
                raise ValueError(
                    "base_url must not hold a name, a password or a query: put the key into the variable that key_env "
                    "names"
                )
            # .port refuses what is no number
            if url.scheme not in ("http", "https") or not url.hostname or url.port == 0:
                raise ValueError(f"base_url must look like https://host:port/v1, got {base_url!r}")
        if len(set(self.urls)) < len(self.urls):
            raise ValueError("base_url names a server twice")
        if not self.model:
            raise ValueError(f"model {self.name} has no path: set served_name to the name the server knows it by")
        if doubled := sorted(set(self.extra_body) & set(SET_HERE)):
            raise ValueError(
                f"extra_body.{doubled[0]} is set by the request itself: use the step's sampling, served_name or rename"
            )
        if unknown := sorted(set(self.rename) - set(SET_HERE)):
            raise ValueError(
                f"rename.{unknown[0]} is nothing that a request holds; it holds {', '.join(SET_HERE[:-2])}"
            )
        self.limits = Limits.from_engine(self.engine)
        if self.limits.budget.get("max_usd") is not None and not {"prompt", "completion"} <= set(self.price or ()):
            raise ValueError(
                f"engine.budget.max_usd needs the price of model {self.name}: "
                "set price.prompt and price.completion (USD per million tokens)"
            )
        self.ledger = Ledger()
        self.spending: Spending | None = None  # of the study; without it the budget is this object's
        self.servers = Servers(self.urls, self.limits)
        self.requests_bucket = Bucket(self.limits.requests_per_minute)
        self.tokens_bucket = Bucket(self.limits.tokens_per_minute)

    @property
    def model(self) -> str | None:
        """The name that the server knows the model by."""
        return self.served_name or self.path

    @property
    def urls(self) -> tuple[str, ...]:
        return (self.base_url,) if isinstance(self.base_url, str) else tuple(self.base_url)

    @property
    def local(self) -> bool:
        """Do all addresses mean this machine?"""
        return all(is_local(urlsplit(url).hostname or "") for url in self.urls)

    @property
    def identity(self) -> str:
        body = {"extra_body": dict(self.extra_body)} if self.extra_body else {}
        body |= {"rename": dict(self.rename)} if self.rename else {}
        body |= {"structured": True} if self.structured else {}
        return f"api:{self.model}" + (f":{digest(body)}" if body else "")

    @property
    def key(self) -> str:
        """The key, "" for none. Only a server on this machine may go without the variable that `key_env` names."""
        key = os.environ.get(self.key_env, "").strip() if self.key_env else ""
        if self.key_env and not key and not self.local:
            raise RunError(
                f"model {self.name}: set the environment variable {self.key_env} to the key of {self.urls[0]}, "
                "or key_env=null where it wants none"
            )
        if not (key.isascii() and key.isprintable()):  # an HTTP library would quote it in its error
            raise RunError(
                f"model {self.name}: the key in {self.key_env} holds characters that no header may hold: set it anew"
            )
        return key

    def ready(self) -> None:
        _ = self.key

    def body(self, request: Request) -> bytes:
        """The JSON of a request; the chat as our own engines would read it."""
        sampling = request.sampling
        fields: dict[str, object] = {
            "model": self.model,
            "messages": [
                {"role": message["role"], "content": repaired(message["content"])} for message in request.chat
            ],
            # all of them, always: vLLM fills what is missing from the model's generation_config.json
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": request.seed % 2**31,  # llama.cpp takes no more, OpenAI and vLLM do
        }
        if sampling.stop:
            fields["stop"] = list(sampling.stop)
        if sampling.logprobs:
            # one more: vLLM's server counts the chosen token, so that of one it would not tell the most probable (LP2)
            fields |= {"logprobs": True, "top_logprobs": min(sampling.logprobs + 1, MOST_LOGPROBS)}
        if request.choices and self.structured:
            fields["response_format"] = one_of(request.choices)
        named = {self.rename.get(name, name): value for name, value in fields.items()}
        return json.dumps({name: value for name, value in named.items() if name} | dict(self.extra_body)).encode()

    def complete(self, requests: Sequence[Request]) -> Generator[list[tuple[int, Completion]], None, None]:
        """Groups of what has finished since the last one. An event loop in a thread of its own does the asking; closing
        the generator cancels what is under way."""
        if not requests:
            return
        session = Session(self, requests)
        loop = asyncio.new_event_loop()
        task = loop.create_task(session.run())
        task.add_done_callback(lambda task: session.done.put(None if task.cancelled() else task.exception()))
        thread = threading.Thread(
            target=loop.run_until_complete, args=(asyncio.wait([task]),), name=f"api {self.name}", daemon=True
        )
        thread.start()
        try:
            while True:
                items = [session.done.get()]
                while not session.done.empty():
                    items.append(session.done.get())
                if group := [item for item in items if isinstance(item, tuple)]:
                    yield group
                if isinstance(items[-1], BaseException):
                    raise items[-1]
                if items[-1] is None:
                    return
        finally:
            if thread.is_alive():  # else Python, collecting a forgotten generator, may have closed the loop before
                loop.call_soon_threadsafe(task.cancel)
            thread.join()
            loop.close()
            spent = self.ledger
            if spent.tokens or spent.refused or spent.unreported:  # else no server was reached: the error says so
                log.info(
                    "%s: %d attempts, %d refused, %d + %d tokens billed, %d attempts of unknown price",
                    self.name,
                    spent.attempts,
                    spent.refused,
                    spent.prompt_tokens,
                    spent.completion_tokens,
                    spent.unreported,
                )
            for server in self.servers.all if len(self.urls) > 1 else ():
                told = (server.asked, server.answered, server.seconds)
                log.info("  %s: asked %d times, %d answers, %.2f s each", server.url, *told)

    def close(self) -> None:
        if self.spending:
            self.spending.close()

    @property
    def usd(self) -> float:
        return self.ledger.usd(self.price)

    def bill(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Write down what an attempt has cost."""
        self.ledger.add(prompt_tokens, completion_tokens)
        if self.spending:
            usd = dollars(prompt_tokens, completion_tokens, self.price)
            self.spending.add(prompt_tokens, completion_tokens, usd)

    def over_budget(self) -> str:
        """Which part of the budget is spent, and by whom; "" for none."""
        budget = self.limits.budget
        if not any(budget.values()):
            return ""
        tokens, usd = self.spending.total() if self.spending else (self.ledger.tokens, self.usd)
        billed = f"{tokens} tokens billed" + (f", {usd:.2f} USD" if usd else "")
        billed += f", by all jobs and runs of {self.spending.study}" if self.spending else ""
        if (most := budget.get("max_tokens")) and tokens >= most:
            return f"engine.budget.max_tokens={most:.0f} is spent ({billed})"
        if (most := budget.get("max_usd")) and usd >= most:
            return f"engine.budget.max_usd={most:g} is spent ({billed})"
        return ""


def is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def one_of(choices: Sequence[str]) -> dict[str, object]:
    """OpenAI's form of a reply {"answer": CHOICE}, which vLLM and llama.cpp take too."""
    answer = {"type": "string", "enum": list(choices)}
    schema = {"type": "object", "properties": {"answer": answer}, "required": ["answer"], "additionalProperties": False}
    return {"type": "json_schema", "json_schema": {"name": "choice", "strict": True, "schema": schema}}
