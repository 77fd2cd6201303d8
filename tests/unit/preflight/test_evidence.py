"""Evidence: complete, valid, readable again, judged again; and what `check`, `history`, `replay`, `suggest` print."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from preflight import commands_checks, fleet_commands
from preflight.checks import Context, Reading
from preflight.errors import BadSettings
from preflight.evidence import VERSION, evidence_folder, local_evidence, report_document
from preflight.ledger import Ledger
from preflight.model import Verdict
from preflight.replay import limits_from, replay, report_from, start_from, starts_from, values_of
from preflight.suggest import DEFAULT_UPLOADS, best, choices, percentile, region_hint, shortest_sound
from sync.stores.file import FileStore
from tests.support.examined import FleetOfOne, fleet_of_one, node_check

SCHEMA = json.loads((Path(__file__).resolve().parents[3] / "preflight" / "evidence.schema.json").read_text())
SPEEDS = {"m-0": 1.0, "m-1": 4.0, "m-2": 9.0, "m-3": 11.0, "m-4": 30.0}


def speed(context: Context) -> Reading:
    """A machine's own speed, with samples."""
    value = SPEEDS.get(context.environ["SALAD_MACHINE_ID"], 30.0)
    return Reading(value, {"samples": [value] * 3, "high": value * 1.05, "odd": float("inf")})


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[FleetOfOne]:
    with fleet_of_one(tmp_path, node_check(speed, at_least=2.0)) as one:
        yield one


def documents(fleet: FleetOfOne) -> list[dict[str, Any]]:
    return list(Ledger(FileStore(fleet.folder / "bucket"), "group", "reader").evidence())


def test_every_verdict_leaves_valid_evidence_here_and_in_the_ledger(fleet: FleetOfOne) -> None:
    verdicts = [fleet.start(machine).verdict for machine in SPEEDS]
    assert verdicts == [Verdict.REJECT] + [Verdict.ACCEPT] * 4
    found = documents(fleet)
    assert len(found) == len(SPEEDS)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for document in found:
        validator.validate(document)
        assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert list(local_evidence(fleet.folder / "m-0" / "state")) == [found[0]]
    assert found[0]["report"]["action"]["kind"] == "reallocate"
    assert found[0]["confirmations"][0]["value"] == 1.0


def test_a_report_survives_its_document(fleet: FleetOfOne) -> None:
    report = fleet.start("m-0")
    document = report_document(report)
    assert report_document(report_from(document)) == document


def test_foreign_documents_are_left_out(fleet: FleetOfOne) -> None:
    fleet.start("m-4")
    folder = evidence_folder(fleet.folder / "m-4" / "state")
    (folder / "broken.json").write_text("{")
    (folder / "other.json").write_text(json.dumps({"version": VERSION + 1}))
    (folder / "list.json").write_text("[]")
    assert len(list(local_evidence(fleet.folder / "m-4" / "state"))) == 1
    assert start_from({"version": VERSION}) is None
    assert start_from({"report": 3}) is None


def test_replay_counts_the_nodes_that_another_limit_would_have_cost(fleet: FleetOfOne) -> None:
    for machine in SPEEDS:
        fleet.start(machine)
    starts = starts_from(documents(fleet))
    rules = limits_from(["disk.free>=1GB"])
    import dataclasses

    rule = dataclasses.replace(
        rules.rules["disk.free"],
        name="gpu.memory",
        limit=dataclasses.replace(rules.rules["disk.free"].limit, at_least=10.0),
    )
    again = replay(starts, dataclasses.replace(rules, rules={"gpu.memory": rule}))
    assert [one.start.report.machine for one in again if one.rejected_for] == ["m-0", "m-1", "m-2"]
    assert values_of(starts, "gpu.memory") == [1.0, 4.0, 9.0, 11.0, 30.0]
    assert starts_from([*documents(fleet), *documents(fleet)]) == starts, "each start counts once"


def test_wrong_limits_are_all_named() -> None:
    with pytest.raises(BadSettings) as raised:
        limits_from(["nonsense", "bucket.uplod>=20Mbps", "disk.free>=much"])
    text = "\n".join(raised.value.problems)
    assert "nonsense" in text
    assert "PREFLIGHT_LIMIT_BUCKET_UPLOAD_AT_LEAST" in text
    assert "much" in text


# --- suggest ------------------------------------------------------------------------------------------------------


def test_the_suggested_interval_is_one_that_nine_of_ten_nodes_can_keep() -> None:
    choice = best(2e9, DEFAULT_UPLOADS)
    assert choice is not None
    assert choice.share_of_nodes >= 0.9
    assert choice.needed_bytes_per_s * choice.interval_s * 0.5 == pytest.approx(2e9)
    assert choice.interval_s >= shortest_sound(2e9, DEFAULT_UPLOADS)
    shorter = [one for one in choices(2e9, DEFAULT_UPLOADS) if one.interval_s < choice.interval_s]
    assert all(one.share_of_nodes < 0.9 for one in shorter)


def test_small_checkpoints_are_saved_often_and_huge_ones_not_at_all() -> None:
    small = best(1e6, DEFAULT_UPLOADS)
    assert small is not None
    assert small.interval_s == 60.0
    assert best(1e15, DEFAULT_UPLOADS) is None


def test_percentiles_and_hints() -> None:
    assert percentile([1.0, 2.0, 3.0], 0.5) == 2.0
    assert percentile([1.0], 0.9) == 1.0
    assert percentile(DEFAULT_UPLOADS, 0.5) == 93 * 125e3
    assert region_hint(0.03) == ""
    assert "123 ms" in region_hint(0.123)
    assert "3x faster" in region_hint(0.123)


# --- the commands -------------------------------------------------------------------------------------------------


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    monkeypatch.chdir(tmp_path)
    return {
        "PATH": "/usr/bin:/bin",
        "PREFLIGHT_DATA_DIR": str(tmp_path / "data"),
        "PREFLIGHT_STATE_DIR": str(tmp_path / "state"),
        "PREFLIGHT_EXPECT_GPU": "0",
        "PREFLIGHT_STORE": f"file://{tmp_path}/bucket",
    }


ONLY = ("data.writable", "disk.free", "host")


def test_check_prints_a_report_that_holds_the_contract(environ: Mapping[str, str]) -> None:
    out = io.StringIO()
    assert commands_checks.check(environ, as_json=True, only=ONLY, out=out) == 0
    report = json.loads(out.getvalue())
    fields = {"verdict", "machine", "platform", "decided_at", "took_s", "checks", "findings", "action"}
    assert fields <= set(report)
    check = {"name", "status", "blame", "observed", "required", "unit", "why", "advice", "took_s"}
    assert all(check <= set(one) for one in report["checks"])
    assert report["verdict"] == "accept"
    jsonschema.Draft202012Validator({"$defs": SCHEMA["$defs"], "$ref": "#/$defs/report"}).validate(report)


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        ({}, 0),
        ({"PREFLIGHT_LIMIT_DISK_FREE_AT_LEAST": "9000TB"}, 20),
        ({"PREFLIGHT_LIMIT_HOST_SHM_AT_LEAST": "9000TB"}, 10),
        ({"PREFLIGHT_LIMIT_DISK_FRE_AT_LEAST": "1"}, 2),
        ({"PREFLIGHT_STORE": "ftp://x/y"}, 2),
    ],
)
def test_exit_codes(environ: Mapping[str, str], extra: dict[str, str], code: int) -> None:
    err = io.StringIO()
    seen = commands_checks.check({**environ, **extra}, as_json=True, only=ONLY, out=io.StringIO(), err=err)
    assert seen == code
    if code == 2:
        assert any(name in err.getvalue() for name in extra)


def test_a_name_that_is_no_check_is_named_with_the_nearest(environ: Mapping[str, str]) -> None:
    err = io.StringIO()
    assert commands_checks.check(environ, only=("bucket.uplaod",), err=err) == 2
    assert "bucket.upload" in err.getvalue()


def test_the_page_fits_80_columns_and_says_what_to_do(
    environ: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = io.StringIO()
    limits = {"PREFLIGHT_LIMIT_DISK_FREE_AT_LEAST": "9000TB"}
    commands_checks.check({**environ, **limits}, only=(*ONLY, "bucket"), out=out, err=io.StringIO())
    page = out.getvalue()
    assert max(len(line) for line in page.splitlines()) <= 80
    for words in (
        "Free disk space",
        "9000 TB is needed",
        "blame: node",
        "→ ask for more storage",
        "REJECT",
        "DISK-FREE-LOW",
    ):
        assert words in page
    code = commands_checks.report(environ, out=(again := io.StringIO()), err=io.StringIO())
    assert code == 20
    assert "Free disk space" in again.getvalue()


def test_no_report_yet(tmp_path: Path) -> None:
    err = io.StringIO()
    assert commands_checks.report({"PREFLIGHT_STATE_DIR": str(tmp_path)}, out=io.StringIO(), err=err) == 1
    assert "preflight check" in err.getvalue()


def test_history_replay_and_suggest_print(environ: Mapping[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert fleet_commands.show_history(environ, as_json=False) == 0
    assert "nothing is recorded yet" in capsys.readouterr().out
    commands_checks.check(environ, as_json=True, only=ONLY, out=io.StringIO(), err=io.StringIO())
    assert fleet_commands.show_history(environ, as_json=False) == 0
    assert "1 starts on 1 machines: 1 accept; 0 handed back" in capsys.readouterr().out
    assert fleet_commands.show_history(environ, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "accept"
    assert fleet_commands.show_replay(environ, ["disk.free>=9000TB"], as_json=True) == 0
    assert len(json.loads(capsys.readouterr().out)["rejected"]) == 1
    assert fleet_commands.show_replay(environ, ["disk.free>=1MB"], as_json=False) == 0
    assert "0 of 1 recorded nodes would have been handed back" in capsys.readouterr().out
    assert fleet_commands.show_suggestion(environ, "2GB", as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["interval_s"]
    assert fleet_commands.show_suggestion(environ, "2GB", as_json=False) == 0
    assert "save every" in capsys.readouterr().out
    with pytest.raises(BadSettings, match="--checkpoint"):
        fleet_commands.show_suggestion(environ, "much", as_json=False)


def test_history_reads_the_whole_fleet(fleet: FleetOfOne, capsys: pytest.CaptureFixture[str]) -> None:
    for machine in SPEEDS:
        fleet.start(machine)
    environ = {
        "PREFLIGHT_STORE": f"file://{fleet.folder}/bucket", "PREFLIGHT_GROUP": "group", "PREFLIGHT_PLATFORM": "none",
        "PREFLIGHT_DATA_DIR": str(fleet.folder / "d"), "PREFLIGHT_STATE_DIR": str(fleet.folder / "s"),
    }  # fmt: skip
    assert fleet_commands.show_history(environ, as_json=False) == 0
    assert "5 starts on 5 machines: 4 accept, 1 reject; 1 handed back" in capsys.readouterr().out
