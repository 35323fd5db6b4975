"""Finding a policy by what a setting says: a shipped name, a path, ``module:object``, or an object as is."""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
from pathlib import Path
from typing import Any, Final, cast

from weighbridge.decision import BrokerReading, Facts, InProcessReading, LoopReading
from weighbridge.errors import PolicyError, PolicyNotFoundError
from weighbridge.policy.file import parse_policy, read_policy
from weighbridge.policy.protocol import (
    Policy,
    ask,
    declared,
    default_lane_of,
    possible_lanes_of,
    reads_of,
)
from weighbridge.policy.revision import revision_of
from weighbridge.policy.rule import RulePolicy, rules_of
from weighbridge.policy.scanner import cut
from weighbridge.policy.shipped import SUFFIX, shipped_names, shipped_source, shipped_text
from weighbridge.policy.value_text import shown_object

_FORMS: Final = "a shipped name, a path to a .toml file"
#: Calls about which a policy of somebody's own is asked before it is trusted: readings unknown, known, and stale.
_TRIALS: Final = (
    Facts(name="trial"),
    Facts(name="trial", weight=1_000.0, is_async=True),
    Facts(
        name="trial",
        weight=1_000.0,
        payload_bytes=100,
        in_process=InProcessReading(threads_free=8),
        loop=LoopReading(lag_ms=0.0, age_s=0.0),
        broker=BrokerReading(available=True, waiting=0, age_s=0.0),
    ),
    # Readings that are too old: only their age is known.
    Facts(name="trial", loop=LoopReading(age_s=60.0), broker=BrokerReading(available=False, age_s=60.0)),
)


def load_policy(reference: str | os.PathLike[str] | Policy) -> Policy:
    """The policy that ``reference`` means. It reads files and imports modules: not for the event loop's thread.

    A string is a path if it ends in ``.toml`` or contains a ``/``; it names an object (a policy, or a class or
    function that makes one without arguments) if it has the form ``module:object``; else it is a shipped name.
    A policy in code is asked about four made-up calls, so that one that fails, or answers with something else than a
    decision, is refused here and not in somebody's request. A :class:`RulePolicy` that was made by hand, without a
    revision, is replaced by a copy that has one.

    :raises PolicyNotFoundError: if nothing stands behind the reference.
    :raises PolicyError: if what stands there is no policy that works.
    """
    file = file_of(reference)
    if file is not None:
        return read_policy(file)
    if not isinstance(reference, str):
        return _tried(reference, shown="(object given)")
    if ":" in reference:
        return _imported(reference)
    return _shipped(reference)


def file_of(reference: object) -> Path | None:
    """The file that ``reference`` means; ``None`` if it means a shipped policy or an object."""
    if isinstance(reference, os.PathLike):
        return Path(reference)
    if isinstance(reference, str) and (reference.endswith(SUFFIX) or "/" in reference or os.sep in reference):
        return Path(reference)
    return None


def _shipped(name: str) -> RulePolicy:
    names = shipped_names()
    if name not in names:
        raise _no_such_name(name, names)
    return parse_policy(shipped_text(name), name=name, source=shipped_source(name))


def _no_such_name(name: str, names: tuple[str, ...]) -> PolicyNotFoundError:
    shipped = f"shipped are {', '.join(names)}"
    near = difflib.get_close_matches(name.strip().lower(), names, n=1)
    if near:
        remedy = f"did you mean {near[0]}? ({shipped})"
    elif Path(f"{name}{SUFFIX}").is_file():
        remedy = f"for the file here write {name}{SUFFIX} ({shipped})"
    elif "." in name:
        remedy = f"for an object write {':'.join(name.rsplit('.', 1))} ({shipped})"
    else:
        remedy = f"write {_FORMS} or module:object; {shipped}"
    problem = "there is no shipped policy of this name"
    return PolicyNotFoundError(source=repr(name), problem=problem, remedy=remedy)


def _imported(reference: str) -> Policy:
    module_name, _, path = reference.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), *path.split(".")]):
        problem, remedy = "it is not of the form module:object", "write it as in myservice.policies:by_night"
        raise PolicyError(source=repr(reference), problem=problem, remedy=remedy)
    found: Any = _module(module_name, reference)
    for part in path.split("."):
        if not hasattr(found, part):
            where = getattr(found, "__name__", type(found).__name__)
            near = difflib.get_close_matches(part, [name for name in dir(found) if name[:1] != "_"], n=1)
            remedy = f"did you mean {near[0]}?" if near else "define it there, or name another object"
            raise PolicyNotFoundError(source=reference, problem=f"{where} has no {part!r}", remedy=remedy)
        found = getattr(found, part)
    if isinstance(found, type) or not hasattr(found, "decide"):
        found = _made(found, reference)
    return _tried(found, shown=reference)


def _module(name: str, reference: str) -> object:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise PolicyNotFoundError(
                source=reference,
                problem=f"there is no module {error.name!r}",
                remedy="start where it can be imported, or install it",
            ) from None
        raise _import_failed(name, reference, error) from error
    except Exception as error:
        raise _import_failed(name, reference, error) from error


def _import_failed(name: str, reference: str, error: Exception) -> PolicyError:
    problem = f"importing {name!r} raised {type(error).__name__}: {error}"
    return PolicyError(source=reference, problem=problem, remedy="correct the module")


def _made(factory: Any, reference: str) -> object:
    """What a class or a function gives when it is called with nothing."""
    if not callable(factory) or inspect.iscoroutinefunction(factory):
        kind = "an async function" if callable(factory) else cut(repr(factory))
        problem = f"it is {kind}, and no policy"
        remedy = "name an object with a method decide(facts), or a class or function that makes one"
        raise PolicyError(source=reference, problem=problem, remedy=remedy)
    try:
        return factory()
    except Exception as error:
        problem = f"calling it raised {type(error).__name__}: {error}"
        remedy = "name an object, or a class or function that needs no arguments"
        raise PolicyError(source=reference, problem=problem, remedy=remedy) from error


def _tried(candidate: object, *, shown: str) -> Policy:
    """The candidate, if it looks like a policy and answers like one."""
    if isinstance(candidate, type):
        problem, remedy = "it is a class, and no policy", f"give an object of it: {candidate.__name__}()"
        source = f"{candidate.__module__}.{candidate.__qualname__}"
        raise PolicyError(source=source, problem=problem, remedy=remedy)
    decide = declared(candidate, "decide")
    if not callable(decide):
        problem = f"{cut(shown_object(candidate))} has no method decide(facts)"
        remedy = f"give {_FORMS}, module:object, or an object with that method"
        raise PolicyError(source=shown, problem=problem, remedy=remedy)
    if inspect.iscoroutinefunction(decide):
        problem, remedy = "it is async, and a decision waits for nothing", "write def decide(self, facts)"
        raise PolicyError(source=shown, where="decide", problem=problem, remedy=remedy)
    policy = cast("Policy", candidate)
    ruled = rules_of(policy)
    if ruled is not None:
        revised = ruled.revised()  # its rules were checked when they were made
        revision_of(revised)
        return revised
    reads_of(policy)
    default_lane_of(policy)
    revision_of(policy)
    possible_lanes_of(policy, {})
    for facts in _TRIALS:
        ask(policy, facts)
    return policy
