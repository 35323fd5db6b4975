"""How soon an idle worker starts a call, and what its waiting costs the server, beside plain Dramatiq.

``python tests/benchmarks/bench_pick_up.py [--long]``: from the root. Each side has its own server, service and worker
(one process), without a proxy. It exits with 1 if a target is missed: median 3 ms, p99 10 ms, 2 commands a second.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.faults.idle import FAULTS
from tests.faults.report import shown
from tests.faults.rig import Rig
from tests.faults.side import SIDES
from tests.faults.trial import Scale, run


def main() -> int:
    """Measure both sides, one after the other, and say whether the targets are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    (fault,) = FAULTS
    results = []
    with tempfile.TemporaryDirectory() as directory:
        for side in SIDES:
            rig = Rig(side(), Path(directory) / side.module, lease_s=15, fsync="everysec", direct=True, processes=1)
            with rig:
                results.append(run(fault, rig, scale=Scale.LONG, seed=1))
    print(shown(fault, results))
    return 1 if results[0].problems else 0


if __name__ == "__main__":
    sys.exit(main())
