"""Whatever is written in a ``when``: it is refused with its place, or it says True or False and does nothing else."""

from __future__ import annotations

import ast
import dis
import types
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from weighbridge.decision import BrokerReading, Facts, InProcessReading, LoopReading
from weighbridge.errors import ExpressionError
from weighbridge.policy import FACTS, Expression
from weighbridge.policy.fact import Kind

# -- facts --------------------------------------------------------------------------------------------------

WORDS = ("mail", "heavy", "app.render", "a  b", "#", "日本", "")
counts = st.integers(0, 5) | st.integers(0, 2**60)
amounts = st.integers(0, 100).map(float) | st.floats(0, 1e9)
texts = st.sampled_from(WORDS)


def facts(*, unknown: bool = True) -> st.SearchStrategy[Facts]:
    """Any valid facts; ``unknown``: with readings that may be unknown."""

    def reading(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return values | st.none() if unknown else values

    return st.builds(
        Facts,
        name=texts,
        weight=amounts,
        payload_bytes=reading(counts),
        queue=texts,
        priority=st.integers(-5, 5),
        tags=st.lists(texts, max_size=3).map(tuple),
        is_async=st.booleans(),
        in_process=st.builds(InProcessReading, running=counts, waiting=counts, threads_free=reading(counts)),
        loop=st.builds(LoopReading, lag_ms=reading(amounts)),
        broker=st.builds(
            BrokerReading,
            available=reading(st.booleans()),
            waiting=reading(counts),
            age_s=reading(amounts),
        ),
    )


def by_name(given_facts: Facts) -> dict[str, object]:
    """Facts by their dotted names."""
    values: dict[str, object] = {}
    for name in FACTS:
        value: object = given_facts
        for part in name.split("."):
            value = getattr(value, part)
        values[name] = value
    return values


# -- expressions that make sense ----------------------------------------------------------------------------

numbers = (st.integers(-5, 60) | st.floats(-5, 1e9)).map(repr)
quoted = texts.map(lambda text: f"'{text}'")
flags = st.sampled_from(["True", "False"])
LITERALS = {Kind.NUMBER: numbers, Kind.TEXT: quoted, Kind.FLAG: flags}


def names_of(kind: Kind) -> st.SearchStrategy[str]:
    return st.sampled_from([fact.name for fact in FACTS.values() if fact.kind is kind])


def listed(kind: Kind) -> st.SearchStrategy[str]:
    return st.lists(LITERALS[kind], min_size=1, max_size=4).map(lambda members: f"[{', '.join(members)}]")


def joined(*parts: str | st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*(st.just(part) if isinstance(part, str) else part for part in parts)).map(" ".join)


def comparisons() -> st.SearchStrategy[str]:
    orders = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
    equals = st.sampled_from(["==", "!="])
    within = st.sampled_from(["in", "not in"])
    either = {kind: names_of(kind) | LITERALS[kind] for kind in LITERALS}
    return st.one_of(
        names_of(Kind.FLAG),
        joined(either[Kind.NUMBER], orders, either[Kind.NUMBER]),
        joined(either[Kind.NUMBER], orders, either[Kind.NUMBER], orders, either[Kind.NUMBER]),
        joined(either[Kind.NUMBER], orders, names_of(Kind.NUMBER), within, listed(Kind.NUMBER)),
        joined(either[Kind.TEXT], equals, either[Kind.TEXT]),
        joined(either[Kind.FLAG], equals, either[Kind.FLAG]),
        *(joined(either[kind], within, listed(kind)) for kind in LITERALS),
        joined(either[Kind.TEXT], within, names_of(Kind.TAGS)),
        flags,
    )


gaps = st.sampled_from([" ", "\n\t", "  # a remark\n"])
sensible = st.recursive(
    comparisons(),
    lambda inner: st.one_of(
        joined("not (", inner, ")"),
        joined("not not (", inner, ")"),
        joined("(", inner, gaps, "and", gaps, inner, ")"),
        joined("(", inner, gaps, "or", gaps, inner, ")"),
        joined("(", inner, ")", "and not (", inner, ") or (", inner, ")"),
    ),
    max_leaves=6,
).filter(lambda source: len(source) <= 2_000)


def as_python(source: str, known: Facts) -> object:
    """What Python itself makes of the expression."""

    def space(value: Any) -> Any:
        if not is_dataclass(value):
            return value
        return types.SimpleNamespace(**{each.name: space(getattr(value, each.name)) for each in fields(value)})

    return eval(f"(\n{source}\n)", {"__builtins__": {}}, vars(space(known)))


@settings(max_examples=500)
@given(source=sensible, known=facts(unknown=False))
def test_an_expression_means_what_it_means_in_python(source: str, known: Facts) -> None:
    assert Expression.parse(source).evaluate(known) is as_python(source, known)


@given(source=sensible, partly=facts(), fully=facts(unknown=False))
def test_what_matches_with_unknown_readings_matches_whatever_they_turn_out_to_be(
    source: str, partly: Facts, fully: Facts
) -> None:
    expression = Expression.parse(source)
    filled = fill(partly, fully)
    for each in (expression, Expression.parse(f"not ({source})")):
        if each.evaluate(partly):
            assert each.evaluate(filled)


def fill(partly: Facts, fully: Facts) -> Facts:
    """``partly``, with the unknown readings taken from ``fully``."""

    def filled(one: Any, other: Any) -> Any:
        if one is None:
            return other
        if not is_dataclass(one):
            return one
        changes = {each.name: filled(getattr(one, each.name), getattr(other, each.name)) for each in fields(one)}
        return replace(one, **changes)  # type: ignore[type-var]  # an instance: only those have values

    result: Facts = filled(partly, fully)
    return result


@given(source=sensible, some=facts(), known=st.sets(st.sampled_from(sorted(FACTS))))
def test_what_an_expression_can_come_out_as_holds_for_all_facts(source: str, some: Facts, known: set[str]) -> None:
    expression = Expression.parse(source)
    values = by_name(some)
    assert expression.evaluate(some) in expression.possible({name: values[name] for name in known})
    assert expression.possible(values) == {expression.evaluate(some)}


@given(source=sensible, some=facts(), other=facts())
def test_facts_that_an_expression_does_not_name_make_no_difference(source: str, some: Facts, other: Facts) -> None:
    expression = Expression.parse(source)
    tops = {name.partition(".")[0] for name in expression.reads}
    changed = replace(some, **{each.name: getattr(other, each.name) for each in fields(Facts) if each.name not in tops})
    assert expression.evaluate(changed) is expression.evaluate(some)


@given(source=sensible, some=facts())
def test_an_expression_on_one_line_is_the_same_expression(source: str, some: Facts) -> None:
    expression = Expression.parse(source)
    again = Expression.parse(expression.text)
    assert "\n" not in expression.text
    assert again.text == expression.text
    assert again.evaluate(some) is expression.evaluate(some)


# -- expressions that make none -----------------------------------------------------------------------------

SAFE = (
    "RESUME",
    "LOAD_SMALL_INT",
    "LOAD_FAST",
    "LOAD_CONST",
    "LOAD_ATTR",
    "COMPARE_OP",
    "CONTAINS_OP",
    "IS_OP",
    "TO_BOOL",
)
STEERING = ("POP_", "JUMP_", "COPY", "RETURN_", "UNARY_NOT", "CACHE", "NOP", "EXTENDED_ARG", "NOT_TAKEN", "SWAP")
PARTS = {part for name in FACTS for part in name.split(".")}


def attempt(source: str) -> Expression | ExpressionError:
    try:
        return Expression.parse(source)
    except ExpressionError as error:
        return error


def check(source: str, some: Facts) -> bool:
    """Whether the source is an expression; then it is harmless, and else the place is in it."""
    result = attempt(source)
    if isinstance(result, ExpressionError):
        assert 0 <= result.offset <= len(source)
        assert result.length >= 0
        assert result.problem
        assert result.remedy
        assert result.excerpt.count("\n") == 1
        assert result.excerpt.splitlines()[0].isprintable()
        return False
    assert type(result.evaluate(some)) is bool
    harmless(result.evaluate)
    assert result.reads <= set(FACTS)
    assert result.possible({}) <= {True, False}
    return True


def harmless(compiled: Callable[[Facts], bool]) -> None:
    """Nothing is called, made, stored or looked up but facts."""
    assert isinstance(compiled, types.FunctionType)
    assert compiled.__globals__.keys() <= {"__builtins__"}
    assert not compiled.__globals__["__builtins__"]
    assert set(compiled.__code__.co_names) <= PARTS
    assert {type(constant) for constant in compiled.__code__.co_consts} <= {
        int, float, str, bool, frozenset, tuple, type(None),
    }  # fmt: skip
    for instruction in dis.get_instructions(compiled):
        assert instruction.opname.startswith((*SAFE, *STEERING)), instruction.opname


@given(source=sensible, some=facts())
def test_sensible_expressions_are_accepted_and_harmless(source: str, some: Facts) -> None:
    assert check(source, some)


operands = st.one_of(st.sampled_from([*FACTS, "None", "in_process"]), numbers, quoted, flags)
signs = st.sampled_from(["<", "<=", ">", ">=", "==", "!=", "in", "not in", "is", "+", "and", "or"])
lists = st.lists(operands, max_size=3).map(lambda members: f"[{', '.join(members)}]")


@given(source=joined(operands, signs, operands | lists) | joined("not", operands, signs, operands), some=facts())
def test_a_comparison_of_anything_with_anything_is_refused_or_harmless(source: str, some: Facts) -> None:
    check(source, some)


identifiers = st.sampled_from(
    [*(name for name in FACTS if "." not in name), "in_process", "loop", "broker", "os", "__import__", "eval", "facts"]
)
attributes = st.sampled_from(["waiting", "lag_ms", "available", "__class__", "__globals__", "real", "x"])
constants = st.one_of(
    st.integers(), st.floats(), st.booleans(), st.none(), st.text(max_size=5), st.binary(max_size=3),
    st.complex_numbers(), st.just(...), st.integers(min_value=10**30),
)  # fmt: skip
LOAD = ast.Load()
SIGNS = st.sampled_from(
    [ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn, ast.Is, ast.IsNot]
).map(lambda sign: sign())
SUMS = st.sampled_from([ast.Add, ast.Sub, ast.Mult, ast.Pow, ast.MatMult, ast.BitAnd, ast.LShift]).map(
    lambda sign: sign()
)
PARAMETERS = ast.arguments(posonlyargs=[], args=[ast.arg("x")], kwonlyargs=[], kw_defaults=[], defaults=[])


def any_node(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Every kind of expression that Python has."""
    several = st.lists(inner, min_size=1, max_size=3)

    def loop(source: Any, condition: Any) -> list[ast.comprehension]:
        return [ast.comprehension(target=ast.Name("x", ast.Store()), iter=source, ifs=[condition], is_async=0)]

    return st.one_of(
        st.builds(ast.BoolOp, st.sampled_from([ast.And(), ast.Or()]), st.lists(inner, min_size=2, max_size=3)),
        st.builds(ast.UnaryOp, st.sampled_from([ast.Not(), ast.USub(), ast.UAdd(), ast.Invert()]), inner),
        st.tuples(inner, st.lists(st.tuples(SIGNS, inner), min_size=1, max_size=3)).map(
            lambda part: ast.Compare(part[0], [sign for sign, _ in part[1]], [other for _, other in part[1]])
        ),
        st.builds(ast.BinOp, inner, SUMS, inner),
        st.builds(lambda value, name: ast.Attribute(value, name, LOAD), inner, attributes),
        st.builds(lambda value, index: ast.Subscript(value, index, LOAD), inner, inner),
        st.builds(lambda function, values: ast.Call(function, values, []), inner, several),
        st.builds(lambda values: ast.List(values, LOAD), several),
        st.builds(lambda values: ast.Tuple(values, LOAD), several),
        st.builds(ast.Set, several),
        st.builds(lambda key, value: ast.Dict([key], [value]), inner, inner),
        st.builds(lambda body: ast.Lambda(PARAMETERS, body), inner),
        st.builds(ast.IfExp, inner, inner, inner),
        st.builds(lambda value: ast.NamedExpr(ast.Name("x", ast.Store()), value), inner),
        st.builds(lambda value, source, test: ast.ListComp(value, loop(source, test)), inner, inner, inner),
        st.builds(lambda value, source, test: ast.GeneratorExp(value, loop(source, test)), inner, inner, inner),
        st.builds(lambda value: ast.JoinedStr([ast.FormattedValue(value, -1)]), inner),
        st.builds(lambda value: ast.Starred(value, LOAD), inner),
        st.builds(ast.Await, inner),
        st.builds(ast.Yield, inner),
    )


leaves = identifiers.map(lambda name: ast.Name(name, LOAD)) | constants.map(ast.Constant)
trees = st.recursive(leaves, any_node, max_leaves=12)


@given(tree=trees, some=facts())
def test_any_python_expression_is_refused_or_harmless(tree: ast.expr, some: Facts) -> None:
    try:
        source = ast.unparse(ast.fix_missing_locations(ast.Expression(tree)))
    except ValueError:  # a tree that no source can be written for, such as a backslash in an f-string
        assume(False)
    check(source, some)


WORDS_OF_PYTHON = [
    *FACTS, "and", "or", "not", "in", "is", "None", "True", "False", "if", "else", "lambda", "for", "await", "import",
    "__import__('os').system('true')", "eval", "(", ")", "[", "]", "{", "}", ",", ":", ".", "=", "==", "!=", "<", "<=",
    ">", ">=", ":=", "-", "--", "+", "*", "**", "/", "%", "&", "&&", "|", "||", "~", "!", "@", ";", "\\", "#", "'",
    '"', "'a'", '"b"', "'''", "f'{weight}'", "b'x'", "0", "1", "50", "0.5", "1e5", "1e999", "0x1", "007", "1_0", "5j",
    "9" * 400, "\n", "\r", "\t", "\0", "\ufeff", "\u00a0", "\u202e", "\U0001f600", "é", "e\u0301",
    "\N{FULLWIDTH LATIN SMALL LETTER W}eight", "…",
]  # fmt: skip


@given(words=st.lists(st.sampled_from(WORDS_OF_PYTHON), max_size=25), gap=st.sampled_from(["", " "]), some=facts())
def test_any_words_are_refused_or_harmless(words: list[str], gap: str, some: Facts) -> None:
    source = gap.join(words)
    if check(source, some) and "\r" not in source:
        known = fill(some, KNOWN)
        assert Expression.parse(source).evaluate(known) is as_python(source, known)


@given(source=st.text(), some=facts())
def test_any_text_is_refused_or_harmless(source: str, some: Facts) -> None:
    check(source, some)


@given(
    source=sensible,
    place=st.integers(0, 200),
    length=st.integers(0, 5),
    patch=st.text(max_size=3) | st.sampled_from(WORDS_OF_PYTHON),
    some=facts(),
)
def test_a_damaged_expression_is_refused_or_harmless(
    source: str, place: int, length: int, patch: str, some: Facts
) -> None:
    check(source[:place] + patch + source[place + length :], some)


KNOWN = Facts(
    payload_bytes=100,
    in_process=InProcessReading(threads_free=3),
    loop=LoopReading(lag_ms=2.5),
    broker=BrokerReading(available=True, waiting=4, age_s=0.5),
)


HOSTILE = {
    "parentheses": "(" * 1_999,
    "brackets": "[" * 1_999,
    "minuses": "-" * 1_999 + "1",
    "tildes": "~" * 1_999 + "1",
    "nots": "not " * 499,
    "nots of a number": "not " * 499 + "1",
    "nots of a flag": "not " * 497 + "is_async",
    "digits": "1" * 2_000,
    "digits and a power": "9" * 1_990 + "e9",
    "underscores": "0_" * 900,
    "points": "1." * 1_000,
    "a chain": "weight<" * 285 + "1",
    "subscripts": "weight" + "[0]" * 600,
    "attributes": "weight" + ".real" * 350,
    "attributes of nothing": "a." * 900,
    "calls": "weight" + "()" * 900,
    "lambdas": "lambda:" * 285 + "1",
    "ands in parentheses": "is_async and (" * 140 + "True" + ")" * 20,
    "ands and nots in parentheses": "(is_async and not (" * 10 + "True" + "))" * 10,
    "ors": "is_async or " * 150 + "True",
    "a list": "weight in [" + "1," * 900 + "]",
    "quotes": "'" * 1_999,
    "remarks": "#" * 2_000,
    "blanks": " " * 2_000,
    "lines": "\n" * 2_000,
    "letters beyond the first plane": "\N{MATHEMATICAL BOLD SCRIPT SMALL W}" * 2_000,
    "ten million letters": "x" * 10_000_000,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_source_that_is_long_or_deep_is_refused_or_harmless(kind: str) -> None:
    check(HOSTILE[kind], KNOWN)
