"""The demo's account and figures: what does not add up is found and named."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from rich.console import Console, RenderableType

from weighbridge.cli.demo import pages, service
from weighbridge.cli.demo.account import Account, Journal, Run, settle
from weighbridge.cli.demo.figures import PolicyFigures, Times, measure
from weighbridge.cli.demo.show import POLICIES, _clear
from weighbridge.cli.demo.traffic import COUNTS, AcceptedCall, Answer, Kind, Planned, Traffic, plan
from weighbridge.cli.group import RefusedError
from weighbridge.decision import Lane
from weighbridge.embedded import EmbeddedServer, ExternalServer

WEB, WORKER = 100, 200


def answered(kind: Kind, number: int, *, problem: str | None = None, **lanes: Lane) -> Answer:
    request_id = f"p-{kind}-{number:03}"
    body = {"product": "lamp", "pieces": 2, "cents": 1} if kind is Kind.ORDER else None
    return Answer(
        request=Planned(at_s=0, kind=kind, request_id=request_id, method="POST", path="/x", body=body),
        sent_at_s=1_000.0,
        response_s=0.010,
        calls=tuple(AcceptedCall(task=task, request_id=request_id, lane=lane) for task, lane in lanes.items()),
        problem=problem,
    )


def run(task: str, kind: Kind, number: int, pid: int) -> Run:
    return Run(task=task, request_id=f"p-{kind}-{number:03}", pid=pid, ended_at_s=1_000.5)


@pytest.fixture
def traffic() -> Traffic:
    """One order, one report, one probe."""
    return Traffic(
        answers=[
            answered(Kind.ORDER, 1, audit=Lane.IN_PROCESS, charge=Lane.QUEUE),
            answered(Kind.REPORT, 1, render_report=Lane.QUEUE),
            answered(Kind.PROBE, 1),
        ]
    )


@pytest.fixture
def runs() -> list[Run]:
    return [
        run("audit", Kind.ORDER, 1, WEB),
        run("charge", Kind.ORDER, 1, WORKER),
        run("render_report", Kind.REPORT, 1, WORKER),
    ]


def settled(traffic: Traffic, runs: Sequence[Run], *, pieces: int = 2) -> Account:
    return settle(traffic, runs, web_pid=WEB, pieces_counted=pieces)


def test_an_account_of_calls_that_ran_once_in_their_lane_has_no_fault(traffic: Traffic, runs: list[Run]) -> None:
    account = settled(traffic, runs)
    assert account.accepted == 3
    assert account.faults == {}


def test_a_call_that_never_ran_is_named(traffic: Traffic, runs: list[Run]) -> None:
    assert settled(traffic, runs[:2]).faults == {"accepted and never run": ("render_report of p-report-001",)}


def test_a_call_that_ran_twice_is_named(traffic: Traffic, runs: list[Run]) -> None:
    assert settled(traffic, [*runs, runs[1]]).faults == {"run more than once": ("charge of p-order-001: 2 times",)}


def test_a_run_that_nobody_was_promised_is_named(traffic: Traffic, runs: list[Run]) -> None:
    stray = run("audit", Kind.VIEW, 9, WEB)
    assert settled(traffic, [*runs, stray]).faults == {"run and never accepted": ("audit of p-view-009",)}


def test_a_run_in_another_lane_than_the_ticket_told_is_named(traffic: Traffic, runs: list[Run]) -> None:
    runs[0] = replace(runs[0], pid=WORKER)
    assert settled(traffic, runs).faults == {
        "run in another lane than the ticket told": ("audit of p-order-001: process 200",)
    }


def test_a_request_that_was_not_accepted_is_named_with_its_answer(traffic: Traffic, runs: list[Run]) -> None:
    traffic.answers.append(answered(Kind.VIEW, 2, problem="503 broker is down"))
    assert settled(traffic, runs).faults == {"not accepted": ("POST /x (p-view-002): 503 broker is down",)}


def test_a_counter_that_missed_an_order_is_named(traffic: Traffic, runs: list[Run]) -> None:
    assert settled(traffic, runs, pieces=0).faults == {"counted wrong in memory": ("0 pieces instead of 2",)}


def test_the_journal_is_read_as_it_grows_and_a_half_written_line_waits(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    journal = Journal(path)
    assert journal.runs(prefix="p") == []
    lines = [
        json.dumps({"task": "audit", "request_id": request_id, "pid": WEB, "started_at_s": 1.0, "ended_at_s": 2.0})
        for request_id in ("p-view-001", "other-view-001", "p-view-002")
    ]
    path.write_text(f"{lines[0]}\n{lines[1]}\n{lines[2][:20]}", encoding="utf-8")
    assert [each.request_id for each in journal.runs(prefix="p")] == ["p-view-001"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert [each.request_id for each in journal.runs(prefix="p")] == ["p-view-001", "p-view-002"]


def test_quantiles_are_times_that_were_measured() -> None:
    times = Times.of([number / 1_000 for number in range(1, 101)])
    assert (times.p50, times.p99) == (50, 99)


def test_what_was_not_measured_is_no_number() -> None:
    assert math.isnan(Times.of([]).p50)


def test_every_policy_gets_the_same_requests_at_the_same_moments() -> None:
    plans = [plan(policy) for policy in POLICIES]
    assert len(plans[0]) == sum(COUNTS.values())
    told = [[(each.at_s, each.kind, each.path, each.body) for each in requests] for requests in plans]
    assert told[0] == told[1] == told[2]
    assert len({each.request_id for requests in plans for each in requests}) == 3 * len(plans[0])


def shown(page: RenderableType, *, width: int = 80) -> str:
    text = io.StringIO()
    Console(width=width, file=text).print(page)
    return text.getvalue()


def figures_of(policy: str, traffic: Traffic, runs: Sequence[Run], *, pieces: int = 2) -> PolicyFigures:
    account = settled(traffic, runs, pieces=pieces)
    return measure(policy, traffic, runs, account=account, web_pid=WEB, tasks=list(pages.TASKS))


def test_a_page_says_who_ran_what_and_fits_into_80_columns(traffic: Traffic, runs: list[Run]) -> None:
    page = shown(pages.policy_page(figures_of("by-weight", traffic, runs), description="text"))
    assert "web 100" in page
    assert "worker 200" in page
    assert "each ran exactly once" in page
    assert "…" not in page


def test_a_page_with_faults_does_not_say_that_all_is_well(traffic: Traffic, runs: list[Run]) -> None:
    page = shown(pages.policy_page(figures_of("by-weight", traffic, runs[1:]), description="text"))
    assert "1 accepted and never run" in page
    assert "exactly once" not in page


def test_below_the_table_it_says_where_the_clocks_start_and_stop(traffic: Traffic, runs: list[Run]) -> None:
    lines = shown(pages.policy_page(figures_of("by-weight", traffic, runs), description="text")).splitlines()
    assert lines[-4:-2] == [
        "ms from the moment planned for sending the request; a wait to send it counts.",
        "A run may end before the client has read the response.",
    ]
    assert "response read" in lines[1]
    assert "run ended" in lines[1]


def test_every_kind_of_request_is_introduced_with_the_tasks_that_it_adds() -> None:
    lines = shown(pages.introduction(list(POLICIES), server="redis-server")).splitlines()
    for kind, (name, added, what) in pages.REQUESTS.items():
        assert any(line.split() == [str(COUNTS[kind]), *name.split(), *added.split(), *what.split()] for line in lines)


def slowed(traffic: Traffic, *, by: float) -> Traffic:
    """The same traffic with every answer so many times as late."""
    return Traffic(answers=[replace(answer, response_s=answer.response_s * by) for answer in traffic.answers])


def test_a_loss_of_the_first_policy_is_told_like_a_win(traffic: Traffic, runs: list[Run]) -> None:
    first = figures_of("by-weight", traffic, runs)
    later = figures_of("all-in-process", slowed(traffic, by=4), runs)
    sooner = figures_of("all-queued", slowed(traffic, by=0.25), runs)
    page = shown(pages.comparison([first, later, sooner]))
    (probe,) = [line for line in page.splitlines() if line.startswith("a health probe")]
    assert probe.split()[6:] == ["10.0", "40.0", "4.0", pages.FACTOR, "2.5", "0.25", pages.FACTOR]
    told = " ".join(page.split())
    assert "all-in-process. Later than with by-weight: health probes; sooner: nothing; about the same: " in told
    assert "all-queued. Later than with by-weight: nothing; sooner: health probes; about the same: " in told


@pytest.mark.parametrize(
    ("by", "said"), [(0.0034, "0.0034"), (0.034, "0.034"), (1, "1.0"), (9.5, "9.5"), (34, "34"), (345, "345")]
)
def test_a_factor_has_two_digits_that_count(traffic: Traffic, runs: list[Run], by: float, said: str) -> None:
    first, other = figures_of("by-weight", traffic, runs), figures_of("all-queued", slowed(traffic, by=by), runs)
    page = shown(pages.comparison([first, other]))
    (probe,) = [line for line in page.splitlines() if line.startswith("a health probe")]
    assert probe.split()[-2:] == [said, pages.FACTOR]


def test_where_a_hundred_were_not_measured_it_is_called_the_maximum(traffic: Traffic, runs: list[Run]) -> None:
    traffic.answers += [answered(Kind.PROBE, number) for number in range(2, 101)]
    page = shown(pages.comparison([figures_of(policy, traffic, runs) for policy in POLICIES]))
    assert "a report is drawn (max) " in page
    assert "a health probe is answered  " in page


def test_the_price_of_more_queued_calls_is_told(traffic: Traffic, runs: list[Run]) -> None:
    queued = Traffic(answers=[*traffic.answers, answered(Kind.VIEW, 1, audit=Lane.QUEUE)])
    page = shown(pages.comparison([figures_of("by-weight", traffic, runs), figures_of("all-queued", queued, runs)]))
    told = "The price of all-queued is not in these times: 3 calls instead of 2 took a write to the broker before their"
    assert told in " ".join(page.split())
    same = shown(pages.comparison([figures_of(policy, traffic, runs) for policy in POLICIES]))
    assert "The price" not in same


def test_every_line_is_compared_for_every_policy_and_fits_into_80_columns(traffic: Traffic, runs: list[Run]) -> None:
    traffic.answers.append(answered(Kind.VIEW, 1, audit=Lane.IN_PROCESS))
    traffic.answers.append(answered(Kind.ORDER, 2, count_sale=Lane.IN_PROCESS))
    runs += [run("audit", Kind.VIEW, 1, WEB), run("count_sale", Kind.ORDER, 2, WEB)]
    page = shown(pages.comparison([figures_of(policy, traffic, runs) for policy in POLICIES]))
    for each in pages.MEASURES:
        (line,) = [line for line in page.splitlines() if line.startswith(each.name)]
        assert line.count(f"1.0 {pages.FACTOR}") == 2
    assert "…" not in page


def test_what_was_not_measured_is_compared_in_no_word(traffic: Traffic, runs: list[Run]) -> None:
    page = shown(pages.comparison([figures_of(policy, traffic, runs) for policy in POLICIES]))
    (views,) = [line for line in page.splitlines() if line.startswith("a page view")]
    assert views.split()[-3:] == ["-", "-", "-"]
    assert "page views" not in page


def test_long_lists_of_faults_are_cut_and_counted() -> None:
    traffic = Traffic(answers=[answered(Kind.VIEW, number, audit=Lane.IN_PROCESS) for number in range(30)])
    page = shown(pages.faults(figures_of("by-weight", traffic, [], pieces=0)))
    assert "30 accepted and never run" in page
    assert "and 20 more" in page


def test_the_processes_get_the_demos_settings_and_none_of_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIGHBRIDGE_ON_FAILURE", "stop")
    monkeypatch.setenv("PYTHONPATH", "/theirs")
    environment = service.service_environment(broker_url="unix:///s", namespace="n", folder=tmp_path)
    settings = {name: value for name, value in environment.items() if name.startswith("WEIGHBRIDGE_")}
    assert settings == {"WEIGHBRIDGE_BROKER_URL": "unix:///s", "WEIGHBRIDGE_NAMESPACE": "n"}
    assert environment["PYTHONPATH"].endswith(":/theirs")


def test_a_service_that_cannot_start_is_quoted(tmp_path: Path) -> None:
    environment = service.service_environment(broker_url="nonsense", namespace="n", folder=tmp_path)
    with (
        service.Service.web(policy="by-weight", environment=environment) as web,
        pytest.raises(RefusedError, match="the web ended with status") as raised,
    ):
        web.wait_until_ready()
    assert "broker_url" in raised.value.message


def test_a_server_that_lives_on_is_left_without_the_demos_keys(redis_server: EmbeddedServer) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.set("demo-1:stream", "x")
        client.set("mine", "x")
        _clear(ExternalServer(url=redis_server.url), "demo-1")
        assert client.exists("mine")
        assert not client.exists("demo-1:stream")
        client.delete("mine")
