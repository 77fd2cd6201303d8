"""moto's S3: stores any key, knows no signatures; and what all S3 servers of the tests have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.exceptions
import botocore.session
from botocore.config import Config

from sync.stores.config import StoreConfig
from sync.stores.secret import Secret
from tests.support.servers import BIN, free_ports, running
from tests.support.wait import until


@dataclass(frozen=True)
class S3Server:
    """A running server; `ports[0]` speaks S3."""

    ports: list[int]
    key: str = "tester"
    secret: str = "tester-secret"

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    def environ(self, bucket_folder: str) -> dict[str, str]:
        """The variables a user would set."""
        return {
            "AWS_S3_BUCKET_FOLDER": bucket_folder,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_ENDPOINT_URL": self.endpoint,
        }

    def config(self, bucket: str, prefix: str, *, endpoint: str | None = None) -> StoreConfig:
        """The configuration of a prefix on this server."""
        credentials = {"id": Secret(self.key), "secret": Secret(self.secret)}
        return StoreConfig("s3", bucket, prefix, endpoint=endpoint or self.endpoint, credentials=credentials)

    def client(self) -> Any:
        """A plain boto3 client, as another program would use the bucket."""
        return client(self.endpoint, self.key, self.secret)

    def creates_bucket(self, bucket: str) -> bool:
        """Whether the server is up: makes `bucket`."""
        try:
            self.client().create_bucket(Bucket=bucket)
        except botocore.exceptions.ClientError as error:
            return "BucketAlready" in str(error)
        except botocore.exceptions.BotoCoreError:
            return False
        return True


def stored(server: S3Server, bucket: str, key: str) -> bytes:
    """An object's content; b"" while it is not there."""
    asked = server.client()
    try:
        return bytes(asked.get_object(Bucket=bucket, Key=key)["Body"].read())
    except asked.exceptions.NoSuchKey:
        return b""


def client(endpoint: str, key: str, secret: str) -> Any:
    """A boto3 client that neither retries nor reads this machine's settings."""
    return botocore.session.Session().create_client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"total_max_attempts": 1, "mode": "standard"},
            connect_timeout=5,
            read_timeout=20,
        ),
    )


@contextmanager
def moto(folder: Path) -> Iterator[S3Server]:
    """A server in memory; only its log is below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    server = S3Server(free_ports(1))
    argv = [str(BIN / "moto_server"), "-H", "127.0.0.1", "-p", str(server.ports[0])]
    with running(argv, log=folder / "moto.log") as process:
        until(lambda: process.poll() is not None or server.creates_bucket("ready"), 60)
        assert process.poll() is None, "the server ended"
        yield server
