"""The 25 instructions of IFEval that a program can check, by their published rules (Zhou et al., arXiv 2311.07911).

Each rule takes a response and the arguments of its instruction. The rules are taken as they are, with what is odd in
them (a keyword is a regular expression, `postscript` may stand anywhere), since scores are compared with those of
others; what makes scores irreproducible is not: languages are detected with a fixed seed, and a "letter" that is none
(`#`, `!`) is counted like any other character instead of being drawn at random.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langdetect.detector_factory import DetectorFactory

OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
# arguments that are regular expressions
PATTERNS = ("keyword", "keywords", "forbidden_words", "section_spliter", "postscript_marker")
POSTSCRIPTS = {"P.S.": r"p\.\s?s\.", "P.P.S": r"p\.\s?p\.\s?s"}


def check(id: str, arguments: object) -> None:
    """ValueError where an instruction is unknown, or lacks an argument, or has one that its rule cannot take."""
    if id not in RULES:
        raise ValueError(f"unknown instruction {id}")
    if not isinstance(arguments, Mapping):
        raise ValueError(f"kwargs of {id} are no object: {arguments!r}")
    rule = inspect.signature(RULES[id], eval_str=True)
    try:
        given = rule.bind("", **present(arguments)).arguments
    except TypeError as error:
        raise ValueError(f"kwargs of {id}: {error}") from None
    for name, value in given.items():
        kind = rule.parameters[name].annotation
        if not fits(value, kind):
            wanted = {int: "a number", str: "a text"}.get(kind, "a list of texts")
            raise ValueError(f"kwargs of {id}: {name} must be {wanted}, got {value!r}")
        for pattern in ([value] if kind is str else value) if name in PATTERNS else ():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"kwargs of {id}: {name} {pattern!r} is no regular expression ({error})") from None


def fits(value: object, kind: object) -> bool:
    if kind == list[str]:
        return isinstance(value, list) and all(isinstance(word, str) for word in value)
    return isinstance(value, int | float if kind is int else str)


def present(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The hub's rows name the arguments of all instructions, null where another one has them."""
    return {name: value for name, value in arguments.items() if value is not None}


def followed(id: str, arguments: Mapping[str, Any], response: str) -> bool:
    """Whether a response follows an instruction. An empty one follows none."""
    return bool(response.strip()) and bool(RULES[id](response, **present(arguments)))


def followed_loosely(id: str, arguments: Mapping[str, Any], response: str) -> bool:
    """… or would, without its asterisks, its first line or its last one, or several of these: bold type, a preface
    and a closing remark do not count against it."""
    lines = response.split("\n")
    parts = [response, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return any(followed(id, arguments, text) for part in parts for text in (part, part.replace("*", "")))


def compared(count: int, relation: str, wanted: int) -> bool:
    return count < wanted if relation == "less than" else count >= wanted


def keywords(text: str, keywords: list[str]) -> bool:
    return all(re.search(word, text, re.I) for word in keywords)


def frequency(text: str, keyword: str, frequency: int, relation: str) -> bool:
    return compared(len(re.findall(keyword.strip(), text, re.I)), relation, frequency)


def forbidden(text: str, forbidden_words: list[str]) -> bool:
    return not any(re.search(rf"\b{word}\b", text, re.I) for word in forbidden_words)


def letters(text: str, letter: str, let_frequency: int, let_relation: str) -> bool:
    return compared(text.lower().count(letter.strip().lower()), let_relation, let_frequency)


def language(text: str, language: str) -> bool:
    return detected(text) in (language, None)


def english(case: Callable[[str], bool], text: str) -> bool:
    return case(text) and detected(text) in ("en", None)


def sentences(text: str, num_sentences: int, relation: str) -> bool:
    return compared(len(split(text)), relation, num_sentences)


def words(text: str, num_words: int, relation: str) -> bool:
    return compared(len(re.findall(r"\w+", text)), relation, num_words)


def paragraphs(text: str, num_paragraphs: int) -> bool:
    """Parted by ***; none may be empty but before the first and behind the last divider."""
    parts = [part.strip() for part in re.split(r"\s?\*\*\*\s?", text)]
    inner = parts[1:-1]
    return all(inner) and sum(map(bool, parts)) == num_paragraphs


def first_word(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """Parted by empty lines. Empty ones do not count for the number of paragraphs, but they do for the n-th."""
    parts = text.split("\n\n")
    count = sum(bool(part.strip()) for part in parts)
    if nth_paragraph > count or not parts[nth_paragraph - 1].strip():
        return False
    word = parts[nth_paragraph - 1].split()[0].lstrip("'").lstrip('"')
    return count == num_paragraphs and re.split(r"[.,?!'\"]", word)[0].lower() == first_word.lower()


def placeholders(text: str, num_placeholders: int) -> bool:
    return len(re.findall(r"\[[^\[\]\n]*\]", text)) >= num_placeholders


def postscript(text: str, postscript_marker: str) -> bool:
    marker = postscript_marker.strip()
    return bool(re.search(POSTSCRIPTS.get(marker, marker.lower()), text.lower()))


def bullets(text: str, num_bullets: int) -> bool:
    stars, dashes = (re.findall(pattern, text, re.M) for pattern in (r"^[^\S\n]*+\*[^*].*$", r"^[^\S\n]*+-.*$"))
    return len(stars) + len(dashes) == num_bullets


def option(text: str) -> bool:
    return any(option in text for option in OPTIONS)


def highlights(text: str, num_highlights: int) -> bool:
    """What stands between two asterisks; between two pairs of them it counts once more."""
    single = [found for found in re.findall(r"\*[^\n*]*\*", text) if found.strip("*").strip()]
    double = [found for found in re.findall(r"\*\*[^\n*]*\*\*", text) if found[2:-2].strip()]
    return len(single) + len(double) >= num_highlights


def sections(text: str, section_spliter: str, num_sections: int) -> bool:
    return len(re.findall(rf"\s?{section_spliter.strip()}\s?\d+\s?", text)) >= num_sections


def is_json(text: str) -> bool:
    inner = text.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        inner = inner.removeprefix(fence)
    try:
        json.loads(inner.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def title(text: str) -> bool:
    """From the first << of a line to its last >>."""
    marked = (
        line[line.find("<<") : line.rfind(">>") + 2] for line in text.split("\n") if "<<" in line and ">>" in line
    )
    return any(found.lstrip("<").rstrip(">").strip() for found in marked)


def two_responses(text: str) -> bool:
    parts = [part.strip() for part in text.split("******")]
    there = [part for part in parts if part]
    return all(parts[1:-1]) and len(there) == 2 and there[0] != there[1]


def repeated(text: str, prompt_to_repeat: str) -> bool:
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


def ending(text: str, end_phrase: str) -> bool:
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def capital_words(text: str, capital_frequency: int, capital_relation: str) -> bool:
    from nltk.tokenize import NLTKWordTokenizer

    tokens = [token for sentence in split(text) for token in NLTKWordTokenizer().tokenize(sentence)]
    return compared(sum(token.isupper() for token in tokens), capital_relation, capital_frequency)


def no_comma(text: str) -> bool:
    return "," not in text


def quoted(text: str) -> bool:
    return len(text.strip()) > 1 and text.strip()[0] == text.strip()[-1] == '"'


def split(text: str) -> list[str]:
    """Sentences, by Punkt's English model."""
    import punkt

    return punkt.sent_tokenize(text)


@cache
def detector() -> DetectorFactory:
    """A factory of our own: the seed of langdetect's is that of the whole process."""
    from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory

    made = DetectorFactory()
    made.load_profile(PROFILES_DIRECTORY)
    made.seed = 0
    return made


def detected(text: str) -> str | None:
    """ISO 639-1 code of the language; None where none can be told (such a response counts as following)."""
    from langdetect.lang_detect_exception import LangDetectException

    reader = detector().create()
    reader.append(text)
    try:
        return reader.detect()
    except LangDetectException:
        return None


RULES: dict[str, Callable[..., bool]] = {
    "keywords:existence": keywords,
    "keywords:frequency": frequency,
    "keywords:forbidden_words": forbidden,
    "keywords:letter_frequency": letters,
    "language:response_language": language,
    "length_constraints:number_sentences": sentences,
    "length_constraints:number_paragraphs": paragraphs,
    "length_constraints:number_words": words,
    "length_constraints:nth_paragraph_first_word": first_word,
    "detectable_content:number_placeholders": placeholders,
    "detectable_content:postscript": postscript,
    "detectable_format:number_bullet_lists": bullets,
    "detectable_format:constrained_response": option,
    "detectable_format:number_highlighted_sections": highlights,
    "detectable_format:multiple_sections": sections,
    "detectable_format:json_format": is_json,
    "detectable_format:title": title,
    "combination:two_responses": two_responses,
    "combination:repeat_prompt": repeated,
    "startend:end_checker": ending,
    "startend:quotation": quoted,
    "change_case:capital_word_frequency": capital_words,
    "change_case:english_capital": partial(english, str.isupper),
    "change_case:english_lowercase": partial(english, str.islower),
    "punctuation:no_comma": no_comma,
}
