"""Where no server compares, a slow renewal may go over a newer node's claim: what that node wrote is looked for."""

from __future__ import annotations

from pathlib import Path

from sync.engine import REPULL_AFTER_S
from sync.lease import RACE_S, RENEW_S, TERM_S
from sync.stores import Writes
from tests.support.rig import Rig

NONE = {"writes": Writes.NONE, "delete_if_match": False}


def test_a_slow_renewal_where_nobody_compares_leads_to_a_pull(tmp_path: Path) -> None:
    """Simulation, seed 3000: the second node's object stayed unseen by the first, which held the folder again."""
    rig = Rig(tmp_path, facts=NONE)
    rig.write("a", "a")
    rig.sync()

    def dawdle(key: str) -> None:
        if key.endswith("lease.json"):
            del rig.store.before["put"]
            rig.clock.added_s += RACE_S + 5.0
            rig.foreign("theirs", "written between the look and the write")

    rig.clock.added_s += RENEW_S + 1.0
    rig.store.before["put"] = dawdle
    rig.write("b", "b")
    rig.sync()
    rig.rest(TERM_S + REPULL_AFTER_S + 5.0)
    assert rig.read("theirs") == "written between the look and the write"


def test_a_swift_renewal_costs_no_pull(tmp_path: Path) -> None:
    rig = Rig(tmp_path, facts=NONE)
    rig.write("a", "a")
    rig.sync()
    rig.store.log.clear()
    for number in range(4):
        rig.clock.added_s += RENEW_S + 1.0
        rig.write("b", f"b{number}")
        rig.sync()
    rig.rest(TERM_S + REPULL_AFTER_S + 5.0)
    assert rig.store.count("list") == 0
