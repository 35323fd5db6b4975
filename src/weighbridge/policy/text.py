"""The text of a policy file while it is loaded: its table, its revision, and errors that point into it."""

from __future__ import annotations

import re
import tomllib
from functools import cached_property
from typing import Any, Final

from weighbridge.errors import PolicyError
from weighbridge.excerpt import marked
from weighbridge.policy.places import Places, Span, locate, without_words
from weighbridge.policy.revision import content_hash

#: How tomllib writes a key: as the tuple of its parts.
_KEY: Final = re.compile(r"\((?:'[^']*'(?:, )?,?)+\)")
_PLACE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
#: What tomllib says, and what to do about it.
_SYNTAX: Final = (
    ("Invalid value", 'put text in quotes, as in lane = "queue"'),
    ("after a statement", "one line holds one key; inside \"…\" write texts as '…'"),
    ("Expected '='", 'a key is followed by =, as in lane = "queue"'),
    ("Duplicate", "a key can stand only once in a table, and every rule starts with [[rule]]"),
    ("Cannot overwrite", "a key can stand only once in a table, and every rule starts with [[rule]]"),
    ("Cannot declare", "a table can stand only once; every rule starts with [[rule]], in two brackets"),
    ("string", "close it with the same quote on the same line"),
    ("Illegal character", "close texts with the same quote on the same line"),
    ("Expected ']", "a line in brackets is [otherwise], [[rule]] or [[example]]"),
    ("inline table", "a table in { … } stands on one line, with commas between its keys"),
)
#: What it says of a key only when it has read the value too.
_ABOUT_A_KEY: Final = ("Cannot overwrite", "Cannot mutate", "Cannot redefine", "Duplicate")
_SMALLEST: Final = 'the smallest policy is schema = 1, [otherwise], lane = "in_process", each on its own line'
#: Where what tomllib gives no place for stands.
_DEEP: Final = re.compile(r"(?:[\[{][^\]}\n]{0,40}?){30}")
_LONG_NUMBER: Final = re.compile(r"[\d_]{1000,}")


class PolicyText:
    """The text of one policy file. ``source`` is how messages call the file."""

    def __init__(self, text: str, *, source: str) -> None:
        self.text = text
        self.source = source

    @cached_property
    def places(self) -> Places:
        """Where in the text its keys and values stand; only an error asks for it."""
        return locate(self.text)

    def revision(self, base: str = "") -> str:
        """The revision of a policy with this text, on top of the revision of its base, if it has one."""
        return content_hash(self.text + base)

    def error(self, span: Span, *, problem: str, remedy: str, where: str = "", excerpt: str = "") -> PolicyError:
        """An error with the line of a place, its words, and carets under it (or an excerpt that is given)."""
        return PolicyError(
            source=self.source,
            where=f"line {self.places.line(span)}" + (f", {where}" if where else ""),
            problem=problem,
            remedy=remedy,
            excerpt=excerpt or marked(self.places.text, offset=span.offset, length=span.length),
        )

    def table(self) -> dict[str, Any]:
        """What the TOML says.

        :raises PolicyError: if it is not TOML, or says nothing.
        """
        try:
            table = tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            raise _syntax_error(self.text, str(error), self.source) from None
        except RecursionError:
            problem, remedy = "brackets are nested too deep", "a policy needs no more than two"
            raise self.error(self._found(_DEEP), problem=problem, remedy=remedy) from None
        except ValueError:  # the other thing that tomllib leaves to int()
            problem, remedy = "a number has thousands of digits", "write a shorter one"
            raise self.error(self._found(_LONG_NUMBER), problem=problem, remedy=remedy) from None
        if not table and self.text.strip():
            raise self.error(Span(0), problem="it is empty", remedy=_SMALLEST)
        if not table:
            raise PolicyError(source=self.source, where="line 1", problem="it is empty", remedy=_SMALLEST)
        return table

    def _found(self, pattern: re.Pattern[str]) -> Span:
        found = pattern.search(without_words(self.places.text))
        return Span(found.start(), len(found.group())) if found is not None else Span(0)


def _syntax_error(text: str, message: str, source: str) -> PolicyError:
    text = text.replace("\r\n", "\n")  # as tomllib counts
    place = _PLACE.search(message)
    problem = _KEY.sub(lambda key: ".".join(re.findall(r"'([^']*)'", key[0])), _PLACE.sub("", message))
    if place is not None and place[1]:
        line, column = int(place[1]), int(place[2])
        offset = sum(len(each) + 1 for each in text.split("\n")[: line - 1]) + column - 1
    else:
        offset = len(text.rstrip())
    span = Span(offset)
    if message.startswith(_ABOUT_A_KEY):
        span = locate(text).key_before(offset) or span
    line, column = text.count("\n", 0, span.offset) + 1, span.offset - text.rfind("\n", 0, span.offset)
    return PolicyError(
        source=source,
        where=f"line {line}, column {column}",
        problem=f"it is not TOML: {problem[:1].lower()}{problem[1:]}",
        excerpt=marked(text, offset=span.offset, length=span.length),
        remedy=next((remedy for part, remedy in _SYNTAX if part in problem), "see https://toml.io"),
    )
