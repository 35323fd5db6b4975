"""The same app under each of the two files: the lanes change, the code does not."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from weighbridge.embedded import EmbeddedServer

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def broker_url() -> Iterator[str]:
    with EmbeddedServer.start() as server:
        yield server.url


@pytest.fixture
def place(broker_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, str]]:
    """Places an order under the policy in a file of this folder; the answer says what decided each call."""

    def under(policy: str) -> dict[str, str]:
        monkeypatch.setenv("WEIGHBRIDGE_BROKER_URL", broker_url)
        monkeypatch.setenv("WEIGHBRIDGE_POLICY", str(HERE / policy))
        sys.modules.pop("policy_file.app", None)  # its dispatcher reads the settings when it is imported
        with TestClient(importlib.import_module("policy_file.app").app) as client:
            answer: dict[str, str] = client.post("/orders/1").json()
            return answer

    return under


def test_mail_is_queued_by_the_first_file(place: Callable[[str], dict[str, str]]):
    assert place("mail_is_queued.toml") == {
        "send_invoice": "policy mail_is_queued, rule 'mail is queued': 'mail' in tags",
        "update_statistics": "policy mail_is_queued, otherwise: no rule matches",
    }


def test_all_but_the_lightest_is_queued_by_the_second(place: Callable[[str], dict[str, str]]):
    assert place("quiet_web.toml") == {
        "send_invoice": "policy quiet_web, otherwise: no rule matches",
        "update_statistics": "policy quiet_web, rule 'the web process stays quiet': weight >= 5",
    }
