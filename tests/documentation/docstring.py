"""A docstring of ours as Markdown: reStructuredText fields, roles and literals become lists and code."""

from __future__ import annotations

import inspect
import re
import textwrap

_ROLE = re.compile(r":\w+:`~?\.?([^`]+)`")
_LITERAL = re.compile(r"``([^`]+)``")
_FIELD = re.compile(r"^:(?P<kind>param|raises|returns)(?: (?P<name>[^:]+))?: ?(?P<text>.*)$")

#: Above a code block: the words by which the tests know that it does not run.
NOT_RUN = "a fragment of a docstring"


def markdown_of(described: object) -> str:
    """The docstring of an object, as Markdown; fields become lists below the text.

    :raises ValueError: if there is none: what is in the reference has to be described.
    """
    text = inspect.getdoc(described)
    if not text:
        raise ValueError(f"{described!r} has no docstring")
    body, fields = _parted(text)
    parts = [_paragraphs(body)]
    for kind, heading in (("param", ""), ("returns", "Returns "), ("raises", "Raises:")):
        found = [(name, words) for each, name, words in fields if each == kind]
        if kind == "returns" and found:
            parts.append(heading + inline(found[0][1]))
        elif found:
            lines = [f"- {_names(name)}{_joined(kind)}{inline(words)}" for name, words in found]
            parts.append("\n".join([*([heading, ""] if heading else []), *lines]))
    return "\n\n".join(part for part in parts if part)


def summary_of(described: object) -> str:
    """The docstring's first paragraph on one line."""
    text = inspect.getdoc(described)
    if not text:
        raise ValueError(f"{described!r} has no docstring")
    return inline(" ".join(text.split("\n\n")[0].split()))


def inline(text: str) -> str:
    """Roles and literals of one paragraph as code."""
    return _LITERAL.sub(r"`\1`", _ROLE.sub(lambda found: f"`{found[1]}`", " ".join(text.split())))


def _joined(kind: str) -> str:
    return ": " if kind == "param" else " "


def _names(name: str) -> str:
    return ", ".join(f"`{part.strip()}`" for part in name.split(","))


def _parted(text: str) -> tuple[str, list[tuple[str, str, str]]]:
    """The text before the fields, and the fields: kind, name, text."""
    body: list[str] = []
    fields: list[tuple[str, str, str]] = []
    for line in text.splitlines():
        found = _FIELD.match(line)
        if found:
            fields.append((found["kind"], found["name"] or "", found["text"]))
        elif fields and line.startswith(" "):
            kind, name, words = fields[-1]
            fields[-1] = (kind, name, f"{words} {line.strip()}")
        else:
            body.append(line)
    return "\n".join(body), fields


def _paragraphs(body: str) -> str:
    """Paragraphs on one line each; what follows ``::`` is code."""
    shown: list[str] = []
    code_follows = False
    for paragraph in re.split(r"\n\s*\n", body.strip("\n")):
        if code_follows and paragraph.startswith(" "):
            shown += [f"<!-- not run: {NOT_RUN} -->", f"```python\n{textwrap.dedent(paragraph).rstrip()}\n```"]
            continue
        code_follows = paragraph.rstrip().endswith("::")
        text = paragraph.rstrip()[:-1] if code_follows else paragraph
        if text.lstrip().startswith("* "):
            items = re.split(r"\n?\* ", text)
            shown.append("\n".join(f"- {inline(item)}" for item in items if item.strip()))
        else:
            shown.append(inline(text))
    return "\n\n".join(part for part in shown if part).replace("-->\n\n```", "-->\n```")
