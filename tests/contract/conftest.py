"""Every backend that the contract suite runs on. A new provider is one entry here and inherits the whole suite."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from sync.stores import Store
from sync.stores.config import StoreConfig, file_config
from sync.stores.opening import open_store
from sync.stores.retry import Retrying
from tests.support.azurite import AzureServer, azurite
from tests.support.fakegcs import GcsServer, fakegcs
from tests.support.moto import S3Server, moto
from tests.support.s3dialect import COS, DIALECTS, OBS, OSS, DialectServer, dialect_server
from tests.support.seaweed import seaweed

WRAPPED = {"seaweed", "fakegcs", "cos"}  # inside the retry layer, which must keep the contract too
BACKENDS = ("file", "seaweed", "moto", "azurite", "fakegcs", "oss", "obs", "cos")


@dataclass
class Backend:
    """A place for one test: `config` names an empty prefix on a real server."""

    name: str
    config: StoreConfig
    variables: dict[str, str]  # what a user would set to reach it

    def open(self) -> Store:
        """A new connection to it."""
        return open_store(self.config)


@pytest.fixture(scope="session")
def seaweed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with seaweed(tmp_path_factory.mktemp("seaweed")) as server:
        server.creates_bucket("contract")
        yield server


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with moto(tmp_path_factory.mktemp("moto")) as server:
        server.creates_bucket("contract")
        yield server


@pytest.fixture(scope="session")
def azurite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureServer]:
    with azurite(tmp_path_factory.mktemp("azurite")) as server:
        server.create_container("contract")
        yield server


@pytest.fixture(scope="session")
def fakegcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsServer]:
    with fakegcs(tmp_path_factory.mktemp("fakegcs"), strict=True) as server:
        server.create_bucket("contract")
        yield server


@pytest.fixture(scope="session")
def oss_server() -> Iterator[DialectServer]:
    with dialect_server(OSS) as server:
        yield server


@pytest.fixture(scope="session")
def obs_server() -> Iterator[DialectServer]:
    with dialect_server(OBS) as server:
        yield server


@pytest.fixture(scope="session")
def cos_server() -> Iterator[DialectServer]:
    with dialect_server(COS) as server:
        yield server


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """One entry of BACKENDS."""
    name: str = request.param
    if name in DIALECTS:
        server = request.getfixturevalue(f"{name}_server")
        request.getfixturevalue("monkeypatch").setenv("http_proxy", server.proxy)
        folder = f"user/{uuid.uuid4().hex[:8]}"
        return Backend(name, server.config(folder), server.environ(folder))
    prefix = f"user/{uuid.uuid4().hex[:8]}"
    if name == "file":
        bucket = tmp_path / "bucket"
        return Backend(name, file_config(bucket), {"PREFLIGHT_STORE": f"file://{bucket}"})
    started: S3Server | AzureServer | GcsServer = request.getfixturevalue(f"{name}_server")
    return Backend(name, started.config("contract", prefix), started.environ(f"contract/{prefix}"))


@pytest.fixture
def store(backend: Backend) -> Iterator[Store]:
    """An empty store."""
    with closing(backend.open()) as opened:
        yield Retrying(opened) if backend.name in WRAPPED else opened
