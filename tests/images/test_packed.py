"""Long settings in short variables: what goes in comes out, and what is broken is named."""

from __future__ import annotations

import base64
import gzip
import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from sync.errors import BadSettings
from sync.packed import pack, unpack
from sync.stores.variables import store_configs

NAME = "GOOGLE_APPLICATION_CREDENTIALS"


@given(st.text(min_size=1, max_size=5000), st.integers(min_value=16, max_value=1000))
def test_what_goes_in_comes_out(text: str, limit: int) -> None:
    variables = pack(NAME, text, limit_chars=limit)
    assert max(map(len, variables.values())) <= limit
    assert unpack(NAME, {**variables, "OTHER": "x"}) == text


def test_a_real_service_account_key_fits_into_two_variables() -> None:
    pem = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key = json.dumps(
        {"type": "service_account", "project_id": "p" * 20, "private_key": pem.decode(), "client_email": "a@b"}
    )
    variables = pack(NAME, key, limit_chars=1000)
    assert list(variables) == [f"{NAME}_B64GZ", f"{NAME}_B64GZ_2"]


def test_nothing_set_is_none() -> None:
    assert unpack(NAME, {}) is None
    assert unpack(NAME, {f"{NAME}_B64GZ": "  "}) is None


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({f"{NAME}_B64GZ": "not base64!"}, "not gzipped text"),
        ({f"{NAME}_B64GZ": base64.b64encode(b"plain").decode()}, "not gzipped text"),
        ({f"{NAME}_B64GZ": base64.b64encode(gzip.compress(b"x" * 100)[:-9]).decode()}, "cut short"),
        ({f"{NAME}_B64GZ": base64.b64encode(gzip.compress(b"\0" * 10_000_000)).decode()}, "longer than"),
        ({f"{NAME}_B64GZ": base64.b64encode(gzip.compress(b"\xff")).decode()}, "not gzipped text"),
        ({f"{NAME}_B64GZ_2": "abcd"}, f"{NAME}_B64GZ before it is not"),
        ({f"{NAME}_B64GZ": "abcd", f"{NAME}_B64GZ_3": "abcd"}, f"{NAME}_B64GZ_2 before it is not"),
    ],
)
def test_what_is_broken_is_named(environ: dict[str, str], says: str) -> None:
    with pytest.raises(BadSettings, match=says):
        unpack(NAME, environ)


def test_a_container_reads_its_credentials_from_the_pieces() -> None:
    key = json.dumps({"type": "service_account", "project_id": "p", "client_email": "a@b", "private_key": "k" * 900})
    environ = {"GOOGLE_BUCKET_FOLDER": "bucket/user1", **pack(NAME, key, limit_chars=60)}
    assert store_configs(environ)[0].secret("json") == key
    del environ[f"{NAME}_B64GZ"]
    with pytest.raises(BadSettings, match=f"{NAME}_B64GZ before it is not"):
        store_configs(environ)
