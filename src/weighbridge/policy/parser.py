"""The grammar of ``when`` expressions: from tokens to a statement whose every comparison makes sense."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from weighbridge.errors import ExpressionError
from weighbridge.policy.fact import FACTS, GROUPS, Fact, Kind, remedy_for
from weighbridge.policy.scanner import Token, TokenKind, cut, instead_of
from weighbridge.policy.statement import (
    IN,
    SIGNS,
    And,
    Comparison,
    Literal,
    Membership,
    Not,
    Operand,
    Or,
    Statement,
)

#: How deep parentheses may be nested; each costs the parser and Python's compiler some stack.
MAX_DEPTH: Final = 20

_CLOSING: Final = MappingProxyType({"[": "]", "(": ")", "{": "}"})
_LITERALS: Final = MappingProxyType({"True": True, "False": False})
_EXAMPLES: Final = MappingProxyType(
    {
        Kind.NUMBER: "compare it, as in {} >= 50",
        Kind.TEXT: "compare it, as in {} == 'mail'",
        Kind.TAGS: "ask for one tag, as in 'billing' in {}",
        Kind.FLAG: "",  # a flag is a statement already
    }
)
_ONE_TAG: Final = "ask for one tag, as in 'billing' in tags"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A piece of the expression and its place, in characters."""

    value: Operand | Statement
    start: int
    stop: int


class Parser:
    """One pass over the tokens of one expression. ``statement`` is the whole."""

    def __init__(self, source: str, tokens: Sequence[Token]) -> None:
        self._source = source
        self._tokens = tokens
        self._next = 0
        self._depth = 0

    def statement(self) -> Statement:
        """The statement that the tokens make.

        :raises ExpressionError: at the first place that makes no sense.
        """
        whole = self._either()
        if self._token.kind is not TokenKind.END:
            raise self._unexpected()
        return self._stated(whole)

    # -- or, and, not, in the order in which Python binds them --

    def _either(self) -> Part:
        parts = [self._both()]
        while self._take("or"):
            parts.append(self._both())
        if len(parts) == 1:
            return parts[0]
        value = Or(parts=tuple(self._stated(part) for part in parts))
        return Part(value=value, start=parts[0].start, stop=parts[-1].stop)

    def _both(self) -> Part:
        parts = [self._negation()]
        while self._take("and"):
            parts.append(self._negation())
        if len(parts) == 1:
            return parts[0]
        value = And(parts=tuple(self._stated(part) for part in parts))
        return Part(value=value, start=parts[0].start, stop=parts[-1].stop)

    def _negation(self) -> Part:
        start = self._token.start
        count = 0
        while self._take("not"):
            count += 1
        part = self._comparison()
        if not count:
            return part
        stated = self._stated(part)
        return Part(value=Not(part=stated) if count % 2 else stated, start=start, stop=part.stop)

    # -- comparisons --

    def _comparison(self) -> Part:
        """Operands and signs. A chain says what its links say: ``1 < weight < 5`` is two comparisons."""
        first = left = self._primary()
        links: list[Statement] = []
        while True:
            sign = self._token
            if self._take(*SIGNS):
                right = self._primary()
                links.append(self._compared(left, sign, right))
                left = right
            elif self._take("in"):
                left = self._contained(left)
                links.append(self._stated(left))
            elif sign.text == "not" and self._tokens[self._next + 1].text == "in":
                self._next += 2
                left = self._contained(left)
                links.append(Not(part=self._stated(left)))
            else:
                break
        if not links:
            return first
        value = links[0] if len(links) == 1 else And(parts=tuple(links))
        return Part(value=value, start=first.start, stop=left.stop)

    def _compared(self, left: Part, sign: Token, right: Part) -> Statement:
        one, other = self._operand(left), self._operand(right)
        if Kind.TAGS in (one.kind, other.kind):
            raise self._error("tags cannot be compared", _ONE_TAG, left.start, right.stop)
        if one.kind is not other.kind:
            raise self._error(
                f"{self._shown(left)} is {one.kind}, and {self._shown(right)} is {other.kind}",
                "only values of one kind can be compared",
                left.start,
                right.stop,
            )
        if SIGNS[sign.text].orders and one.kind is not Kind.NUMBER:
            problem = f"{sign.text} compares numbers, and {self._shown(left)} is {one.kind}"
            raise self._error(problem, "write == or !=", sign.start, sign.stop)
        return Comparison(left=one, sign=SIGNS[sign.text], right=other)

    def _contained(self, left: Part) -> Part:
        item = self._operand(left)
        if item.kind is Kind.TAGS:
            raise self._error("tags cannot be looked for", _ONE_TAG, left.start, left.stop)
        if self._token.text in _CLOSING:
            return self._listed(left, item)
        right = self._primary()
        container = self._operand(right)
        if container.kind is not Kind.TAGS:
            raise self._error(
                f"in needs a list, and {self._shown(right)} is {container.kind}",
                "write the list out, as in queue in ['mail', 'heavy']",
                right.start,
                right.stop,
            )
        if item.kind is not Kind.TEXT:
            problem = f"a tag is text, and {self._shown(left)} is {item.kind}"
            raise self._error(problem, _ONE_TAG, left.start, left.stop)
        return Part(value=Comparison(left=item, sign=IN, right=container), start=left.start, stop=right.stop)

    def _listed(self, left: Part, item: Operand) -> Part:
        """``item`` in the literals between brackets, which are of its kind."""
        opening = self._token
        closing = _CLOSING[opening.text]
        self._next += 1
        members: list[Literal] = []
        comma = True
        while self._token.text != closing:
            if not comma:
                raise self._unexpected(f"put a comma between the values of a list, and {closing} at its end")
            part = self._primary()
            member = self._operand(part)
            if member.literal is None:
                problem = f"{self._shown(part)} is a fact, and a list holds literals"
                raise self._error(problem, "compare the two facts with ==", part.start, part.stop)
            if member.kind is not item.kind:
                problem = f"{self._shown(left)} is {item.kind}, and {self._shown(part)} is {member.kind}"
                raise self._error(problem, "a list holds what can be equal to it", part.start, part.stop)
            members.append(member.literal)
            comma = self._take(",")
        stop = self._token.stop
        self._next += 1
        if not members:
            raise self._error("the list is empty", "write its values", opening.start, stop)
        if opening.text == "(" and not comma and len(members) == 1:
            raise self._error("one value in parentheses is no list", "write it in [ ]", opening.start, stop)
        return Part(value=Membership(item=item, members=tuple(members)), start=left.start, stop=stop)

    def _primary(self) -> Part:
        """A fact, a literal, or something in parentheses."""
        token = self._token
        if token.text == "(":
            return self._parenthesised(token)
        if token.text == "-":
            number = self._tokens[self._next + 1]
            if isinstance(number.value, int | float):
                self._next += 2
                return Part(value=Operand(literal=-number.value), start=token.start, stop=number.stop)
        if token.value is not None:
            operand = Operand(literal=token.value)
        elif token.text in _LITERALS:
            operand = Operand(literal=_LITERALS[token.text])
        elif token.kind is TokenKind.NAME or token.text == "None":
            operand = Operand(fact=self._fact(token))
        else:
            raise self._unexpected()
        self._next += 1
        return Part(value=operand, start=token.start, stop=token.stop)

    def _fact(self, token: Token) -> Fact:
        fact = FACTS.get(token.text)
        if fact is None:
            problem = f"{token.text} has parts" if token.text in GROUPS else f"there is no fact {cut(token.text)!r}"
            raise self._error(problem, remedy_for(token.text), token.start, token.stop)
        return fact

    def _parenthesised(self, opening: Token) -> Part:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            problem = f"parentheses are nested more than {MAX_DEPTH} deep"
            raise self._error(problem, "split it into several rules", opening.start, opening.stop)
        self._next += 1
        inside = self._either()
        closing = self._token
        if closing.kind is TokenKind.END:
            problem, remedy = "the parenthesis is not closed", "write ) where it ends"
            raise self._error(problem, remedy, opening.start, opening.stop)
        if not self._take(")"):
            raise self._unexpected()
        self._depth -= 1
        return Part(value=inside.value, start=opening.start, stop=closing.stop)

    # -- the places --

    @property
    def _token(self) -> Token:
        return self._tokens[self._next]

    def _take(self, *texts: str) -> bool:
        """Go past the next token if it is one of ``texts``. (A text literal is none: it has its quotes.)"""
        if self._token.text in texts:
            self._next += 1
            return True
        return False

    def _stated(self, part: Part) -> Statement:
        """The piece as a statement: a flag that stands alone is one."""
        if not isinstance(part.value, Operand):
            return part.value
        kind = part.value.kind
        if kind is not Kind.FLAG:
            shown = self._shown(part)
            remedy = "compare a fact with it" if part.value.fact is None else _EXAMPLES[kind].format(shown)
            raise self._error(f"{shown} is {kind}, and not a statement", remedy, part.start, part.stop)
        return Comparison(left=part.value, sign=SIGNS["=="], right=Operand(literal=True))

    def _operand(self, part: Part) -> Operand:
        """The piece as one side of a comparison."""
        if not isinstance(part.value, Operand):
            raise self._error(
                f"{self._shown(part)} is a statement, and only facts and literals can be compared",
                "join statements with and, or, not",
                part.start,
                part.stop,
            )
        return part.value

    def _shown(self, part: Part) -> str:
        return cut(" ".join(self._source[part.start : part.stop].split()))

    def _error(self, problem: str, remedy: str, start: int, stop: int) -> ExpressionError:
        return ExpressionError(
            expression=self._source, problem=problem, offset=start, length=stop - start, remedy=remedy
        )

    def _unexpected(self, remedy: str | None = None) -> ExpressionError:
        token = self._token
        if token.kind is TokenKind.END:
            before = self._tokens[self._next - 1].text
            remedy = remedy or f"write what follows {before}"
            return self._error(f"the expression ends after {cut(before)}", remedy, token.start, token.stop)
        remedy = remedy or instead_of(token)
        return self._error(f"{cut(token.text)} cannot stand here", remedy, token.start, token.stop)
