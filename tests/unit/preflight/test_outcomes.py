"""Words and documents at the ends of a node's life."""

from __future__ import annotations

import pytest

from preflight.examination import Outcome
from preflight.outcomes import account_faults, kept_report, last_words
from sync.status import Status


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (None, "Whether everything is saved is not known"),
        (Status(pending_files=3, store="s3://b/f"), "3 files are not saved"),
        (Status(store="s3://b/f"), "Everything is saved in s3://b/f"),
        (Status(), "Nothing is saved"),
    ],
)
def test_last_words(status: Status | None, words: str) -> None:
    assert words in last_words(status)


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
