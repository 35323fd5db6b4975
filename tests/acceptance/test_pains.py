"""What hurts with FastAPI's own ``BackgroundTasks``, and does not with weighbridge.

Each pain is a service in ``pains/``, run twice: with FastAPI's class, and with ``from weighbridge import
BackgroundTasks`` and a dispatcher at its defaults. ``wanted`` is what its user would like to be true. It is asserted
with weighbridge, and that something else is the case with FastAPI's class: so each check can fail, and each pain is
there today. ``docs/how-to/migrate.md`` has the list.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from .pains import answers, blocking, failures, shutdown, waiting
from .pains.pain import Pain
from .pains.side import STOCK, WEIGHBRIDGE

PAINS = [
    # -- a task fails ---------------------------------------------------------------------------------------
    Pain(
        title="A task that fails undoes an order that was answered with 200",
        because="its error is thrown into the dependencies of the request, which close after the tasks",
        scenario=failures.fate_of_an_order,
        wanted="answered 200, committed",
        on_stock="answered 200, rolled back",
    ),
    Pain(
        title="A task that fails takes the later ones with it",
        because="the tasks of a request are one loop, which the first error ends",
        scenario=failures.what_runs_after_a_failure,
        wanted="second and third",
        on_stock="nothing",
    ),
    Pain(
        title="The error of a task is taken for one of the endpoint",
        because="it goes through the exception handlers, which find that a response was sent, and raise another",
        scenario=failures.what_the_server_hears,
        wanted="answered 200",
        on_stock="Caught handled exception, but response already started.",
    ),
    Pain(
        title="A task that fails when nobody listens any more still undoes the order",
        because="that the client has left changes nothing of all this",
        scenario=failures.fate_of_an_order_whose_client_left,
        wanted="committed, the next task ran",
        on_stock="rolled back",
    ),
    # -- many tasks wait ------------------------------------------------------------------------------------
    Pain(
        title="Slow tasks stop all sync endpoints",
        because="sync tasks, endpoints and dependencies share 40 threads",
        scenario=waiting.whether_a_sync_endpoint_answers,
        wanted='200 "ok" end',
        on_stock="it waits for a thread",
    ),
    Pain(
        title="Slow tasks use up the pool of database connections",
        because="the dependencies of a request stay open until its tasks have ended",
        scenario=waiting.how_many_sessions_are_open,
        wanted="0 open",
        on_stock="300 open",
    ),
    Pain(
        title="Slow tasks make the server refuse requests",
        because="a request lasts until its tasks have ended, and counts for --limit-concurrency so long",
        scenario=waiting.whether_requests_are_refused,
        wanted="200",
        on_stock="200 and 503",
    ),
    # -- a task is added, and nobody hears of it again -------------------------------------------------------
    Pain(
        title="A response with a background of its own drops the tasks of its dependencies",
        because="the injected tasks become the response's background only where it has none",
        scenario=answers.what_runs_beside_a_background_of_the_responses_own,
        wanted="audit and clean up",
        on_stock="clean up",
    ),
    Pain(
        title="Tasks of a websocket never run",
        because="tasks belong to a response, and a websocket has none",
        scenario=answers.what_a_websocket_runs,
        wanted="transcript",
        on_stock="nothing",
    ),
    Pain(
        title="A client that leaves takes the tasks with it",
        because="a server may say by an error in the response that the client has left, and tasks come after it",
        scenario=answers.what_a_client_that_leaves_takes_along,
        wanted="count the download",
        on_stock="nothing",
    ),
    Pain(
        title="A task that is added after the response is dropped in silence",
        because="anybody may add to a list that nobody will look at again",
        scenario=answers.what_becomes_of_a_task_that_is_added_too_late,
        wanted="CommittedError",
        on_stock="nothing",
    ),
    Pain(
        title="A response that is given twice charges twice",
        because="calling the tasks again runs them again",
        scenario=answers.how_often_a_kept_response_works,
        wanted="1 run, CommittedError",
        on_stock="2 run, no error",
    ),
    # -- a task is not what was meant ------------------------------------------------------------------------
    Pain(
        title="A task does not know for whom a sync endpoint added it",
        because="context variables that are set on a thread stay there",
        scenario=answers.who_a_task_works_for,
        wanted="ann",
        on_stock="nobody",
    ),
    Pain(
        title="add_task does not say which task it has added, and cannot be taught to",
        because="for an annotation with a class that extends FastAPI's, FastAPI makes an object of its own",
        scenario=answers.what_add_task_gives,
        wanted="an id",
        on_stock="nothing",
    ),
    Pain(
        title="An item of one's own in tasks.tasks stops the tasks at its place",
        because="FastAPI asks each item for its func, to tell a tracer, and such an item need not have one",
        scenario=answers.what_becomes_of_an_item_of_ones_own,
        wanted="ran confirm and flush and count",
        on_stock="ran confirm",
    ),
    # -- the service is deployed anew ------------------------------------------------------------------------
    Pain(
        title="A deployment drops tasks that there was time for",
        because="a server cancels requests before the service hears of the end, and tasks are part of a request",
        scenario=shutdown.what_is_lost_though_there_was_time,
        wanted="nothing",
        on_stock="confirm and count and archive",
    ),
    Pain(
        title="A deployment drops tasks and does not say which",
        because="the log shows the task that was interrupted; those behind it are items of a list that is forgotten",
        scenario=shutdown.what_nobody_is_told_of,
        wanted="nothing",
        on_stock="count and archive",
    ),
    Pain(
        title="A deployment hangs on an async task that does not end",
        because="a server waits for requests, for ever if it is not told otherwise, and tasks are part of a request",
        scenario=shutdown.whether_the_service_ends,
        wanted=f"it ends with {-signal.SIGTERM}",
        on_stock="it waits for the tasks",
    ),
    # -- an async task does what it should not ---------------------------------------------------------------
    Pain(
        title="An async task that blocks the event loop is not found",
        because="all requests are slow meanwhile, and nothing says that a task is the cause, or which",
        scenario=blocking.what_is_named,
        wanted="render_report",
        on_stock="nothing",
    ),
]


@pytest.mark.usefixtures("only_own_tasks")
@pytest.mark.parametrize("pain", PAINS, ids=str)
def test_on_weighbridge_it_does_not_hurt(pain: Pain) -> None:
    assert pain.scenario(WEIGHBRIDGE) == pain.wanted


@pytest.mark.usefixtures("only_own_tasks")
@pytest.mark.parametrize("pain", PAINS, ids=str)
def test_on_stock_background_tasks_it_hurts(pain: Pain) -> None:
    found = pain.scenario(STOCK)
    assert found != pain.wanted
    assert found == pain.on_stock


def test_the_page_lists_each_pain_and_nothing_else() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "migrate.md").read_text(encoding="utf-8")
    _, _, section = page.partition("## What stops hurting\n")
    section, _, _ = section.partition("\n## ")
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    assert rows[1:] == [f"| {pain.title} | {pain.because} |" for pain in PAINS]
