"""Boards in every state that the page for people can show, for tests and for screenshots."""

from __future__ import annotations

import os
import time
from pathlib import Path

from preflight.board import Board, Stage
from preflight.supervisor import Exited, Readiness, Service, Started, Tick, View, step
from sync.clock import SystemClock
from sync.status import Progress, State, Status, write_status

CHECKS = (
    {
        "name": "gpu.count",
        "title": "GPUs usable",
        "status": "pass",
        "observed": 1.0,
        "unit": "count",
        "required": ">= 1",
    },
    {
        "name": "gpu.memory_free",
        "title": "GPU memory free",
        "status": "pass",
        "observed": 23.1e9,
        "unit": "B",
        "required": "",
    },
    {
        "name": "bucket.upload",
        "title": "Upload to your bucket",
        "status": "warn",
        "observed": 1.9e6,
        "unit": "B/s",
        "required": ">= 2.5 MB/s",
        "why": "it is slower than wanted",
        "advice": "large files take longer to be saved; nothing is lost",
    },
    {
        "name": "bucket.latency",
        "title": "Bucket: round trip",
        "status": "pass",
        "observed": 0.083,
        "unit": "s",
        "required": "<= 400 ms",
    },
    {
        "name": "gpu.ecc",
        "title": "GPU memory errors",
        "status": "skip",
        "observed": None,
        "unit": "",
        "why": "this GPU does not count them",
    },
)
REPORT = {
    "verdict": "degraded",
    "machine": "5f0c3a52-7d11-4c8e",
    "platform": "salad",
    "decided_at": "2026-11-21T12:00:00+00:00",
    "took_s": 3.2,
    "checks": list(CHECKS),
    "findings": [CHECKS[2]],
    "action": {"kind": "none", "reason": "", "outcome": ""},
    "trace": [],
}


def running_view(ready: bool) -> View:
    """Sync and the app run, as this very process."""
    view = View.of((Service("sync"), Service("app", needs=("sync",))))
    for event in (
        Tick(),
        Started("sync", os.getpid()),
        Readiness("sync", os.getpid(), ok=True),
        Started("app", 1 << 22),
    ):
        view, _ = step(view, event, 0.0)
    if ready:
        view, _ = step(view, Readiness("app", 1 << 22, ok=True), 0.0)
    return view


def looping_view() -> View:
    """The app died for the sixth time and was just started again."""
    view = running_view(False)
    for number in range(6):
        view, _ = step(view, Exited("app", (1 << 22) + number, 1, "it exited with status 1"), 100.0 * number)
        view, _ = step(view, Tick(), 100.0 * number + 90.0)
        view, _ = step(view, Started("app", (1 << 22) + number + 1), 100.0 * number + 90.0)
    return view


def boards(home: Path) -> dict[str, Board]:
    """State name -> board."""
    made: dict[str, Board] = {}

    def board(name: str, status: Status | None = None, **facts: object) -> None:
        state_dir = home / name
        one = Board(SystemClock(), state_dir)
        one.post(machine="5f0c3a52-7d11-4c8e", platform="salad", url="http://localhost:8000/lab", **facts)
        if status is not None:
            write_status(state_dir, status)
        made[name] = one

    def said(state: State, **more: object) -> Status:
        return Status(state=state, store="s3://thesis/work", pid=os.getpid(), updated_at=time.time(), **more)  # type: ignore[arg-type]

    board("checking", findings=CHECKS[:3], stage=Stage.CHECKING)
    board(
        "bad-settings",
        stage=Stage.BAD_SETTINGS,
        faults=(
            "AWS_SECRET_ACCESS_KEY is not set although AWS_ACCESS_KEY_ID is",
            "PREFLIGHT_PORT: '80001' is not valid: it should be less than or equal to 65535",
        ),
    )
    board(
        "handing-back",
        stage=Stage.HANDING_BACK,
        report={**REPORT, "verdict": "reject", "action": {"kind": "reallocate"}},
    )
    restore = Progress(files_done=1240, files_total=5310, bytes_done=1_900_000_000, bytes_total=8_800_000_000)
    board(
        "restoring",
        said(State.RESTORING, restore=restore),
        stage=Stage.RESTORING,
        report=REPORT,
        view=running_view(False),
    )
    ready = {"stage": Stage.OPEN, "report": REPORT, "view": running_view(True), "app_ok": True, "app_why": ""}
    now_s = SystemClock().monotonic()
    board("open", said(State.SAVED, restored=True), **ready, app_at_s=now_s)
    board(
        "offline",
        said(
            State.OFFLINE,
            why="the network failed: PUT https://storage.example/thesis/work/chapter.ipynb ended after 60.0 s",
            hint="check the network",
            pending_files=3,
            pending_bytes=4_500_000,
            oldest_pending_s=340.0,
            restored=True,
        ),
        **ready,
        app_at_s=now_s,
    )
    fine = {**REPORT, "verdict": "accept", "checks": [{**one, "status": "pass", "why": ""} for one in CHECKS[:4]]}
    saved = said(State.SAVED, restored=True, last_durable_at=time.time() - 40)
    board("ready", saved, **{**ready, "report": fine}, app_at_s=now_s)
    spent = {"kind": "none", "reason": "", "outcome": "PREFLIGHT_ON_REJECT=report: shown, not acted upon"}
    slow = {**CHECKS[2], "status": "fail"}
    unfit = {
        **REPORT,
        "verdict": "reject",
        "action": spent,
        "checks": [slow, *CHECKS[:2], *CHECKS[3:]],
        "findings": [slow],
    }
    board("rejected", saved, **{**ready, "report": unfit}, app_at_s=now_s)
    looping = {**ready, "stage": Stage.OPENING, "report": fine, "view": looping_view(), "app_ok": False}
    board("crash-loop", saved, **{**looping, "app_why": "it does not answer: Connection refused"})
    board(
        "saving",
        said(State.SAVING, restored=True, pending_files=1, pending_bytes=2_100_000_000, oldest_pending_s=2.0),
        **{**ready, "report": fine}, app_at_s=now_s,
    )  # fmt: skip
    board(
        "held",
        said(
            State.HELD, restored=True, held_count=212, why="212 of 240 files disappeared at once",
            hint="`preflight sync release` lets the deletes go ahead",
        ),
        **{**ready, "report": fine}, app_at_s=now_s,
    )  # fmt: skip
    board(
        "fenced",
        said(
            State.FENCED, restored=True, why="A newer node took this folder over; nothing is written here any more",
            hint="what was not saved is parked under .preflight/stranded in the bucket",
        ),
        **{**ready, "report": fine}, app_at_s=now_s,
    )  # fmt: skip
    board(
        "denied",
        said(
            State.FAILED, why="the server does not accept the credentials", pending_files=2, pending_bytes=12_000,
            hint="check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ),
        **{**ready, "report": fine}, app_at_s=now_s,
        warnings=("the folder could not be restored: what you see here is only what was written on this node",),
    )  # fmt: skip
    found = {
        "check": "gpu.temperature",
        "why": "GPU temperature: 96 °C in four of the last five readings, ≤ 90 °C is needed",
        "advice": "the GPU is very hot: expect it to slow down",
    }
    board(
        "monitor", saved, **{**ready, "report": fine}, app_at_s=now_s, monitor={"findings": [found]},
        monitor_at_s=now_s,
    )  # fmt: skip
    board("kept", saved, **{**ready, "report": {**unfit, "verdict": "degraded", "action": {
        "kind": "reallocate", "outcome": "node kept: the platform accepted, but the node was still alive 120 s later",
    }}}, app_at_s=now_s)  # fmt: skip
    board(
        "stopping",
        said(State.STOPPING, restored=True, pending_files=2, pending_bytes=900),
        **{**ready, "stage": Stage.STOPPING},
        app_at_s=now_s,
    )
    return made
