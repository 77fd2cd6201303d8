"""The capability probe on every backend: it finds what each really does, also where the table is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from sync.errors import Misconfigured
from sync.stores import ABSENT, Writes
from sync.stores.opening import open_store
from sync.stores.probe import Outcome, probe
from sync.stores.profiles import AWS as AWS_PROFILE
from sync.stores.profiles import GENERIC
from sync.stores.retry import Retrying
from sync.stores.s3 import S3Store
from tests.contract.conftest import Backend
from tests.support.fakegcs import GcsServer, fakegcs
from tests.support.moto import S3Server
from tests.support.s3dialect import AWS, DIALECTS, OSS, DialectServer, dialect_server

EXPECTED = {
    "file": (Writes.FULL, True),
    "seaweed": (Writes.FULL, True),
    "moto": (Writes.FULL, True),
    "azurite": (Writes.FULL, True),
    "fakegcs": (Writes.FULL, True),
    "oss": (Writes.CREATE_ONLY, False),
    "obs": (Writes.NONE, False),
    "cos": (Writes.CREATE_ONLY, False),
}


def test_the_probe_finds_what_the_backend_does(backend: Backend) -> None:
    with closing(Retrying(backend.open())) as store:
        capability = probe(store)
        assert capability.usable
        assert (store.facts.writes, store.facts.delete_if_match) == EXPECTED[backend.name]
        assert store.facts.copy
        assert list(store.list()) == []
        assert store.facts == capability.facts
        assert sum(store.meter.requests().values()) < 40
    assert capability.to_json()["usable"] is True


@pytest.fixture
def bare_gcs(tmp_path: Path) -> Iterator[GcsServer]:
    with fakegcs(tmp_path / "gcs", strict=False) as server:
        server.create_bucket("contract")
        yield server


def test_a_condition_that_is_silently_ignored_is_noticed(bare_gcs: GcsServer) -> None:
    """The emulator without its front deletes whatever generation is named."""
    with closing(open_store(bare_gcs.config("contract", "user"))) as store:
        capability = probe(store)
        assert not store.facts.delete_if_match
        assert {step.name: step.outcome for step in capability.missing} == {"conditional delete": Outcome.IGNORED}


@pytest.mark.parametrize("name", ["oss", "obs", "cos"])
def test_a_wrong_table_is_corrected(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same servers behind the generic row, which believes in everything: B2, gateways, the next provider."""
    with dialect_server(DIALECTS[name]) as server:
        monkeypatch.setenv("http_proxy", server.proxy)
        row = replace(GENERIC, virtual_host=True, list_version=1, url_encode=False)
        store = S3Store(server.config("user"), profile=row)
        capability = probe(store)
        assert capability.usable
        assert store.facts.writes is Writes.NONE
        assert not store.facts.delete_if_match
        told = {step.name: step.outcome for step in capability.missing}
        assert told["create-only"] is (Outcome.UNSUPPORTED if name == "oss" else Outcome.IGNORED)


def test_a_modest_table_is_corrected_too(moto_server: S3Server) -> None:
    row = replace(GENERIC, writes=Writes.NONE, delete_if_match=False)
    store = S3Store(moto_server.config("contract", "modest"), profile=row)
    probe(store)
    assert store.facts.writes is Writes.FULL
    assert store.facts.delete_if_match
    assert store.facts.etag_is_md5


def test_versioned_bucket_makes_forbid_overwrite_void(monkeypatch: pytest.MonkeyPatch) -> None:
    with dialect_server(OSS, versioned=True) as server:
        monkeypatch.setenv("http_proxy", server.proxy)
        store = S3Store(server.config("user"))
        capability = probe(store)
        assert store.facts.writes is Writes.NONE
        assert "one node at a time" in capability.notes[0]


def policy(*missing: str) -> object:
    def allows(action: str, what: str) -> bool:
        return action not in missing and (what.startswith("alice/") or (action != "s3:ListBucket"))

    return allows


@pytest.mark.parametrize(
    ("missing", "step", "fix"),
    [
        ("s3:PutObject", "put", "s3:PutObject"),
        ("s3:GetObject", "get", "s3:GetObject"),
        ("s3:ListBucket", "list", "s3:ListBucket"),
        ("s3:DeleteObject", "delete", "s3:DeleteObject"),
        ("s3:AbortMultipartUpload", "abort", "s3:AbortMultipartUpload"),
        ("s3:ListMultipartUploadParts", "list_parts", "s3:ListMultipartUploadParts"),
    ],
)
def test_a_missing_right_is_named_once_with_its_policy_line(
    missing: str, step: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dialect_server(AWS, allows=policy(missing)) as server:
        monkeypatch.setenv("http_proxy", server.proxy)
        capability = probe(S3Store(server.config("alice"), profile=AWS_PROFILE))
        named = [one for one in capability.steps if one.outcome is Outcome.DENIED and one.name == step]
        assert len(named) == 1
        assert fix in named[0].fix
        assert capability.usable is (missing not in {"s3:PutObject", "s3:GetObject", "s3:ListBucket"})


def test_the_documents_policy_lacks_only_the_rights_about_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    with dialect_server(AWS, allows=policy("s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")) as server:
        monkeypatch.setenv("http_proxy", server.proxy)
        capability = probe(S3Store(server.config("alice"), profile=AWS_PROFILE))
        assert capability.usable
        assert [step.name for step in capability.missing] == ["list_parts", "abort"]
        assert capability.notes == (
            "the bucket's policy denies list_parts: allow s3:ListMultipartUploadParts",
            "the bucket's policy denies abort: allow s3:AbortMultipartUpload",
        )
        assert capability.facts.writes is Writes.FULL


def test_headbucket_ok_put_404(monkeypatch: pytest.MonkeyPatch) -> None:
    """OBS by path style: HeadBucket says 200, every PUT says 404."""
    with dialect_server(DIALECTS["obs"]) as server:
        monkeypatch.setenv("http_proxy", server.proxy)
        row = replace(GENERIC, virtual_host=False)
        store = S3Store(server.config("user"), profile=row)
        with pytest.raises(Misconfigured, match="takes no writes"):
            probe(store)


def test_a_server_that_loses_what_it_takes_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(DialectServer):
        def _read(self, verb: str, key: str, headers: dict[str, str]) -> object:  # type: ignore[override]
            self.objects[key].body = b"other"
            return super()._read(verb, key, headers)

    monkeypatch.setattr("tests.support.s3dialect.DialectServer", Forgetful)
    with dialect_server(AWS) as server:
        monkeypatch.setenv("http_proxy", server.proxy)
        capability = probe(S3Store(server.config("user"), profile=replace(AWS_PROFILE, etag_is_md5=False)))
        assert not capability.usable
        assert {step.name: step.outcome for step in capability.missing}["get"] is Outcome.BROKEN


def test_the_class_that_was_found_decides_what_a_put_may_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    with dialect_server(OSS) as server:
        monkeypatch.setenv("http_proxy", server.proxy)
        store = S3Store(server.config("user"))
        probe(store)
        store.put("a", b"x", meta={}, only_if=ABSENT)
        assert server.requests[-1][2]["x-oss-forbid-overwrite"] == "true"
