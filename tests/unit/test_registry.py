"""The registry: whose a name is, what counts as the same function declared anew, and that nothing is kept for ever."""

from __future__ import annotations

import code
import gc
import importlib
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from weighbridge import Decision, Facts, Lane, task
from weighbridge.call import CallOptions
from weighbridge.chooser import Chooser
from weighbridge.constraint import target_of
from weighbridge.errors import DeclarationError, DuplicateTaskError
from weighbridge.task import TaskSpec, registry

ONE = "from weighbridge import task\n\n@task(weight=1)\ndef send(number: int) -> int:\n    return 1\n"
CHANGED = "from weighbridge import task\n\nSHIFT = 3\n\n@task(weight=2)\ndef send(number: int) -> int:\n    return 2\n"
COPIED = f"{ONE}\nfirst = send\n\n@task(weight=2)\ndef send(number: int) -> int:\n    return 2\n"
COPIED_BELOW_A_DECORATOR = """\
import functools
from weighbridge import task

def logged(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)
    return wrapper

@task
@logged
def send(number: int) -> int:
    return 1

@task
@logged
def send(number: int) -> int:
    return 2
"""
LOOP = """\
from weighbridge import task

for number in (1, 2):
    @task(weight=number)
    def send(number: int) -> int:
        return 1
"""
FACTORY = """\
from weighbridge import task

def make(first):
    if first:
        @task
        def send() -> int:
            return 1
    else:
        @task
        def send() -> int:
            return 2
    return send

made = [make(True), make(False), make(False)]
"""
BELOW_WRAPS = """\
import functools
from weighbridge import task

def tenant(name):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(number: int):
            return (name, function(number))
        return wrapper
    return decorate
"""
SHARED = f"""{BELOW_WRAPS}
def send(number: int) -> int:
    return 1

def declare(name):
    return task(tenant(name)(send), durable=True)
"""
OWN = f"""{BELOW_WRAPS}
made = []
for name in ("A", "B"):
    @task(durable=True)
    @tenant(name)
    def send(number: int) -> int:
        return 1
    made.append(send)
"""
BARE = """\
from weighbridge import task

def plain(function):
    def wrapper(number: int):
        return function(number)
    return wrapper

@task(retries=5)
@plain
def one(number: int): return 1

@task(retries=0)
@plain
def two(number: int): return 2
"""
DECORATED = f"""{BELOW_WRAPS}
@task(durable=True)
@tenant("A")
def send(number: int) -> int:
    return 1
"""


@pytest.fixture(autouse=True)
def forget_tasks_of_tests() -> Iterator[None]:
    before = {spec.name for spec in registry}
    yield
    for spec in registry:
        if spec.name not in before:
            registry.discard(spec.name)


class Modules:
    """Modules of a test's own, imported from files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, text: str) -> None:
        (self._folder / "registered.py").write_text(text)
        importlib.invalidate_caches()

    def load(self, text: str) -> ModuleType:
        self.write(text)
        return importlib.import_module("registered")


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Modules]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield Modules(tmp_path)
    sys.modules.pop("registered", None)


def weight_of(name: str) -> Any:
    spec = registry.get(name)
    assert spec is not None
    return spec.weight


# -- refused -------------------------------------------------------------------------------------------------


def test_a_copy_in_one_file_is_refused_with_both_lines(modules: Modules, tmp_path: Path) -> None:
    file = rf"\({tmp_path}/registered.py, line"
    with pytest.raises(
        DuplicateTaskError,
        match=rf"'registered.send' is declared twice: by registered.send {file} 3\) and by registered.send {file} 9\)",
    ):
        modules.load(COPIED)

    assert weight_of("registered.send") == 1


def test_a_copy_below_the_same_decorator_is_refused_too(modules: Modules) -> None:
    with pytest.raises(DuplicateTaskError, match=r"line 10\) and by .* line 15\)"):
        modules.load(COPIED_BELOW_A_DECORATOR)


def test_a_copy_in_one_executed_source_is_refused() -> None:
    with pytest.raises(DuplicateTaskError, match=r"<string>, line 3\) and by .*<string>, line 9\)"):
        exec(COPIED, {"__name__": "registered"})


# -- replaced ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [ONE, CHANGED])
def test_a_reload_replaces(modules: Modules, again: str) -> None:
    module = modules.load(ONE)
    for _ in range(2):
        modules.write(again)
        importlib.reload(module)

    spec = registry.of(module.send)
    assert spec is registry.get("registered.send")
    assert spec is not None
    assert spec.func is module.send


def test_a_copy_that_a_reload_brings_is_refused(modules: Modules) -> None:
    module = modules.load(ONE)
    modules.write(COPIED)

    with pytest.raises(DuplicateTaskError):
        importlib.reload(module)


def test_a_second_import_replaces(modules: Modules) -> None:
    modules.load(ONE)
    del sys.modules["registered"]
    modules.load(CHANGED)

    assert weight_of("registered.send") == 2


@pytest.mark.parametrize("again", [ONE, CHANGED])
def test_executing_a_source_again_replaces(again: str) -> None:
    namespace: dict[str, Any] = {"__name__": "registered"}
    exec(ONE, namespace)
    exec(again, namespace)

    spec = registry.get("registered.send")
    assert spec is not None
    assert spec.func is namespace["send"]


def test_executing_one_compiled_source_again_replaces() -> None:
    compiled, namespace = compile(ONE, "cell", "exec"), {"__name__": "registered"}
    for _ in range(2):
        exec(compiled, namespace)

    assert weight_of("registered.send") == 1


def test_typing_a_function_again_at_a_prompt_replaces() -> None:
    prompt = code.InteractiveInterpreter({"__name__": "registered", "task": task})
    for weight in (1, 2):
        prompt.runsource(f"@task(weight={weight})\ndef send(): return {weight}\n", symbol="single")

    assert weight_of("registered.send") == 2


def test_a_def_that_runs_again_replaces(modules: Modules) -> None:
    modules.load(LOOP)

    assert weight_of("registered.send") == 2


def test_a_factory_may_make_another_function_each_time_it_runs(modules: Modules) -> None:
    first, second, third = modules.load(FACTORY).made

    assert registry.of(second) is registry.of(third) is registry.get("registered.make.<locals>.send")
    assert "lost its name" in str(target_of(first, registry).constraint)


# -- of a factory that ran again -----------------------------------------------------------------------------


def made(default: int, *, durable: bool = False, keyword: int = 0, weight: float = 0) -> Callable[..., Any]:
    @task(durable=durable, weight=weight, retries=4)
    def job(number: int = default, *, other: int = keyword) -> int:
        return number + other

    return job


def test_a_function_that_was_made_again_goes_by_the_newer_declaration() -> None:
    old, new = made(1, weight=1), made(1, weight=2)

    assert target_of(old, registry).spec is target_of(new, registry).spec is registry.of(new)


@pytest.mark.parametrize("change", [{"default": 2}, {"default": True}, {"default": 1, "keyword": 5}])
def test_a_function_that_was_made_again_with_other_defaults_is_another_function(change: dict[str, Any]) -> None:
    old, _ = made(1), made(**change)
    target = target_of(old, registry)

    assert target.constraint is not None
    assert target.constraint.lane is Lane.IN_PROCESS
    assert "lost its name to a later declaration" in target.constraint.reason
    assert target.spec is not None
    assert (target.spec.func, target.spec.retries) == (old, 4)


def test_a_durable_function_that_was_made_again_with_other_defaults_is_refused() -> None:
    old, new = made(1, durable=True), made(2, durable=True)

    with pytest.raises(DeclarationError, match="is durable, so it must be queued, and it lost its name"):
        target_of(old, registry)
    assert target_of(new, registry).spec is registry.of(new)


# -- below decorators ----------------------------------------------------------------------------------------


def test_one_function_in_two_wrappers_is_refused_under_one_name(modules: Modules) -> None:
    module = modules.load(SHARED)
    first = module.declare("A")

    with pytest.raises(
        DuplicateTaskError,
        match=r"'registered.send' is declared twice: by registered.send .*line 12\) and by the same function in "
        r"another wrapper; give one of them another name with @task\(name=…\)",
    ):
        module.declare("B")
    assert target_of(first, registry).spec is registry.get("registered.send")


def test_a_function_and_its_wrapper_are_refused_under_one_name(modules: Modules) -> None:
    module = modules.load(SHARED)
    task(module.send)

    with pytest.raises(DuplicateTaskError, match="the same function in another wrapper"):
        module.declare("A")


def test_one_function_in_a_wrapper_that_was_made_again_replaces(modules: Modules) -> None:
    module = modules.load(SHARED)
    old, new = module.declare("A"), module.declare("A")

    assert target_of(old, registry).spec is target_of(new, registry).spec is registry.of(new)


@pytest.mark.parametrize(
    "source", [SHARED.replace("declare(name):", "declare(name='A'):") + "\ndeclare()\n", DECORATED]
)
def test_decorators_that_a_reload_runs_again_make_the_same_function(modules: Modules, source: str) -> None:
    module = modules.load(source)
    spec = registry.get("registered.send")
    assert spec is not None
    importlib.reload(module)

    assert registry.of(spec.func) is registry.get("registered.send") is not spec


def test_a_function_in_another_wrapper_is_its_own_declaration(modules: Modules) -> None:
    first, second = modules.load(OWN).made

    with pytest.raises(DeclarationError, match="is durable, so it must be queued, and it lost its name"):
        target_of(first, registry)
    assert target_of(second, registry).spec is registry.of(second)


def test_a_function_below_a_decorator_without_wraps_keeps_its_own_options(modules: Modules) -> None:
    module = modules.load(BARE)
    one, two = target_of(module.one, registry), target_of(module.two, registry)

    assert (one.spec and one.spec.retries, two.spec and two.spec.retries) == (5, 0)
    assert "lost its name" in str(one.constraint)
    assert "lost its name" not in str(two.constraint)


# -- imported twice ------------------------------------------------------------------------------------------


class File:
    """One file that is executed as the program and imported as a module."""

    def __init__(self, path: Path, source: str) -> None:
        self.path, self.source = path, source

    def run_as(self, name: str) -> Callable[..., Any]:
        namespace: dict[str, Any] = {"__name__": name}
        exec(compile(self.source, self.path, "exec"), namespace)
        function: Callable[..., Any] = namespace["send"]
        return function


@pytest.fixture
def file(tmp_path: Path) -> File:
    path = tmp_path / "app.py"
    path.touch()
    return File(path, ONE.replace("weight=1", "name='mail', weight=1"))


@pytest.mark.parametrize("program", ["__main__", "__mp_main__"])
def test_a_module_takes_the_names_over_from_the_program_of_the_same_file(file: File, program: str) -> None:
    as_program, imported = file.run_as(program), file.run_as("app")

    spec = registry.get("mail")
    assert spec is not None
    assert spec.func is imported
    assert registry.of(as_program) is spec


@pytest.mark.parametrize("program", ["__main__", "__mp_main__"])
def test_a_module_keeps_its_names_from_the_program_of_the_same_file(file: File, program: str) -> None:
    imported, as_program = file.run_as("app"), file.run_as(program)

    spec = registry.get("mail")
    assert spec is not None
    assert spec.func is imported
    assert registry.of(as_program) is spec


def test_a_program_of_another_file_is_refused(file: File, tmp_path: Path) -> None:
    file.run_as("app")
    with pytest.raises(DuplicateTaskError, match=r"by app.send .* and by __main__.send"):
        File(tmp_path / "other.py", ONE.replace("weight=1", "name='mail'")).run_as("__main__")


def test_two_modules_of_one_file_are_refused(file: File) -> None:
    file.run_as("app")
    with pytest.raises(DuplicateTaskError, match=r"by app.send .* and by copy.send"):
        file.run_as("copy")


def test_a_function_of_another_line_of_the_program_is_refused(file: File) -> None:
    file.run_as("app")
    with pytest.raises(DuplicateTaskError):
        File(file.path, "\n" + file.source).run_as("__main__")


# -- what is forgotten ---------------------------------------------------------------------------------------


class AnyQueue:
    """A queue that can do whatever it is asked for."""

    refuses = False

    def check(self, spec: TaskSpec, options: CallOptions) -> None: ...

    def note_ran_here(self, calls: int) -> None: ...


class Queues:
    def decide(self, facts: Facts, /) -> Decision:
        return Decision(Lane.QUEUE, "a test", "test")


def test_a_discarded_function_counts_as_never_declared() -> None:
    old = made(1, durable=True)
    registry.discard(f"{__name__}.made.<locals>.job")

    assert registry.of(old) is None
    assert target_of(old, registry).spec is None


@pytest.mark.parametrize("called", [False, True])
def test_nothing_keeps_a_function_whose_declaration_was_discarded(called: bool) -> None:
    chooser = Chooser(registry=registry, policy=Queues(), queue=AnyQueue())
    job = made(1)
    if called:
        chooser.choose(job, (1,))
    gone = weakref.ref(job)
    registry.discard(f"{__name__}.made.<locals>.job")
    del job
    gc.collect()

    assert gone() is None


@pytest.mark.parametrize("default", [1, 2])
@pytest.mark.parametrize("called", [False, True])
def test_nothing_keeps_a_function_whose_declaration_was_replaced(default: int, called: bool) -> None:
    chooser = Chooser(registry=registry, policy=Queues(), queue=AnyQueue())
    job = made(1)
    if called:
        chooser.choose(job, (1,))
    kept = made(default)
    if called:
        chooser.choose(job, (1,))
    gone = weakref.ref(job)
    del job
    gc.collect()

    assert gone() is None
    assert registry.of(kept) is not None


def test_a_registered_function_is_kept() -> None:
    there = weakref.ref(made(1))
    gc.collect()

    assert there() is not None
