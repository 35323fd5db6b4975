"""The policy holder: which policy a dispatcher obeys, how another takes its place, and the watch on its file."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import Final

from weighbridge.appointed import PolicyFailures
from weighbridge.chooser import Chooser
from weighbridge.errors import PolicyError, SettingsError
from weighbridge.events import emit
from weighbridge.outlook import check_tasks
from weighbridge.policy import Policy, file_of, load_policy, reads_of, revision_of, source_of
from weighbridge.policy_watch import PolicyWatch, WatchedFile
from weighbridge.readings import LiveReadings
from weighbridge.settings import Settings
from weighbridge.shadow import Recorder, ShadowCounter
from weighbridge.surroundings import Queue
from weighbridge.task import Registry

logger: Final = logging.getLogger("weighbridge.dispatch")

POLICY_REPLACED: Final = "dispatch.policy_replaced"


class PolicyHolder:
    """Holds one policy at a time. A new one is checked completely before it replaces the old one, which else stays.

    :param reference: What the setting takes, or a policy object. Default: what the setting says.
    :param shadow: The same of the shadow policy.
    :param has_broker: Whether calls can be queued at all.
    :raises PolicyError: if the policy cannot be used.
    :raises SettingsError: if its file is to be watched, and it is from none.
    """

    def __init__(
        self,
        reference: str | os.PathLike[str] | Policy | None,
        *,
        shadow: str | os.PathLike[str] | Policy | None,
        settings: Settings,
        registry: Registry,
        has_broker: bool,
    ) -> None:
        reference = settings.policy if reference is None else reference
        shadow = settings.shadow_policy if shadow is None else shadow
        self._settings = settings
        self._registry = registry
        self._has_broker = has_broker
        self.policy: Policy = load_policy(reference)
        #: It needs no broker, for nothing is queued because of it.
        self.shadow: Final = None if shadow is None else ShadowCounter(_loaded_shadow(shadow))
        #: Writes what is counted of the shadow, while the dispatcher is open.
        self.recorder: Final = None if self.shadow is None else Recorder(self.shadow)
        self.failures: Final = PolicyFailures()
        #: That of the policy when it was appointed, for one in code may have other values by now.
        self._revision = revision_of(self.policy)
        self._tell_shadow()
        self._changing = threading.Lock()
        #: Whether a new policy has to suit the declared tasks: from the check before the opening on.
        self._serves = False
        self._chooser: Chooser | None = None
        self._readings: LiveReadings | None = None
        #: To be run while the dispatcher is open, if the setting asks for it.
        self.watch: PolicyWatch | None = None
        if settings.policy_watch_s:
            self.watch = PolicyWatch(replace=self._take_over, interval_s=settings.policy_watch_s)
            self.watch.follow(_watchable(reference, settings.policy_watch_s))

    def check(self) -> None:
        """Look at the declared tasks, before the lanes are opened; and from now on, at each change of the policy.

        :raises DeclarationError, BrokerNotConfiguredError: as :func:`check_tasks`.
        """
        with self._changing:
            check_tasks(self._registry, self.policy, has_broker=self._has_broker)
            self._serves = True

    def chooser(self, readings: LiveReadings, *, queue: Queue | None) -> Chooser:
        """A chooser that obeys the policy, and is told of each change until :meth:`release`; the readings are too."""
        with self._changing:
            self._readings = readings
            readings.watch(self._reads(self.policy))
            self._chooser = Chooser(
                registry=self._registry,
                policy=self.policy,
                revision=self._revision,
                readings=readings,
                queue=queue,
                failures=self.failures,
                shadow=self.shadow,
                arguments_check=self._settings.arguments_check,
                arguments_check_share=self._settings.arguments_check_share,
                arguments_limit_bytes=self._settings.arguments_limit_bytes,
            )
            return self._chooser

    def unopened(self) -> Chooser:
        """A chooser that obeys the policy, for questions while nothing is open."""
        return Chooser(registry=self._registry, policy=self.policy, revision=self._revision)

    def release(self) -> None:
        """Nobody is to be told any more, and until the next check a policy may come that suits no task."""
        with self._changing:
            self._chooser = self._readings = None
            self._serves = False

    def stop_readings(self) -> None:
        """Sample the broker no more, whatever policy comes: it is about to be closed."""
        with self._changing:
            if self._readings is not None:
                self._readings.stop()

    def appoint(self, reference: str | os.PathLike[str] | Policy) -> None:
        """Let another policy decide from the next call on, and follow its file if one is watched. On any thread.

        :raises PolicyError: if it cannot be used.
        :raises BrokerNotConfiguredError: if it could queue a task, and there is no broker.
        """
        policy = load_policy(reference)
        revision = revision_of(policy)
        with self._changing:
            self._replace(policy, revision)
            if self.watch is not None:
                self.watch.follow(file_of(reference))

    def _take_over(self, policy: Policy, file: WatchedFile) -> None:
        """For the watch: what the file holds now decides, unless it does already, or another one is followed by now."""
        revision = revision_of(policy)
        with self._changing:
            if self.watch is not None and file is self.watch.file and revision != self._revision:
                self._replace(policy, revision)

    def _reads(self, policy: Policy) -> frozenset[str] | None:
        """The facts that are looked at, by the policy or its shadow; ``None``: it may be any."""
        reads, of_shadow = reads_of(policy), frozenset() if self.shadow is None else reads_of(self.shadow.policy)
        return None if reads is None or of_shadow is None else reads | of_shadow

    def _tell_shadow(self) -> None:
        if self.shadow is not None:
            self.shadow.beside(self.policy, self._revision)

    def _replace(self, policy: Policy, revision: str) -> None:
        """With the lock held."""
        if self._serves:
            check_tasks(self._registry, policy, has_broker=self._has_broker)
        if self._chooser is not None and self._readings is not None:
            self._chooser.use(policy, revision=revision)
            self._readings.watch(self._reads(policy))
        before, self.policy = self.policy, policy
        before_revision, self._revision = self._revision, revision
        self._tell_shadow()
        emit(
            logger,
            POLICY_REPLACED,
            policy=source_of(policy),
            revision=revision,
            replaced=source_of(before),
            replaced_revision=before_revision,
        )


def _loaded_shadow(reference: str | os.PathLike[str] | Policy) -> Policy:
    """As :func:`load_policy`. What is wrong is said of the shadow: who reads it looks at the policy first."""
    try:
        return load_policy(reference)
    except PolicyError as error:
        raise type(error)(
            source=f"{error.source} (the shadow policy)",
            problem=error.problem,
            remedy=error.remedy,
            where=error.where,
            excerpt=error.excerpt,
        ) from error


def _watchable(reference: object, interval_s: float) -> Path:
    file = file_of(reference)
    if file is None:
        shown = repr(reference) if isinstance(reference, str) else f"a {type(reference).__name__}"
        raise SettingsError(
            setting="policy_watch_s",
            problem=f"is {interval_s:g}, and the policy ({shown}) is from no file that could be watched",
            remedy="give policy the path of a .toml file, or leave policy_watch_s out",
        )
    return file
