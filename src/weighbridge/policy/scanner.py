"""The words of a ``when`` expression: names, literals and signs, each with its place."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from weighbridge.errors import ExpressionError

#: The longest expression, in characters.
MAX_LENGTH: Final = 2_000
#: The largest number, up or down; a float holds every larger weight or count only roughly.
MAX_NUMBER: Final = 2**53
#: How much of a token an error message repeats, in characters.
LONGEST_SHOWN: Final = 40


class TokenKind(StrEnum):
    """What a token is."""

    NAME = "name"
    KEYWORD = "keyword"
    NUMBER = "number"
    TEXT = "text"
    SIGN = "sign"
    END = "end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One word of an expression, from character ``start`` up to ``stop``; ``value`` is a literal's value."""

    kind: TokenKind
    text: str
    start: int
    stop: int
    value: int | float | str | None = None


_BLANK: Final = re.compile(r"(?:[ \t\r\n\f]+|#[^\r\n]*)*")
_TOKEN: Final = re.compile(
    r"""(?P<number>(?:[0-9](?:_?[0-9])*(?:\.(?:[0-9](?:_?[0-9])*)?)?|\.[0-9](?:_?[0-9])*)
                   (?:[eE][+-]?[0-9](?:_?[0-9])*)?)
      | (?P<text>'[^'\r\n]*'|"[^"\r\n]*")
      | (?P<name>[^\W\d]\w*(?:\.[^\W\d]\w*)*)
      | (?P<sign><=|>=|==|!=|<>|=>|=<|&&|\|\||:=|->|\*\*|//|<<|>>|[-<>()\[\],{}+*/%&|^~!=@:;.?`$])""",
    re.VERBOSE,
)
_NUMBER_GOES_ON: Final = re.compile(r"[\w.]*")
_INTEGER: Final = re.compile(r"[0-9_]+")

_JOIN: Final = "join statements with and, or, not"
_NO_SUM: Final = "a rule does not calculate; compare a fact with the finished number"
_NO_CALL: Final = "a rule compares facts and literals, and nothing else"
_LOST: Final = "something has to stand on both sides of it"
#: What to write in the place of a token that cannot stand where it does.
_INSTEAD: Final = MappingProxyType(
    {
        "&&": "write and",
        "||": "write or",
        "!": "write not, or !=",
        "=": "write == to compare",
        ":=": "write == to compare",
        "is": "write == or !=; for unknown readings a rule has the key unknown, so nothing asks for None",
        "<>": "write !=",
        "=>": "write >=",
        "=<": "write <=",
        **dict.fromkeys(("AND", "And", "OR", "Or", "NOT", "Not", "IN"), "write it in small letters"),
        **dict.fromkeys(("&", "|", "^", "~", "<<", ">>", ","), _JOIN),
        **dict.fromkeys(("+", "-", "*", "/", "%", "**", "//", "@"), _NO_SUM),
        **dict.fromkeys(("[", "{"), "a list can only stand after in"),
        **dict.fromkeys(("(", ".", ":", "lambda", "for", "await", "yield"), _NO_CALL),
        **dict.fromkeys(("and", "or", "in", "==", "!=", "<", "<=", ">", ">="), _LOST),
        **dict.fromkeys(("if", "else"), "write two rules, or join statements with and, or, not"),
        **dict.fromkeys((")", "]", "}"), "remove it, or write what it closes"),
        "not": "write not in front of the whole comparison, or in parentheses",
    }
)

#: Characters that editors and pages put in the place of what was meant.
_MEANT: Final = MappingProxyType(
    {
        "“": '"',
        "”": '"',
        "„": '"',
        "\N{LEFT SINGLE QUOTATION MARK}": "'",
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
        "≥": ">=",
        "≤": "<=",
        "≠": "!=",
        "∧": "and",
        "\N{LOGICAL OR}": "or",
        "¬": "not",
        "\N{MINUS SIGN}": "-",
        "\N{NO-BREAK SPACE}": "a plain space",
    }
)


def scan(source: str) -> tuple[Token, ...]:
    """The tokens of an expression; the last is its end.

    :raises ExpressionError: for an expression that is empty or too long, for a character that none has, and
        for a malformed number or text.
    """
    if len(source) > MAX_LENGTH:
        raise ExpressionError(
            expression=f"{source[:MAX_LENGTH]}…",
            problem=f"the expression has {len(source)} characters, and {MAX_LENGTH} are the most",
            offset=MAX_LENGTH,
            remedy="split it into several rules",
        )
    tokens: list[Token] = []
    place = _blank(source, 0)
    while place < len(source):
        token = _token(source, place)
        tokens.append(token)
        place = _blank(source, token.stop)
    if not tokens:
        raise ExpressionError(
            expression=source,
            problem="the expression is empty",
            offset=0,
            remedy="write a statement about facts, as in weight >= 50",
        )
    end = tokens[-1].stop
    return (*tokens, Token(kind=TokenKind.END, text="", start=end, stop=end))


def one_line(tokens: tuple[Token, ...]) -> str:
    """The expression as it is written, less its line breaks, comments and wider gaps."""
    parts: list[str] = []
    for before, token in zip((None, *tokens), tokens, strict=False):
        wanted = before is not None and before.stop < token.start
        if wanted and before is not None and before.text not in "([" and token.text not in (")", "]", ""):
            parts.append(" ")
        parts.append(token.text)
    return "".join(parts)


def _blank(source: str, place: int) -> int:
    match = _BLANK.match(source, place)
    return place if match is None else match.end()


def _token(source: str, place: int) -> Token:
    match = _TOKEN.match(source, place)
    if match is None:
        raise _no_token(source, place)
    stop = match.end()
    text = match.group()
    match match.lastgroup:
        case "number":
            return _number(source, place, stop)
        case "text":
            if "\\" in text:
                raise ExpressionError(
                    expression=source,
                    problem="a backslash cannot stand in a text",
                    offset=place + text.index("\\"),
                    remedy="texts are taken as they stand, between '…' or \"…\"",
                )
            return Token(kind=TokenKind.TEXT, text=text, start=place, stop=stop, value=text[1:-1])
        case "name":
            if keyword.iskeyword(text):
                return Token(kind=TokenKind.KEYWORD, text=text, start=place, stop=stop)
            if source[stop : stop + 1] in ("'", '"'):
                raise ExpressionError(
                    expression=source,
                    problem=f"a text cannot have the prefix {text}",
                    offset=place,
                    length=len(text),
                    remedy=f"leave out the {text}",
                )
            return Token(kind=TokenKind.NAME, text=text, start=place, stop=stop)
        case _:
            return Token(kind=TokenKind.SIGN, text=text, start=place, stop=stop)


def _number(source: str, start: int, stop: int) -> Token:
    goes_on = _NUMBER_GOES_ON.match(source, stop)
    if goes_on is not None and goes_on.group():
        text = source[start : goes_on.end()]
        raise ExpressionError(
            expression=source,
            problem=f"{cut(text)} is not a number",
            offset=start,
            length=len(text),
            remedy="write numbers as in 50, 0.5 or 1_000, without a unit, and a space after them",
        )
    text = source[start:stop]
    whole = _INTEGER.fullmatch(text) is not None
    if whole and len(text) > 1 and text[0] == "0":
        raise ExpressionError(
            expression=source,
            problem=f"{cut(text)} starts with a zero",
            offset=start,
            length=len(text),
            remedy="write numbers as in 50, 0.5 or 1_000",
        )
    value = int(text) if whole else float(text)
    if value > MAX_NUMBER:
        raise ExpressionError(
            expression=source,
            problem=f"{cut(text)} is too large",
            offset=start,
            length=len(text),
            remedy=f"the largest number is {MAX_NUMBER:_}",
        )
    return Token(kind=TokenKind.NUMBER, text=text, start=start, stop=stop, value=value)


def _no_token(source: str, place: int) -> ExpressionError:
    char = source[place]
    if char in "'\"":
        return ExpressionError(
            expression=source,
            problem="the text does not end",
            offset=place,
            length=len(source) - place,
            remedy=f"close it with {char} on the same line",
        )
    shown = repr(char) if char.isprintable() else f"U+{ord(char):04X}"
    meant = _MEANT.get(char)
    return ExpressionError(
        expression=source,
        problem=f"the character {shown} has no meaning here",
        offset=place,
        remedy=f"write {meant}" if meant else "remove it",
    )


def instead_of(token: Token) -> str:
    """What to write in the place of a token that cannot stand where it does."""
    return _INSTEAD.get(token.text, _JOIN)


def cut(text: str) -> str:
    """``text``, short enough for a message."""
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
