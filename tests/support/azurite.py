"""A real Azurite (Azure Blob emulator), reached by a container SAS as users have it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas

from sync.stores.config import StoreConfig
from sync.stores.secret import Secret
from tests.support.servers import REPOSITORY, free_ports, listens, running
from tests.support.wait import until

ACCOUNT = "devstoreaccount1"
# The emulator's published key: it opens nothing else.
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True)
class AzureServer:
    """A running emulator."""

    port: int

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    def service(self) -> BlobServiceClient:
        """The account's owner, as another program would use it."""
        return BlobServiceClient(self.endpoint, credential={"account_name": ACCOUNT, "account_key": ACCOUNT_KEY})

    def create_container(self, name: str) -> None:
        with self.service() as service:
            service.create_container(name)

    def sas(self, container: str, *, permissions: str = "rwdl", valid_s: float = 3600) -> str:
        """A token for one container; a negative `valid_s` makes one that has expired."""
        return generate_container_sas(
            ACCOUNT,
            container,
            account_key=ACCOUNT_KEY,
            permission=ContainerSasPermissions.from_string(permissions),
            start=datetime.now(UTC) - timedelta(days=2),
            expiry=datetime.now(UTC) + timedelta(seconds=valid_s),
        )

    def environ(self, container: str, *, sas: str | None = None) -> dict[str, str]:
        """The variables a user would set."""
        return {
            "AZURE_CONTAINER_URL": f"{self.endpoint}/{container}",
            "AZURE_BLOB_SAS_TOKEN": sas or self.sas(container.split("/", 1)[0]),
        }

    def config(self, container: str, prefix: str, *, sas: str | None = None) -> StoreConfig:
        """The configuration of a folder in a container."""
        token = Secret(sas if sas is not None else self.sas(container))
        return StoreConfig("azure", container, prefix, endpoint=self.endpoint, credentials={"sas": token})


@contextmanager
def azurite(folder: Path) -> Iterator[AzureServer]:
    """An emulator in memory; its log is below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1)
    binary = REPOSITORY / "tests/servers/node_modules/.bin/azurite-blob"
    assert binary.exists(), "run tools/test-servers first"
    argv = [
        str(binary), "--silent", "--skipApiVersionCheck", "--disableTelemetry", "--inMemoryPersistence",
        "--blobHost", "127.0.0.1", "--blobPort", str(port),
    ]  # fmt: skip
    with running(argv, log=folder / "azurite.log", cwd=folder) as process:
        until(lambda: process.poll() is not None or listens(port), 60)
        assert process.poll() is None, "the emulator ended"
        yield AzureServer(port)
