"""Whatever is written in a ``when``: it is refused with its place, or it says True or False and does nothing else."""

from __future__ import annotations

import ast
import dis
import types
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from weighbridge.decision import BrokerReading, Facts, InProcessReading, LoopReading
from weighbridge.errors import ExpressionError
from weighbridge.policy import FACTS, Expression

KNOWN = Facts(
    name="a",
    weight=50.0,
    payload_bytes=100,
    queue="b",
    priority=-1,
    tags=("a", "x"),
    is_async=True,
    in_process=InProcessReading(running=1, waiting=50, threads_free=0),
    loop=LoopReading(lag_ms=0.5, age_s=0.0),
    broker=BrokerReading(available=True, waiting=1, age_s=0.0),
)
#: Each expression that is accepted is evaluated for each of these: readings unknown, and known.
TRIED = (Facts(), Facts(name="b", weight=1.0, tags=("b",)), KNOWN)
SENSIBLE = (
    "weight >= 50 or (is_async and weight >= 5)",
    "1 < weight <= 50 and not (name == 'a' or queue in ['b', \"x\"])",
    "'a' in tags and loop.lag_ms > .5  # a remark\n or not broker.available",
    "priority not in [-1, 0, 1.5] and in_process.waiting > in_process.running",
    "payload_bytes != 100 or in_process.threads_free == 0 or False",
)

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


def check(source: str) -> bool:
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
    assert {type(result.evaluate(facts)) for facts in TRIED} == {bool}
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


@pytest.mark.parametrize("source", SENSIBLE)
def test_a_sensible_expression_is_accepted_and_harmless(source: str) -> None:
    assert check(source)


def joined(*parts: str | st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*(st.just(part) if isinstance(part, str) else part for part in parts)).map(" ".join)


literals = ["1", "-5", "0.5", "'a'", '"x"', "True", "False"]
operands = st.sampled_from([*FACTS, *literals, "None", "in_process"])
signs = st.sampled_from(["<", "<=", ">", ">=", "==", "!=", "in", "not in", "is", "+", "and", "or"])
lists = st.lists(operands, max_size=3).map(lambda members: f"[{', '.join(members)}]")


@given(source=joined(operands, signs, operands | lists) | joined("not", operands, signs, operands))
def test_a_comparison_of_anything_with_anything_is_refused_or_harmless(source: str) -> None:
    check(source)


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


@given(tree=trees)
def test_any_python_expression_is_refused_or_harmless(tree: ast.expr) -> None:
    try:
        source = ast.unparse(ast.fix_missing_locations(ast.Expression(tree)))
    except ValueError:  # a tree that no source can be written for, such as a backslash in an f-string
        assume(False)
    check(source)


def as_python(source: str, known: Facts) -> object:
    """What Python itself makes of the expression."""

    def space(value: Any) -> Any:
        if not is_dataclass(value):
            return value
        return types.SimpleNamespace(**{each.name: space(getattr(value, each.name)) for each in fields(value)})

    return eval(f"(\n{source}\n)", {"__builtins__": {}}, vars(space(known)))


WORDS_OF_PYTHON = [
    *FACTS, "and", "or", "not", "in", "is", "None", "True", "False", "if", "else", "lambda", "for", "await", "import",
    "__import__('os').system('true')", "eval", "(", ")", "[", "]", "{", "}", ",", ":", ".", "=", "==", "!=", "<", "<=",
    ">", ">=", ":=", "-", "--", "+", "*", "**", "/", "%", "&", "&&", "|", "||", "~", "!", "@", ";", "\\", "#", "'",
    '"', "'a'", '"b"', "'''", "f'{weight}'", "b'x'", "0", "1", "50", "0.5", "1e5", "1e999", "0x1", "007", "1_0", "5j",
    "9" * 400, "\n", "\r", "\t", "\0", "\ufeff", "\u00a0", "\u202e", "\U0001f600", "é", "e\u0301",
    "\N{FULLWIDTH LATIN SMALL LETTER W}eight", "…",
]  # fmt: skip


@given(words=st.lists(st.sampled_from(WORDS_OF_PYTHON), max_size=25), gap=st.sampled_from(["", " "]))
def test_any_words_are_refused_or_harmless(words: list[str], gap: str) -> None:
    source = gap.join(words)
    if check(source) and "\r" not in source:
        assert Expression.parse(source).evaluate(KNOWN) is as_python(source, KNOWN)


@given(source=st.text())
def test_any_text_is_refused_or_harmless(source: str) -> None:
    check(source)


@given(
    source=st.sampled_from(SENSIBLE),
    place=st.integers(0, 200),
    length=st.integers(0, 5),
    patch=st.text(max_size=3) | st.sampled_from(WORDS_OF_PYTHON),
)
def test_a_damaged_expression_is_refused_or_harmless(source: str, place: int, length: int, patch: str) -> None:
    check(source[:place] + patch + source[place + length :])


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
    check(HOSTILE[kind])
