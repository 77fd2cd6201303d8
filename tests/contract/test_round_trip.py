"""The engine's whole way, by its real command, on every backend: save, lose the node, restore elsewhere, compare."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sync.status import State, Status, read_status
from tests.contract.conftest import Backend
from tests.support.azurite import AzureServer
from tests.support.moto import S3Server
from tests.support.s3dialect import DialectServer
from tests.support.servers import BIN
from tests.support.wait import until

pytestmark = pytest.mark.timeout(600)  # a busy machine is slow, and so are eight servers on it
FILES = {
    "thesis.ipynb": b'{"cells": []}',
    "data/plain.csv": b"a,b\n1,2\n",
    "data/large.bin": bytes(range(256)) * 4096 * 12,  # 12 MiB: parts
    "with space/ü 💾.txt": b"unicode",
    "empty.txt": b"",
    "bin/tool.sh": b"#!/bin/sh\n",
}


class Node:
    """One machine: a data folder and the sync child on it."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.data = folder / "data"
        self.state = folder / "state"
        self.data.mkdir(parents=True)
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PREFLIGHT_DATA_DIR": str(self.data),
            "PREFLIGHT_STATE_DIR": str(self.state),
            "SALAD_MACHINE_ID": folder.name,
            **environ,
        }
        self.log = folder / "sync.log"

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        with open(self.log, "ab") as log:
            child = subprocess.Popen([str(BIN / "preflight-sync"), "run"], env=self.environ, stderr=log, stdout=log)
            try:
                yield child
            finally:
                child.kill()
                child.wait(timeout=20)

    def status(self) -> Status | None:
        return read_status(self.state)

    def reaches(self, condition: Callable[[Status], bool], timeout_s: float = 60.0) -> Status:
        def holds() -> bool:
            status = self.status()
            return status is not None and condition(status)

        until(holds, timeout_s, lambda: (self.status(), self.log.read_text()[-2000:]))
        status = self.status()
        assert status is not None
        return status

    def tree(self) -> dict[str, bytes]:
        found = {}
        for path in self.data.rglob("*"):
            relative = path.relative_to(self.data)
            if relative.parts[0] != ".preflight" and path.is_file() and not path.is_symlink():
                found[str(relative)] = path.read_bytes()
        return found


def saved_after(when: float) -> Callable[[Status], bool]:
    return lambda status: (
        status.state is State.SAVED and status.restored and status.pending_files == 0 and status.updated_at > when
    )


def test_a_folder_survives_its_node(backend: Backend, tmp_path: Path) -> None:
    first = Node(tmp_path / "first", backend.variables)
    with first.running() as child:
        first.reaches(lambda status: status.restored)
        for name, body in FILES.items():
            (first.data / name).parent.mkdir(parents=True, exist_ok=True)
            (first.data / name).write_bytes(body)
        (first.data / "bin/tool.sh").chmod(0o755)
        (first.data / "link").symlink_to("thesis.ipynb")
        (first.data / "nothing here").mkdir()
        first.reaches(lambda status: status.files >= len(FILES) and saved_after(0)(status))
        (first.data / "thesis.ipynb").write_bytes(b'{"cells": [1]}')
        (first.data / "data/plain.csv").unlink()
        when = time.time()
        first.reaches(saved_after(when + 1.5))
        child.terminate()
        assert child.wait(timeout=60) == 0
    expected = first.tree()
    assert "data/plain.csv" not in expected

    second = Node(tmp_path / "second", backend.variables)
    with second.running() as child:
        status = second.reaches(lambda status: status.restored)
        assert second.tree() == expected
        assert (second.data / "bin/tool.sh").stat().st_mode & 0o777 == 0o755
        assert os.readlink(second.data / "link") == "thesis.ipynb"
        assert (second.data / "nothing here").is_dir()
        status = second.reaches(saved_after(0))
        if backend.name != "file":
            status = second.reaches(lambda status: "usable" in status.capability)
            assert status.capability["usable"] is True
        child.terminate()
        assert child.wait(timeout=60) == 0
    assert json.dumps(status.capability)


def test_a_mirror_follows_and_anothers_failure_holds_nothing_up(
    seaweed_server: S3Server, azurite_server: AzureServer, oss_server: DialectServer, tmp_path: Path
) -> None:
    """Primary: S3. Mirrors: Azure, which works, and OSS, which refuses the keys."""
    environ = {
        **oss_server.environ("mirror", secret="wrong"),
        **azurite_server.environ("contract/mirror"),
        **seaweed_server.environ("contract/mirrored"),
    }
    node = Node(tmp_path / "node", environ)
    with node.running() as child:
        node.reaches(lambda status: status.restored)
        (node.data / "a.txt").write_bytes(b"x")
        node.reaches(lambda status: status.files >= 1 and saved_after(0)(status))
        states = node.reaches(
            lambda status: {mirror["state"] for mirror in status.mirrors} >= {"saved", "failed"}
        ).mirrors
        child.terminate()
        assert child.wait(timeout=60) == 0
    assert {str(mirror["store"]).partition(":")[0]: mirror["state"] for mirror in states} == {
        "azure": "saved",
        "oss": "failed",
    }
    with azurite_server.service() as service:
        blob = service.get_blob_client("contract", "mirror/a.txt")
        assert blob.download_blob().readall() == b"x"
    assert seaweed_server.client().get_object(Bucket="contract", Key="mirrored/a.txt")["Body"].read() == b"x"
