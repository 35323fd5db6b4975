"""The service under test: the app in this process, a real server, and a real worker."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from weighbridge.embedded import EmbeddedServer

EXAMPLES = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The app, with a worker beside it that has the same settings."""
    with pytest.MonkeyPatch.context() as patch, EmbeddedServer.start() as server:
        patch.syspath_prepend(str(EXAMPLES))
        patch.setenv("PYTHONPATH", str(EXAMPLES))
        patch.setenv("ORDERS_FOLDER", str(tmp_path_factory.mktemp("orders")))
        patch.setenv("WEIGHBRIDGE_BROKER_URL", server.url)
        from orders.app import app  # noqa: PLC0415  # its dispatcher reads the settings when it is imported

        words = [sys.executable, "-m", "weighbridge", "worker", "orders.tasks", "--processes", "1"]
        worker = subprocess.Popen(words)  # noqa: S603  # our own words
        try:
            with TestClient(app) as client:
                yield client
        finally:
            worker.terminate()
            worker.wait(60)


def run_of(task: str, request_id: str) -> dict[str, Any]:
    """The one run of a task for a request, as soon as there is one."""
    from orders import journal  # noqa: PLC0415  # importable once the fixture has said where

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = [run for run in journal.runs() if (run["task"], run["request_id"]) == (task, request_id)]
        if found:
            (run,) = found
            return run
        time.sleep(0.02)
    pytest.fail(f"{task} of {request_id} has not run")


def test_an_order_is_audited_and_counted_here_and_charged_in_the_worker(shop: TestClient) -> None:
    order = {"product": "teapot", "pieces": 2, "cents": 4_900}
    response = shop.post("/orders", json=order, headers={"X-Request-ID": "order"})
    assert response.status_code == 202
    calls = response.json()["calls"]
    assert {task: call["lane"] for task, call in calls.items()} == {
        "audit": "in_process",
        "count_sale": "in_process",
        "charge": "queue",
    }
    assert run_of("audit", "order")["pid"] == os.getpid()
    assert run_of("count_sale", "order")["pid"] == os.getpid()
    assert run_of("charge", "order")["pid"] != os.getpid()
    assert shop.get("/sales").json()["teapot"] == 2


def test_a_report_is_drawn_in_the_worker_and_can_be_fetched(shop: TestClient) -> None:
    headers = {"X-Request-ID": "report"}
    response = shop.post("/reports", json={"values": [3, 1, 4, 1, 5, 9, 2, 6]}, headers=headers)
    assert response.json()["calls"]["render_report"]["lane"] == "queue"
    assert run_of("render_report", "report")["pid"] != os.getpid()
    picture = shop.get("/reports/report")
    assert picture.headers["content-type"] == "image/png"
    assert size_of(picture.content) == (400, 180)


def test_a_report_that_nobody_asked_for_is_not_found(shop: TestClient) -> None:
    assert shop.get("/reports/unknown").status_code == 404


def test_a_page_view_leaves_a_line_in_the_audit(shop: TestClient) -> None:
    shop.get("/products/lamp", headers={"X-Request-ID": "view"})
    run_of("audit", "view")
    audit = Path(os.environ["ORDERS_FOLDER"], "audit.log").read_text(encoding="utf-8")
    assert "view looked at 'lamp'\n" in audit


def test_an_order_that_is_refused_adds_no_call(shop: TestClient) -> None:
    from orders import journal  # noqa: PLC0415  # as above

    response = shop.post("/orders", json={"product": "teapot"}, headers={"X-Request-ID": "bad"})
    assert response.status_code == 422
    assert not [run for run in journal.runs() if run["request_id"] == "bad"]


def size_of(png: bytes) -> tuple[int, int]:
    """The width and height in a PNG's header, once its checksum and its pixels are looked at."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    length, kind = struct.unpack(">I4s", png[8:16])
    header = png[16 : 16 + length]
    assert kind == b"IHDR"
    assert struct.unpack(">I", png[16 + length : 20 + length]) == (zlib.crc32(kind + header),)
    data_at = 20 + length
    (data_length,) = struct.unpack(">I", png[data_at : data_at + 4])
    width, height = struct.unpack(">II", header[:8])
    pixels = zlib.decompress(png[data_at + 8 : data_at + 8 + data_length])
    assert len(pixels) == height * (1 + 3 * width)
    return width, height
