"""A real SeaweedFS with its S3 gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.moto import S3Server
from tests.support.servers import BIN, free_ports, running
from tests.support.wait import until


@contextmanager
def seaweed(folder: Path) -> Iterator[S3Server]:
    """A server with its data below `folder`."""
    (folder / "data").mkdir(parents=True)
    server = S3Server(free_ports(8), key="tester", secret="tester-secret")
    identity = {"name": "tester", "credentials": [{"accessKey": server.key, "secretKey": server.secret}]}
    identity["actions"] = ["Admin", "Read", "Write", "List", "Tagging"]  # type: ignore[assignment]
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    s3, s3g, master, masterg, volume, volumeg, filer, filerg = server.ports
    argv = [
        str(BIN / "weed"), "-logtostderr", "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        f"-master.port={master}", f"-master.port.grpc={masterg}", f"-volume.port={volume}",
        f"-volume.port.grpc={volumeg}", f"-filer.port={filer}", f"-filer.port.grpc={filerg}",
        "-s3", f"-s3.port={s3}", f"-s3.port.grpc={s3g}", f"-s3.config={folder / 's3.json'}",
        # Fixed ports by default: a second server on this machine would die of them.
        "-s3.port.iceberg=0", "-s3.port.lance=0",
        "-master.volumeSizeLimitMB=64", "-volume.max=100",
    ]  # fmt: skip
    with running(argv, log=folder / "weed.log") as process:
        until(lambda: process.poll() is not None or server.creates_bucket("ready"), 60)
        assert process.poll() is None, "the server ended"
        yield server
