"""The pages, and the schema, that are made from the code: ``python -m tests.documentation.generate`` writes them."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_overloads

import click
from tests.documentation.blocks import ROOT
from tests.documentation.docstring import markdown_of, summary_of
from tests.documentation.policy_tables import with_tables

import weighbridge
from weighbridge import errors
from weighbridge.background.facade import BackgroundTasks
from weighbridge.background.options_view import OptionsView
from weighbridge.background.outside import OutsideTasks
from weighbridge.cli.group import COMMANDS, command
from weighbridge.declaration import task
from weighbridge.errors import WeighbridgeError
from weighbridge.lanes.in_process import CallFailure, InProcessCounts
from weighbridge.load.loop_blocks import LoopBlocks
from weighbridge.policy import policy_schema
from weighbridge.policy.change import Change
from weighbridge.policy.explanation import TriedRule
from weighbridge.settings import Settings
from weighbridge.settings_fault import PREFIX
from weighbridge.shadow import Shadow, ShadowCount

REFERENCE = ROOT / "docs" / "reference"
NOTICE = "<!-- made by `python -m tests.documentation.generate`; change the code, not this page -->"


# -- settings -----------------------------------------------------------------------------------------------


def settings_page() -> str:
    rows = "\n".join(_setting(name, field) for name, field in Settings.model_fields.items())
    return f"""{NOTICE}

# Settings

Each setting can be given in three places. The first that has it wins:

1. an argument: `Dispatcher(in_process_threads=4)`;
2. the environment: `{PREFIX}IN_PROCESS_THREADS=4`;
3. `pyproject.toml`, in the current folder or up to three above it:

    ```toml
    [tool.weighbridge]
    policy = "by-weight"
    in_process_threads = 4
    modules = ["app.tasks", "app.billing"]
    ```

Nothing is ever ignored: a misspelt `{PREFIX}*` variable, an unknown key, or a value that a setting cannot have is a
[`SettingsError`](errors.md#settingserror) with a suggestion. Keep a `broker_url` with a password in the environment.

A `pyproject.toml` that cannot be read is an error too, with its path and the place; in a folder that this process
may not enter it counts as not there. Errors are also the
variables (`…_PORT`, `…_SERVICE_HOST`) that Kubernetes sets in each pod beside a Service named `weighbridge` or
`weighbridge-…`: put `enableServiceLinks: false` into the pod's spec, or give the Service another name.

| setting | takes | default | meaning |
|---|---|---|---|
{rows}

The variable of a setting is its name in capitals after `{PREFIX}`: `{PREFIX}BROKER_URL`, `{PREFIX}DRAIN_TIMEOUT_S`.
"""


def _setting(name: str, field: Any) -> str:
    default = field.default
    shown = "none" if default in (None, ()) else str(default).lower() if isinstance(default, bool) else str(default)
    shown = shown if shown == "none" else f"`{shown}`"
    return f"| `{name}` | {_takes(name, field)} | {shown} | {field.description} |"


def _takes(name: str, field: Any) -> str:
    kinds = [kind for kind in (get_args(field.annotation) or (field.annotation,)) if kind is not NoneType]
    kind = kinds[0]
    if get_origin(field.annotation) is tuple:
        return "names"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(f"`{member.value}`" for member in kind)
    if kind is bool:
        return "`true`, `false`"
    words = {
        int: "a whole number",
        float: "seconds" if name.endswith("_s") else "a number",
        str: "text",
        Path: "a path",
    }[kind]
    for bound in field.metadata:
        for sign, attribute in (("≥", "ge"), (">", "gt"), ("≤", "le")):
            limit = getattr(bound, attribute, None)
            if limit is not None:
                words += f" {sign} {limit:g}"
    return words


# -- errors -------------------------------------------------------------------------------------------------


def public_errors() -> list[type[WeighbridgeError]]:
    """Every error class of the package that a user may meet, in the order of the file that holds most of them."""
    _import_everything()

    def below(cls: type[WeighbridgeError]) -> Iterator[type[WeighbridgeError]]:
        yield cls
        for child in cls.__subclasses__():
            yield from below(child)

    found = dict.fromkeys(cls for cls in below(WeighbridgeError) if cls.__module__.startswith("weighbridge."))
    public = [cls for cls in found if not cls.__name__.startswith("_")]
    order = list(vars(errors))
    return sorted(public, key=lambda cls: order.index(cls.__name__) if cls.__name__ in order else len(order))


def errors_page() -> str:
    parts = [
        f"""{NOTICE}

# Errors

All that weighbridge raises by itself is a `WeighbridgeError`. Each error is also of the standard kind that fits
(`ValueError`, `LookupError`, …), is built from facts that it keeps as attributes, and says what is wrong, with which
value, and what to do.

```text
{_tree()}
```
""",
        *(_error(cls) for cls in public_errors()),
    ]
    warning = weighbridge.DeclarationWarning
    parts.append(f"## DeclarationWarning\n\nA `UserWarning`, in `weighbridge`. {summary_of(warning)}\n")
    return "\n".join(parts)


def _tree() -> str:
    public = public_errors()

    def lines(cls: type[WeighbridgeError], depth: int) -> Iterator[str]:
        yield "  " * depth + cls.__name__
        for child in public:
            if _parent(child, public) is cls:
                yield from lines(child, depth + 1)

    return "\n".join(lines(WeighbridgeError, 0))


def _parent(cls: type[WeighbridgeError], public: list[type[WeighbridgeError]]) -> type[WeighbridgeError] | None:
    ours = [base for base in cls.__mro__[1:] if base in public]
    # Of two bases of ours, the one that says more.
    return max(ours, key=lambda base: len(base.__mro__), default=None) if ours else None


def _error(cls: type[WeighbridgeError]) -> str:
    bases = " and ".join(f"`{base.__name__}`" for base in _public_bases(cls))
    facts = [
        name
        for name, parameter in inspect.signature(cls.__init__).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    lines = [f"## {cls.__name__}", "", f"{bases}, in `{cls.__module__}`." if bases else f"In `{cls.__module__}`."]
    lines += ["", markdown_of(cls)]
    if facts:
        lines += ["", "Attributes: " + ", ".join(f"`{name}`" for name in facts) + "."]
    return "\n".join(lines) + "\n"


def _public_bases(cls: type) -> list[type]:
    """The bases as a caller knows them: in the place of a private one of the same module, that one's."""
    bases: list[type] = []
    for base in cls.__bases__:
        if not base.__name__.startswith("_"):
            bases.append(base)
        elif base.__module__ == errors.__name__:
            bases += _public_bases(base)
    return bases


def _import_everything() -> None:
    for module in pkgutil.walk_packages(weighbridge.__path__, "weighbridge."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


# -- the command line ---------------------------------------------------------------------------------------


def cli_page() -> str:
    group = command
    parts = [
        f"""{NOTICE}

# Command line

`weighbridge` needs the extra `cli` (`python -m pip install 'weighbridge[cli]'`); `weighbridge dev` also needs uvicorn,
and `weighbridge demo` the extra `demo`. `python -m weighbridge` is the same command.

Options of `weighbridge` itself:

{_options(group)}

An error of weighbridge is printed as one paragraph, without a traceback, and the exit code is 2.
"""
    ]
    context = click.Context(group, info_name="weighbridge")
    for name in COMMANDS:
        found = group.get_command(context, name)
        if found is None:
            raise LookupError(name)
        parts.append(_command(name, found))
        if isinstance(found, click.Group):
            parts.extend(_command(f"{name} {below}", each, level=3) for below, each in found.commands.items())
    return "\n".join(parts).rstrip() + "\n"


def _command(name: str, found: click.Command, *, level: int = 2) -> str:
    usage = " ".join(["weighbridge", name, *found.collect_usage_pieces(click.Context(found, info_name=name))])
    sections = [f"{'#' * level} {name}", _help(found), f"```text\n{usage}\n```", _options(found)]
    return "\n\n".join(section for section in sections if section) + "\n"


def _help(found: click.Command) -> str:
    paragraphs = (found.help or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _options(found: click.Command) -> str:
    rows = [_option(option) for option in found.params if isinstance(option, click.Option)]
    return "\n".join(["| option | meaning |", "|---|---|", *rows]) if rows else ""


def _option(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in option.opts)
    value = ""
    if not option.is_flag:
        choices = getattr(option.type, "choices", None)
        metavar = option.metavar or ("|".join(choices) if choices else option.type.name.upper().replace(" RANGE", ""))
        value = f" `{metavar}`".replace("|", "\\|")
    # The machine's own number of CPUs is no part of the reference.
    words = re.sub(r", here \d+", "", option.help or "").replace("  [default:", " [default:")
    default = option.default
    if option.show_default and default is not None:
        words += f" [default: {default:g}]" if isinstance(default, int | float) else f" [default: {default}]"
    words = re.sub(r"\.? \[default: (.+)\]$", r". Default: \1.", words)
    return f"| {names}{value} | {' '.join(words.split())} |"


# -- the API ------------------------------------------------------------------------------------------------

#: What stands in the reference beside the names of ``weighbridge.__all__``: what those give back.
GIVEN_BACK = {
    "OptionsView": OptionsView,
    "OutsideTasks": OutsideTasks,
    "InProcessCounts": InProcessCounts,
    "CallFailure": CallFailure,
    "LoopBlocks": LoopBlocks,
    "TriedRule": TriedRule,
    "Change": Change,
    "Shadow": Shadow,
    "ShadowCount": ShadowCount,
}
#: Names that have a page of their own.
ELSEWHERE = {
    "Settings": "Every setting, as a frozen object. See [Settings](settings.md).",
    "WeighbridgeError": "The root of all errors. See [Errors](errors.md).",
    "errors": "The module of all errors. See [Errors](errors.md).",
    "DeclarationWarning": "See [Errors](errors.md#declarationwarning).",
}
#: Members that other modules of the package use, and no user has to.
OF_THE_PACKAGE = frozenset({"commit_at_gate", "decided", "dispatch", "of", "pending", "run_accepted"})
SIGNATURE_WIDTH = 90
STARS: Mapping[object, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
ORDER = (
    "task",
    "Weight",
    "BackgroundTasks",
    "OptionsView",
    "Ticket",
    "CurrentCall",
    "current_call",
    "CallLogFilter",
    "DecisionHeaderMiddleware",
    "Dispatcher",
    "OutsideTasks",
    "InProcessCounts",
    "CallFailure",
    "LoopBlocks",
    "Lane",
    "Decision",
    "Explanation",
    "TriedRule",
    "Change",
    "Shadow",
    "ShadowCount",
    "Policy",
    "Facts",
)


def api_page() -> str:
    names = [name for name in weighbridge.__all__ if name not in ORDER]
    parts = [
        f"""{NOTICE}

# API

All of it is imported from `weighbridge`.
"""
    ]
    parts.extend(_described(name) for name in ORDER)
    parts.append("## Other names\n")
    for name in names:
        words = ELSEWHERE.get(name) or "The version of the package, as text."
        parts.append(f"- `{name}`: {words}")
    return "\n".join(parts).rstrip() + "\n"


def _described(name: str) -> str:
    if name == "task":
        signature = _signature("task", get_overloads(task)[1], lead="@")
        return f"## task\n\n```text\n{signature}\n```\n\n{markdown_of(task)}\n"
    if name == "current_call":
        signature = _signature(name, weighbridge.current_call)
        return f"## {name}\n\n```text\n{signature}\n```\n\n{markdown_of(weighbridge.current_call)}\n"
    given: Any = BackgroundTasks if name == "BackgroundTasks" else GIVEN_BACK.get(name) or getattr(weighbridge, name)
    parts = [f"## {name}\n"]
    if name in GIVEN_BACK:
        parts.append(f"In `{given.__module__}`; not made by hand.\n")
    if issubclass(given, Enum):
        values = "\n".join(f"- `{member.name}` = `{member.value}`" for member in given)
        return "\n".join([*parts, markdown_of(given), "", values, ""])
    if dataclasses.is_dataclass(given):
        more = "The parts of the readings are in [Policy files](policy-file.md).\n" if name == "Facts" else ""
        return "\n".join([*parts, markdown_of(given), "", _fields(given), "", more]).rstrip() + "\n"
    if name in ("Dispatcher", "BackgroundTasks", "CallLogFilter"):
        parts.append(f"```text\n{_signature(name, given.__init__)}\n```\n")
    parts.append(markdown_of(given) + "\n")
    for member, value in vars(given).items():
        if not member.startswith("_") and member not in OF_THE_PACKAGE:
            parts.append(_member(name, member, value))
    return "\n".join(parts)


def _member(owner: str, name: str, value: Any) -> str:
    shown = f"`{owner}.{name}`"
    if isinstance(value, property) or type(value).__name__ == "cached_property":
        target = value.fget if isinstance(value, property) else value.func
        kind = "property, settable" if getattr(value, "fset", None) else "property"
        return f"### {shown}\n\n*{kind}*\n\n{markdown_of(target)}\n"
    if not callable(value):
        return f"### {shown}\n"
    target = inspect.unwrap(value)
    lead = "async " if inspect.iscoroutinefunction(target) else ""
    return f"### {shown}\n\n```text\n{_signature(name, value, lead=lead)}\n```\n\n{markdown_of(value)}\n"


def _signature(name: str, func: Callable[..., Any], *, lead: str = "") -> str:
    signature = inspect.signature(func)
    parameters = [parameter for key, parameter in signature.parameters.items() if key != "self"]
    shown: list[str] = []
    keyword_only = False
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            shown.append("*")
        shown.append(_parameter(parameter))
        following = parameters[parameters.index(parameter) + 1 :]
        if parameter.kind is parameter.POSITIONAL_ONLY and not any(
            each.kind is each.POSITIONAL_ONLY for each in following
        ):
            shown.append("/")
    returns = signature.return_annotation
    arrow = "" if returns in (signature.empty, None, "None") or lead == "@" else f" -> {_name_of(returns)}"
    one_line = f"{lead}{name}({', '.join(shown)}){arrow}"
    if len(one_line) <= SIGNATURE_WIDTH:
        return one_line
    lines = ",\n    ".join(shown)
    return f"{lead}{name}(\n    {lines},\n){arrow}"


def _parameter(parameter: inspect.Parameter) -> str:
    stars = STARS.get(parameter.kind, "")
    annotation = f": {_name_of(parameter.annotation)}" if parameter.annotation is not parameter.empty else ""
    default = f" = {parameter.default!r}" if parameter.default is not parameter.empty else ""
    return f"{stars}{parameter.name}{annotation}{default}"


def _name_of(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def _fields(given: Any) -> str:
    types = {
        field.name: _name_of(field.type).removeprefix("Final[").removesuffix("]" * ("Final[" in str(field.type)))
        for field in dataclasses.fields(given)
    }
    types = {name: kind.replace("|", "\\|") for name, kind in types.items()}
    rows = [f"| `{name}` | `{kind}` |" for name, kind in types.items()]
    return "\n".join(["| attribute | type |", "|---|---|", *rows])


# -- the policy file ----------------------------------------------------------------------------------------


def policy_file_page() -> str:
    """The page as it is, for it is written by hand, with its tables made anew."""
    return with_tables((REFERENCE / "policy-file.md").read_text(encoding="utf-8"))


# -- the schema of policy files -----------------------------------------------------------------------------


def policy_schema_file() -> str:
    return json.dumps(policy_schema(), indent=2, ensure_ascii=False) + "\n"


# -- writing ------------------------------------------------------------------------------------------------

PAGES: Mapping[str, Callable[[], str]] = {
    "api.md": api_page,
    "cli.md": cli_page,
    "errors.md": errors_page,
    "policy-file.md": policy_file_page,
    "policy.schema.json": policy_schema_file,
    # Beside the shipped files, whose first line names it: one that is copied keeps that line.
    "../../policies/policy.schema.json": policy_schema_file,
    "settings.md": settings_page,
}


def main(folder: Path = REFERENCE) -> None:
    """Write all of them."""
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
