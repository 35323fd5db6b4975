"""Users of a Redis server who may do what a role may do, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

import redis

from weighbridge.lanes.queue.permissions import Role, acl_rules

PASSWORD = "a-password-of-a-role"


def url_as(role: Role, url: str, *, namespace: str) -> str:
    """Make the role's user for a namespace, on the server at ``url``; the address with that user."""
    user = f"{namespace}-{role}"
    with redis.Redis.from_url(url) as root:
        rules = words_of(acl_rules(role, namespace))
        root.execute_command("ACL", "SETUSER", user, "reset", "on", f">{PASSWORD}", *rules)
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{user}:{PASSWORD}@{place}").geturl()


def words_of(rules: Sequence[str]) -> list[str]:
    """The rules as arguments of ``ACL SETUSER``: what is in parentheses is one."""
    return [word for rule in rules for word in ([rule] if rule.startswith("(") else rule.split())]
