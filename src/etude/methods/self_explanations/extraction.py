"""The explanation within a model's answer: a paragraph without what is said about it, or a list of words."""

from __future__ import annotations

import re

_REFUSAL = re.compile(
    r"^(?:i am sorry|i'm sorry|sorry|i apologi[sz]e|i cannot|i can't|i am unable|i'm unable)\b|\bas an ai\b",
    re.IGNORECASE,
)
_BLOCK_TAG = re.compile(r"</?(?:p|ul|ol|li|blockquote|div|html|body)\b[^>]*>", re.IGNORECASE)
_BREAK_TAG = re.compile(r"<br\s*/?>", re.IGNORECASE)
_INLINE_TAG = re.compile(r"</?(?:b|i|em|strong|u|span|mark)\b[^>]*>", re.IGNORECASE)
_HERE_IS = re.compile(r"\bhere(?:'s| is| are)\b[^:\n]{0,160}:[ \t]*", re.IGNORECASE)
_NAMED = re.compile(
    r"(?:^|\n)[ \t*#]*(?:(?:the )?(?:re-?written|changed|edited|redacted|revised|modified|updated) )?"
    r"(?:paragraph|version|text)[ \t*]*:[ \t*]*",
    re.IGNORECASE,
)
_SURE = re.compile(r"^(?:sure|certainly|of course|okay|ok|here)\b[^\n]*\n", re.IGNORECASE)
_QUOTES = {'"': '"', "“": "”", "'": "'", "`": "`", "«": "»"}

_ITEM = re.compile(r"^[ \t]*(?:\d+[.)]|[-*•–])[ \t]+(.+)$", re.MULTILINE)
_QUOTED = re.compile(r"[\"“]([^\"“”\n]+)[\"”]")
_NOTE = re.compile(r"\s+\((?:[^)]*)\)\s*$|\s+[-–—:]\s+.*$|:\s.*$")
_MOST_WORDS = 12


def extract_paragraph(answer: str) -> str | None:
    """The paragraph that an answer gives, or None when it gives none (a refusal, or nothing).

    What stands before the last "here is ...:" or "Paragraph:" is boilerplate; quotes around the whole and
    HTML tags are not part of the text.

    Args:
        answer: What the model wrote.
    """
    text = _without_html(answer)
    if _REFUSAL.search(text.replace("’", "'").lstrip()):
        return None
    openings = [
        match.end() for pattern in (_HERE_IS, _NAMED) for match in pattern.finditer(text.replace("’", "'"))
    ]
    text = text[max(openings) :] if openings else _SURE.sub("", text.strip(), count=1)
    text = _unquoted(text.strip())
    return text if re.search(r"\w", text) else None


def extract_words(answer: str) -> list[str]:
    """The words that an answer lists: bullets or numbers, else quoted words, else words after a colon.

    The last resort is a bare list: one entry per line, or entries between commas. An answer in sentences
    lists nothing.

    Args:
        answer: What the model wrote.

    Returns:
        Entries in order, each once; an empty list is a mismatch.
    """
    text = _without_html(answer).strip()
    if _REFUSAL.search(text.replace("’", "'")):
        return []
    items = [match[1] for match in _ITEM.finditer(text)]
    if items:
        return _entries(_first_quoted(item) for item in items)
    quoted = _QUOTED.findall(text)
    if quoted:
        return _entries(quoted)
    _, colon, after = text.partition(":")
    listed = after if colon else text
    pieces = [piece for line in listed.splitlines() for piece in line.split(",")]
    entries = _entries(re.sub(r"^\s*and\s+", "", piece) for piece in pieces)
    if not colon and any(len(entry.split()) > _MOST_WORDS for entry in entries):
        return []
    return entries


def _entries(found: object) -> list[str]:
    cleaned = (_NOTE.sub("", str(entry)).strip(" \t\n\"'“”‘’`*.,;:!?") for entry in found)  # type: ignore[attr-defined]
    return list(dict.fromkeys(entry for entry in cleaned if re.search(r"\w", entry)))


def _first_quoted(item: str) -> str:
    quoted = re.match(r"[\"“*]+(.+?)[\"”*]", item)
    return quoted[1] if quoted else item


def _without_html(text: str) -> str:
    text = _BREAK_TAG.sub("\n", _BLOCK_TAG.sub("\n", text))
    return re.sub(r"\n{3,}", "\n\n", _INLINE_TAG.sub("", text))


def _unquoted(text: str) -> str:
    close = _QUOTES.get(text[:1])
    return text[1:-1].strip() if close and len(text) > 1 and text.endswith(close) else text
