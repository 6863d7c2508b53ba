"""An OpenAI-compatible server that fails on demand and keeps the books: what it was asked and what it billed.

    with StubServer(latency=0.05, faults=["429", None, "half_body"]) as server:
        ask(server.url)
    server.asked[0].body["messages"], server.prompt_tokens, server.peak

The n-th request that arrives gets the n-th fault, those after the last one get none; or `faults` is a function of the
request's number and body. A token is a word. The answer is "echo:" and the last message.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Fault:
    """`kind` is a name below or a status; `retry_after` goes into the header as it stands."""

    kind: str
    retry_after: str = ""
    message: str = "as told"
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    at: float  # time.monotonic() of its arrival
    body: dict[str, Any]
    key: str  # of the Authorization header
    fault: str


@dataclass
class StubServer:
    latency: float = 0.0
    faults: Sequence[Fault | str | None] | Callable[[int, dict[str, Any]], Fault | str | None] = ()
    key: str = ""  # where there is one, every other is refused with 401, quoted
    reports_usage: bool = True
    port: int = 0  # 0 = any that is free
    asked: list[Asked] = field(default_factory=list)
    prompt_tokens: int = 0  # billed, and told so in a whole reply
    completion_tokens: int = 0
    untold: int = 0  # computed, yet the client cannot know the price
    at_work: int = 0
    peak: int = 0  # most requests at one time

    def __enter__(self) -> StubServer:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        start = asyncio.start_server(self.serve, "127.0.0.1", self.port, backlog=1024)
        self.server = asyncio.run_coroutine_threadsafe(start, self.loop).result()
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self.stop(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    async def stop(self) -> None:
        """Go away at once, as a crashed server does."""
        self.server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def crash(self) -> None:
        asyncio.run_coroutine_threadsafe(self.stop(), self.loop).result()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, request after request."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode("latin-1").strip().split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                body = json.loads(await reader.readexactly(int(headers["content-length"])))
                self.at_work += 1
                self.peak = max(self.peak, self.at_work)
                try:
                    kept = await self.answer(writer, first.split()[1], headers, body)
                finally:
                    self.at_work -= 1
                if not kept:
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has gone, or the server goes
        finally:
            writer.close()

    async def answer(
        self, writer: asyncio.StreamWriter, path: str, headers: dict[str, str], body: dict[str, Any]
    ) -> bool:
        """Send one reply; False where the connection ends with it."""
        number = len(self.asked)
        given = self.faults(number, body) if callable(self.faults) else dict(enumerate(self.faults)).get(number)
        fault = given if isinstance(given, Fault) else Fault(given or "")
        key = headers.get("authorization", "").removeprefix("Bearer ")
        self.asked.append(Asked(time.monotonic(), body, key, fault.kind))
        await asyncio.sleep(self.latency)
        if path != "/v1/chat/completions":
            return await send(writer, 404, {"detail": "Not Found"})
        if self.key and key != self.key:
            return await send(writer, 401, {"error": {"message": f"Incorrect API key provided: {key}"}})
        if fault.kind.isdigit():
            more = {"Retry-After": fault.retry_after} if fault.retry_after else {}
            if fault.kind == "502":  # as gateways do
                return await send(writer, 502, "<html>\n<h1>Bad Gateway</h1>\n</html>", more)
            return await send(writer, int(fault.kind), {"error": {"message": fault.message, "code": fault.code}}, more)
        if fault.kind == "reset":
            self.untold += 1
            link = writer.get_extra_info("socket")
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if fault.kind == "time_out":
            self.untold += 1
            await asyncio.sleep(3600)
            return False
        reply = self.reply(body, fault.kind)
        if fault.kind == "half_body":
            self.untold += 1
            data = json.dumps(reply).encode()
            writer.write(head_of(200, len(data), {}) + data[: len(data) // 2])
            await writer.drain()
            return False
        if fault.kind == "invalid_json":
            self.untold += 1
            return await send(writer, 200, json.dumps(reply)[:-2])
        if fault.kind == "slow_drip":  # a byte now and then, for ever
            self.untold += 1
            data = json.dumps(reply).encode()
            writer.write(head_of(200, len(data), {}))
            for byte in data:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.1)
            return True
        if self.reports_usage:
            self.prompt_tokens += reply["usage"]["prompt_tokens"]
            self.completion_tokens += reply["usage"]["completion_tokens"]
        else:
            del reply["usage"]
            self.untold += 1
        return await send(writer, 500 if fault.kind == "billed_500" else 200, reply)

    def reply(self, body: dict[str, Any], kind: str) -> dict[str, Any]:
        words = ("echo: " + body["messages"][-1]["content"]).split(" ")
        most = body.get("max_tokens", len(words))
        message: dict[str, Any] = {"role": "assistant", "content": " ".join(words[:most])}
        choice = {"index": 0, "message": message, "finish_reason": "length" if len(words) > most else "stop"}
        if body.get("logprobs"):
            choice["logprobs"] = {"content": [position(word, body["top_logprobs"]) for word in words[:most]]}
        choices = [choice]
        match kind:
            case "empty_choices":
                choices = []
            case "null_content":
                message["content"] = None
            case "content_filter" | "tool_calls":
                message["content"], choice["finish_reason"] = None, kind
            case "refusal":
                message["content"], message["refusal"] = None, "I would rather not."
            case "all_reasoning":
                message["content"], choice["finish_reason"] = None, "length"
            case "no_logprobs":
                choice["logprobs"] = None
            case "wrong_ids":
                choice["index"] = 7
            case "" | "half_body" | "invalid_json" | "billed_500" | "slow_drip":
                pass
            case _:
                raise ValueError(f"no such fault: {kind}")
        prompt = sum(len(message["content"].split(" ")) for message in body["messages"])
        usage = {"prompt_tokens": prompt, "completion_tokens": min(most, len(words))}
        names = {"id": "chatcmpl-0", "model": "another"} if kind == "wrong_ids" else {"model": body["model"]}
        return {"object": "chat.completion", **names, "choices": choices, "usage": usage}


def position(word: str, top: int) -> dict[str, Any]:
    """The chosen word is the second best, as it may be at temperature > 0; alternatives are not in order."""
    others = [{"token": f"{word}{n}", "logprob": -0.5 * n} for n in range(1, top + 1) if n != 2]
    chosen = {"token": word, "logprob": -1.0}
    return chosen | {"top_logprobs": [*reversed(others), chosen] if top >= 2 else others}


def head_of(status: int, size: int, more: dict[str, str], kind: str = JSON) -> bytes:
    lines = {"Content-Type": kind, "Content-Length": str(size)} | more
    return (f"HTTP/1.1 {status} X\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items()) + "\r\n").encode("latin-1")


async def send(writer: asyncio.StreamWriter, status: int, reply: object, more: dict[str, str] | None = None) -> bool:
    data = (reply if isinstance(reply, str) else json.dumps(reply)).encode()
    writer.write(head_of(status, len(data), more or {}, "text/html" if isinstance(reply, str) else JSON) + data)
    await writer.drain()
    return True
