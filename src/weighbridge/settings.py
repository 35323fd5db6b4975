"""The process's configuration: arguments over ``WEIGHBRIDGE_*`` over ``[tool.weighbridge]`` in pyproject.toml."""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypedDict
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from weighbridge.errors import SettingsError
from weighbridge.settings_fault import PREFIX, refuse_misspelt_variables, settings_error
from weighbridge.settings_file import file_settings

DEFAULT_NAMESPACE: Final = "weighbridge"
DEFAULT_LEASE_S: Final = 15.0
#: The bytes of a call's encoded arguments: no broker likes large messages, and what is large belongs into a store.
DEFAULT_ARGUMENTS_LIMIT_BYTES: Final = 256 * 1024
BROKER_SCHEMES = ("redis", "rediss", "unix", "amqp", "amqps")


class OnFailure(StrEnum):
    """What a failing in-process call does to the calls after it."""

    CONTINUE = "continue"
    STOP = "stop"


class ArgumentsCheck(StrEnum):
    """What happens to arguments that would not survive the queue, when the call stays in process."""

    OFF = "off"
    WARN = "warn"
    STRICT = "strict"


class Settings(BaseSettings):
    """Every setting, its default and its meaning. Each is also an environment variable ``WEIGHBRIDGE_<NAME>``.

    Raises :class:`~weighbridge.errors.SettingsError` for a value that a setting cannot have, for a misspelt
    ``WEIGHBRIDGE_*`` variable, and for an unknown key in ``[tool.weighbridge]``: none is ever ignored.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=False,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    policy: str = Field(
        default="by-weight",
        description="The policy: a shipped name, a path to a TOML file, or `module:object`.",
    )
    shadow_policy: str | None = Field(
        default=None,
        description="A second policy, given as `policy` is: asked about each call and never obeyed; what it would have "
        "decided is counted.",
    )
    shadow_file: Path | None = Field(
        default=None,
        description="A file (SQLite) that keeps what is counted of the shadow policy, for `weighbridge policy diff`; "
        "the processes of one machine share it. None: the broker keeps it, if that is Redis or Valkey; else nothing "
        "does.",
    )
    policy_watch_s: float = Field(
        default=0.0,
        ge=0,
        le=3_600,
        description="Seconds between two looks at the policy's file: what has changed there, and stood still for one "
        "look, is checked and takes over while the service runs, or is refused in an error line. 0: it is read once.",
    )
    broker_url: str | None = Field(
        default=None,
        repr=False,
        description="The broker: `redis://`, `rediss://`, `unix://`, `amqp://` or `amqps://`. "
        "None: nothing can be queued.",
    )
    namespace: str = Field(
        default=DEFAULT_NAMESPACE,
        # With one hash tag at most: a second brace would move the slot in which a Redis Cluster keeps a key.
        pattern=r"^([A-Za-z0-9_.:-]+|[A-Za-z0-9_.:-]*\{[A-Za-z0-9_.:-]+\}[A-Za-z0-9_.:-]*)$",
        max_length=100,
        description="What every key in Redis or Valkey starts with; services that share a server take different ones. "
        "In a Redis Cluster, in braces: `{shop}`. "
        "RabbitMQ has none: there each service takes a virtual host of its own, `amqp://…/VHOST`.",
    )
    in_process_threads: int = Field(
        default=8, ge=1, description="Threads for sync calls in process; never the endpoints' own."
    )
    in_process_running: int = Field(
        default=1_000, ge=1, description="Async calls that may run in process at one time; more wait."
    )
    in_process_waiting: int = Field(
        default=10_000,
        ge=1,
        description="Calls that may wait in process; a request that would add more waits for room, or gets 503. "
        "As many more may wait for room.",
    )
    admission_timeout_s: float = Field(
        default=0.5,
        ge=0,
        le=60,
        description="Seconds for which a request waits for room in process for its calls, or 503. 0: it does not wait.",
    )
    publisher_waiting: int = Field(
        default=10_000, ge=1, description="Calls that may wait for the broker; a request that would add more gets 503."
    )
    enqueue_timeout_s: float = Field(
        default=0.5, gt=0, le=60, description="Seconds in which the broker must accept a request's calls, or 503."
    )
    lease_s: float = Field(
        default=DEFAULT_LEASE_S,
        ge=1,
        le=3_600,
        description="Seconds after which a worker that is silent loses its calls to other workers. For `redis://`, "
        "`rediss://` and `unix://`.",
    )
    on_failure: OnFailure = Field(
        default=OnFailure.CONTINUE,
        description="`continue`: each in-process call runs whatever the others do. `stop`: as Starlette runs them, "
        "in the request, in order, up to the first failure.",
    )
    wait_in_process: bool = Field(
        default=False, description="The response's background step waits for its calls; for test suites."
    )
    drain_timeout_s: float = Field(
        default=10.0,
        ge=0,
        le=86_400,
        description="Seconds that in-process calls get at shutdown before they are cancelled. What waits and can be "
        "queued is handed over to the queue at once.",
    )
    loop_block_s: float = Field(
        default=0.1,
        ge=0,
        le=60,
        description="Seconds for which an async call may block the event loop in process before a warning names it. "
        "0: none is named.",
    )
    modules: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Modules that declare tasks, for the commands; comma-separated in the environment."
    )
    arguments_check: ArgumentsCheck = Field(
        default=ArgumentsCheck.OFF,
        description="For calls that stay though their task could be queued: `warn` logs, `strict` refuses "
        "arguments that would not survive the queue.",
    )
    arguments_check_share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="The part of each task's calls that `arguments_check` looks at: its first call, and from there "
        "in even steps. 0.01 is one in a hundred.",
    )
    arguments_limit_kib: int = Field(
        default=DEFAULT_ARGUMENTS_LIMIT_BYTES // 1024,
        ge=1,
        le=65_536,
        description="KiB that the arguments of one queued call may be as JSON; more is refused by `add_task`, and by "
        "workers. Raise it for the workers first.",
    )

    def __init__(self, **values: Any) -> None:
        refuse_misspelt_variables(os.environ, known=type(self).model_fields)
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise settings_error(error, known=type(self).model_fields) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # the signature is pydantic-settings'
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then pyproject.toml; no other source is read."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, file_settings())

    @field_validator("modules", mode="before")
    @classmethod
    def _split_modules(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("shadow_file", mode="before")
    @classmethod
    def _names_a_file(cls, value: object) -> object:
        if value == "":
            raise ValueError("names no file")
        return value

    @field_validator("broker_url")
    @classmethod
    def _known_scheme(cls, value: str | None) -> str | None:
        if value is None:
            return None
        scheme = urlsplit(value).scheme
        if scheme not in BROKER_SCHEMES:
            known = ", ".join(f"{name}://" for name in BROKER_SCHEMES)
            raise ValueError(f"has the scheme {scheme!r}; it must start with one of {known}")
        return value

    @field_validator("namespace")
    @classmethod
    def _none_on_rabbitmq(cls, value: str, info: ValidationInfo) -> str:
        url = info.data.get("broker_url")
        if value != DEFAULT_NAMESPACE and url is not None and urlsplit(url).scheme in ("amqp", "amqps"):
            raise SettingsError(
                setting="namespace",
                problem=f"is {value!r}, and RabbitMQ's queues carry no namespace, so another service's worker would "
                "take this one's calls",
                remedy="leave namespace out, and give each service a virtual host of its own: "
                "amqp://user:password@host:5672/VHOST",
            )
        return value

    @property
    def arguments_limit_bytes(self) -> int:
        """``arguments_limit_kib`` in bytes."""
        return self.arguments_limit_kib * 1024

    def with_changes(self, **changes: object) -> Self:
        """A copy with some settings changed, validated like the original."""
        return type(self)(**{**self.model_dump(), **changes})


class SettingsArguments(TypedDict, total=False):
    """The settings as keyword arguments; the meaning of each is at :class:`Settings`."""

    shadow_file: str | os.PathLike[str] | None
    policy_watch_s: float
    broker_url: str | None
    namespace: str
    in_process_threads: int
    in_process_running: int
    in_process_waiting: int
    admission_timeout_s: float
    publisher_waiting: int
    enqueue_timeout_s: float
    lease_s: float
    on_failure: Literal["continue", "stop"] | OnFailure
    wait_in_process: bool
    drain_timeout_s: float
    loop_block_s: float
    modules: Sequence[str]
    arguments_check: Literal["off", "warn", "strict"] | ArgumentsCheck
    arguments_check_share: float
    arguments_limit_kib: int
