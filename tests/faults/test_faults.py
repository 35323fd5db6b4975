"""The short form of every fault, on weighbridge and on plain Dramatiq at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tests.faults.catalogue import FAULTS
from tests.faults.report import LEASE_S, shown, side_by_side
from tests.faults.rig import Rig
from tests.faults.side import SIDES
from tests.faults.trial import Fault, Scale

SEED = 1


@pytest.fixture(scope="module")
def rigs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Rig]]:
    """Both sides, which run all the faults one after the other."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(Rig(side(), tmp_path_factory.mktemp("rig"), lease_s=LEASE_S[Scale.SHORT]))
            for side in SIDES
        ]


@pytest.mark.xdist_group("faults")
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_every_promise_holds_and_plain_dramatiq_breaks(fault: Fault, rigs: list[Rig]) -> None:
    ours, *stock = results = side_by_side(fault, rigs, scale=Scale.SHORT, seed=SEED)

    print(shown(fault, results))
    assert ours.problems == ()
    assert ours.account.attempted
    assert all(each.problems for each in stock), "this fault proves nothing: make it harder"
