"""Credentials that end and are renewed through a file while the store is in use."""

from __future__ import annotations

import io
import json
import os
import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from sync.clock import SystemClock
from sync.errors import Denied, Transient
from sync.stores.azure import AzureStore
from sync.stores.check import check_store
from sync.stores.network import Timeouts
from sync.stores.opening import open_store
from sync.stores.secret import Secret
from tests.support.azurite import AzureServer
from tests.support.faultproxy import FaultProxy, Faults
from tests.support.servers import BIN
from tests.support.wait import until


def test_sas_expired_mid_session_renewed_by_file(azurite_server: AzureServer, tmp_path: Path) -> None:
    file = tmp_path / "sas"
    file.write_text(azurite_server.sas("contract"))
    config = replace(azurite_server.config("contract", "renew"), credentials={"sas": Secret("", file)})
    with closing(open_store(config)) as store:
        store.put("a", b"one", meta={})
        file.write_text(azurite_server.sas("contract", valid_s=-60))

        def refused() -> bool:
            try:
                store.put("a", b"two", meta={})
            except Denied:
                return True
            return False

        until(refused, 10)
        file.write_text(azurite_server.sas("contract"))
        until(lambda: not refused(), 10)
        assert store.head("a").size == 3


def test_rights_of_a_sas_that_are_missing_are_named(azurite_server: AzureServer) -> None:
    config = azurite_server.config("contract", "rights", sas=azurite_server.sas("contract", permissions="rl"))
    checked = check_store(config, SystemClock())
    assert checked.exit_code == 12
    assert checked.capability is not None
    (step,) = [step for step in checked.capability.steps if step.outcome == "denied"]
    assert "c and w" in step.fix


def test_store_check_tells_what_works_and_what_to_fix(azurite_server: AzureServer) -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "COLUMNS": "120"}
    command = [str(BIN / "preflight-sync"), "store", "check"]
    good = subprocess.run(
        [*command, "--json"],
        env={**environ, **azurite_server.environ("contract/check")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (good.returncode, good.stderr) == (0, "")
    (told,) = json.loads(good.stdout)
    assert told["capability"]["facts"]["writes"] == "full"
    assert told["expires_at"] > 0
    assert len(told["warnings"]) == 1  # the test's token lives for an hour
    expired = azurite_server.environ("contract/check", sas=azurite_server.sas("contract", valid_s=-60))
    bad = subprocess.run(command, env={**environ, **expired}, capture_output=True, text=True, timeout=60, check=False)
    assert bad.returncode == 12
    assert "expired at" in bad.stdout
    assert "AZURE_BLOB_SAS_TOKEN" in bad.stdout
    assert "nothing can be saved until this is put right" in bad.stdout
    assert "guarantee" not in bad.stdout
    assert expired["AZURE_BLOB_SAS_TOKEN"] not in bad.stdout + bad.stderr
    half = subprocess.run(
        command, env={**environ, "AWS_ACCESS_KEY_ID": "x"}, capture_output=True, text=True, timeout=60, check=False
    )
    assert half.returncode == 2
    assert "AWS_SECRET_ACCESS_KEY" in half.stderr


def test_azures_other_variables_change_nothing(azurite_server: AzureServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AZURE_STORAGE_ACCOUNT_NAME": "other",
        "AZURE_STORAGE_ACCOUNT_KEY": "b3RoZXI=",
        "AZURE_STORAGE_SAS_TOKEN": "sv=other&sig=other",
        "AZURE_STORAGE_USE_EMULATOR": "true",
        "AZURE_STORAGE_ENDPOINT": "http://127.0.0.1:9",
        "AZURE_CONTAINER_NAME": "other",
        "AZURE_STORAGE_CONNECTION_STRING": "AccountName=other",
        "AZURE_SKIP_SIGNATURE": "true",
    }.items():
        monkeypatch.setenv(name, value)
    with closing(open_store(azurite_server.config("contract", "variables"))) as store:
        store.put("a", b"x", meta={})
        sink = io.BytesIO()
        store.get("a", sink)
        assert sink.getvalue() == b"x"


@pytest.mark.parametrize("faults", [Faults(hang=True), Faults(refuse=True), Faults(reset_after_bytes=1), None])
def test_no_error_shows_the_sas(azurite_server: AzureServer, faults: Faults | None) -> None:
    """Azure's credential travels in the URL, and the network's errors like to quote URLs."""
    with FaultProxy(azurite_server.port) as proxy:
        config = azurite_server.config("contract", "quiet")
        port = proxy.port if faults is not None else 1  # nobody listens there
        proxy.faults = faults or Faults()
        endpoint = (config.endpoint or "").replace(str(azurite_server.port), str(port))
        store = AzureStore(replace(config, endpoint=endpoint), times=Timeouts(connect_s=1.0, read_s=1.0))
        with closing(store):
            for ask in (
                lambda: store.put("a", b"", meta={}),
                lambda: list(store.list()),
                lambda: store.get("a", io.BytesIO()),
            ):
                with pytest.raises(Transient) as caught:
                    ask()
                assert "sig=" not in str(caught.value)
