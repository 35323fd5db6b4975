from __future__ import annotations

import pytest

from weighbridge.errors import QueueNameError
from weighbridge.lanes.queue.keys import QueueKeys, queues_key


def all_keys(keys: QueueKeys) -> list[str]:
    return [keys.stream, keys.delayed, keys.wake, keys.dead, keys.mark("id", 0), keys.letter("id")]


def test_all_keys_of_a_queue_share_one_hash_tag() -> None:
    keys = QueueKeys(namespace="shop", queue="default")

    assert all(key.startswith("shop:{default}:") for key in all_keys(keys))


def test_two_queues_share_no_key() -> None:
    one, other = QueueKeys(namespace="shop", queue="a"), QueueKeys(namespace="shop", queue="b")

    assert not set(all_keys(one)) & set(all_keys(other))


def test_each_attempt_of_a_message_has_a_mark_of_its_own() -> None:
    keys = QueueKeys(namespace="shop", queue="default")

    assert keys.mark("id", 0) != keys.mark("id", 1)


def test_a_namespace_with_braces_puts_all_queues_into_one_slot() -> None:
    one, other = QueueKeys(namespace="{shop}", queue="a"), QueueKeys(namespace="{shop}", queue="b")

    tags = {key[key.index("{") + 1 : key.index("}")] for key in all_keys(one) + all_keys(other)}
    assert tags == {"shop"}


def test_the_set_of_queues_belongs_to_the_namespace() -> None:
    assert queues_key("shop") == "shop:queues"


@pytest.mark.parametrize("name", ["", "a}b", "{a}", "a b", "a:b", "7up", "ä", "a\n"])
def test_a_queue_name_that_would_break_the_keys_is_refused(name: str) -> None:
    with pytest.raises(QueueNameError, match="cannot exist"):
        QueueKeys(namespace="shop", queue=name)
