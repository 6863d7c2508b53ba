"""An evolving method as text with one slot, as Auto Evol-Instruct's optimizer reads and writes it.

    Method("Make it harder: {instruction}\\nFinally Rewritten Instruction:").fill(record)

A method that a model wrote is data: it is never rendered, its slot is replaced and nothing else (AE7). `template` gives
it as a Jinja file, in which all its braces but those of the slot are escaped, so that `method=path` can use it later.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from evodistill import prompt
from evodistill.evolution.four_steps import FINAL_WORDS
from evodistill.parse import Parsed
from evodistill.record import Record

SLOT = "{instruction}"
WRITTEN = re.compile(r"\{{1,2}[ \t]*instruction[ \t]*\}{1,2}", re.I)  # models double the braces, or add spaces
LABEL = re.compile(FINAL_WORDS, re.I)
JINJA = re.compile(r"\{[{%#]|\{\Z")  # what opens a tag, or would together with the slot's braces
FENCE = re.compile(r"^[ \t]*+```[^\n`]*+$", re.M)
NAMED = re.compile(r"optimi[sz]ed[ _-]*method", re.I)
NEAR = 200  # characters before a fence in which its name may stand
LONGEST = 8000  # characters: a longer one is a model that did not stop


@dataclass(frozen=True)
class Method:
    """`text` holds SLOT exactly once, and names the heading under which the final instruction is looked for."""

    text: str

    def __post_init__(self) -> None:
        if reason := refusal(self.text):
            raise ValueError(f"a method needs {SLOT} once and the heading of the final instruction: {reason}")

    @cached_property
    def parts(self) -> tuple[str, str]:
        before, after = self.text.split(SLOT)
        return before, after

    def fill(self, record: Record) -> str:
        """The prompt of a record; its input, if any, stands below the instruction (EV1)."""
        before, after = self.parts
        shown = f"{record.instruction}\n\nInput: {record.input}" if record.input else record.instruction
        return before + shown + after

    def template(self) -> str:
        """The Jinja source that renders to what `fill` gives."""
        before, after = (JINJA.sub(lambda tag: "{{ '" + tag[0] + "' }}", part) for part in self.parts)
        return f"{before}{{{{ instruction }}}}{{{{ '\\n\\nInput: ' ~ input if input }}}}{after}\n"


def slotted(name: str) -> Method:
    """The method of a prompt file, as it reads for an instruction without input."""
    return Method(prompt.render(name, instruction=SLOT, input=""))


def refusal(text: str) -> str:
    """Why the text is no method: a code, empty where it is one."""
    if not text.strip():
        return "empty"
    if (slots := text.count(SLOT)) != 1:
        return "several_slots" if slots else "no_slot"
    if not LABEL.search(text):
        return "no_final_heading"
    return "too_long" if len(text) > LONGEST else ""


def parse_method(reply: str) -> Parsed[Method]:
    """The method in an optimizer's reply: the fenced block called "Optimized Method", or the only block there is."""
    fences = list(FENCE.finditer(reply))
    # a block may hold fences of its own: the named one ends with the last fence of the reply
    named = [
        number for number, fence in enumerate(fences) if NAMED.search(fence[0]) or NAMED.search(above(reply, fence))
    ]
    if named and named[0] + 1 < len(fences):
        start, end = fences[named[0]], fences[-1]
    elif len(fences) == 2:
        start, end = fences
    else:
        return Parsed(reason="several_blocks" if len(fences) > 2 else "no_block")
    text = WRITTEN.sub(SLOT, reply[start.end() : end.start()]).strip()
    reason = refusal(text)
    return Parsed(reason=reason) if reason else Parsed(Method(text))


def above(reply: str, fence: re.Match[str]) -> str:
    """The end of the last line with text before the fence."""
    return reply[max(0, fence.start() - NEAR) : fence.start()].rstrip().rpartition("\n")[2]
