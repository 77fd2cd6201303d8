"""Words and documents at the ends of a node's life."""

from __future__ import annotations

from dataclasses import replace

import pytest

from preflight.examination import Outcome
from preflight.outcomes import account_faults, kept_report, last_words
from sync.status import State, Status

SAVED = Status(State.SAVED, store="s3://b/f", restored=True)
HERE = "in the folder on this machine"


@pytest.mark.parametrize(
    ("status", "ended", "words"),
    [
        (None, 0, "Whether everything is saved is not known"),
        (SAVED, 0, "Everything is saved in s3://b/f"),
        (replace(SAVED, state=State.SAVING), 0, "Everything is saved in s3://b/f"),  # a late alarm
        (SAVED, -9, f"The last save was cut short: what it had left is {HERE}"),  # the document is an old one
        (SAVED, None, "The last save was cut short"),
        (replace(SAVED, pending_files=3), 3, f"3 files are not saved, but {HERE}"),
        (replace(SAVED, pending_files=1, why="it does not answer"), 3, "1 file is not saved (it does not answer), but"),
        (replace(SAVED, state=State.OFFLINE, why="no answer"), 3, "Not everything is saved (no answer)"),
        (replace(SAVED, state=State.OFFLINE, restored=False), 3, "before the folder was restored"),
        (
            replace(SAVED, state=State.FAILED, restored=False, why="denied"),
            12,
            "before the folder was restored (denied)",
        ),
        (replace(SAVED, state=State.HELD, held_count=60), 20, "Everything is saved in s3://b/f; 60 deletes are held"),
        (replace(SAVED, state=State.FENCED), 11, "A newer node has taken over"),
        (Status(state=State.FAILED), 0, f"Nothing is saved: no bucket is configured. Your work is {HERE}"),
    ],
)
def test_last_words(status: Status | None, ended: int | None, words: str) -> None:
    assert words in last_words(status, ended)
    assert ("Everything is saved" in words) == ("Everything is saved" in last_words(status, ended))


def test_a_node_that_stays_is_degraded_and_says_why() -> None:
    report = kept_report({"verdict": "reject", "action": {"kind": "reallocate", "done": True}, "trace": ["a"]}, 120.0)
    assert report["verdict"] == "degraded"
    assert "still alive 120 s later" in report["action"]["outcome"]
    assert report["trace"][0] == "a"


def test_only_the_accounts_faults_of_the_bucket_end_a_start() -> None:
    def check(name: str, status: str, blame: str) -> dict[str, str]:
        return {"name": name, "status": status, "blame": blame, "why": f"{name} {blame}", "advice": "do"}

    checks = [
        check("bucket.access", "fail", "account"),
        check("bucket.access", "fail", "endpoint"),
        check("bucket.access", "warn", "account"),
        check("disk.free", "fail", "account"),
    ]
    assert account_faults(Outcome({"checks": checks}), "A, B") == ["A, B: bucket.access account; do"]
    assert account_faults(Outcome(None, "nothing"), "A") == []
