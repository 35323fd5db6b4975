"""A request, a real server, a real worker in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from weighbridge.embedded import EmbeddedServer

EXAMPLES = Path(__file__).resolve().parents[1]
DEADLINE_S = 30


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    with EmbeddedServer.start() as server:
        monkeypatch.setenv("WEIGHBRIDGE_BROKER_URL", server.url)
        monkeypatch.setenv("PICTURES", str(tmp_path))
        from first_weight.app import app  # noqa: PLC0415  # its dispatcher reads the settings when it is imported

        worker = subprocess.Popen(
            [sys.executable, "-m", "weighbridge", "worker", "first_weight.app", "--processes", "1"], cwd=EXAMPLES
        )
        try:
            with TestClient(app) as client:
                yield client
        finally:
            worker.terminate()
            assert worker.wait(DEADLINE_S) == 0


def test_a_picture_is_drawn_in_a_worker(client: TestClient):
    ordered = client.post("/pictures/7")
    assert ordered.status_code == 202
    assert ordered.json()["lane"] == "queue"
    picture = fetched(client, "/pictures/7").splitlines()
    assert picture[0] == "P2"
    assert picture[1].startswith("# process ")
    assert picture[1] != f"# process {os.getpid()}"
    assert len(picture) == 4 + 96


def fetched(client: TestClient, path: str) -> str:
    deadline_s = time.monotonic() + DEADLINE_S
    while (answer := client.get(path)).status_code == 404:
        assert time.monotonic() < deadline_s, "the picture was not drawn"
        time.sleep(0.05)
    return answer.text
