"""What signs requests may change while the store is in use, and a wrong clock is said in one line. S3 and Google."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from sync.clock import SystemClock
from sync.errors import Denied
from sync.stores.check import check_store
from sync.stores.opening import open_store
from sync.stores.secret import Secret
from sync.stores.variables import store_configs
from tests.support.dialects import AWS
from tests.support.fakegcs import GcsServer
from tests.support.s3dialect import dialect_server
from tests.support.wait import until

pytestmark = pytest.mark.timeout(300)
SKEWED = (
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
    "Check your iat and exp values in the JWT claim."
)


@dataclass
class Google:
    """A token endpoint that verifies signatures and the time in them."""

    port: int = 0
    ahead_s: float = 0.0  # of this machine's clock
    keys: dict[str, Any] = field(default_factory=dict)  # public ones, by account
    granted: list[str] = field(default_factory=list)

    def account(self, email: str) -> str:
        """A new key for this account, as Google's JSON."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.keys[email] = key.public_key()
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return json.dumps(
            {
                "type": "service_account",
                "client_email": email,
                "private_key": pem.decode(),
                "private_key_id": "1",
                "token_uri": f"http://127.0.0.1:{self.port}/token",
            }
        )

    def answer(self, body: str) -> tuple[int, dict[str, Any]]:
        assertion = dict(pair.split("=", 1) for pair in body.split("&"))["assertion"]
        head, claims, signature = assertion.split(".")
        claimed = json.loads(_unpad(claims))
        key = self.keys[claimed["iss"]]
        key.verify(_unpad(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
        if abs(SystemClock().now() + self.ahead_s - claimed["iat"]) > 3600:
            return 400, {"error": "invalid_grant", "error_description": SKEWED}
        self.granted.append(claimed["iss"])
        return 200, {"access_token": f"t{len(self.granted)}", "expires_in": 3600, "token_type": "Bearer"}


class TokenEndpoint(BaseHTTPRequestHandler):
    google: Google

    def do_POST(self) -> None:
        status, told = self.google.answer(self.rfile.read(int(self.headers["Content-Length"])).decode())
        answer = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


def _unpad(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.fixture
def google() -> Iterator[Google]:
    made = Google()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (TokenEndpoint,), {"google": made}))
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


def refuses(act: Callable[[], object]) -> bool:
    try:
        act()
    except Denied:
        return True
    return False


def test_a_service_account_signs_in(fakegcs_server: GcsServer, google: Google) -> None:
    account = google.account("lab@example.iam.gserviceaccount.com")
    config = replace(fakegcs_server.config("contract", "account"), credentials={"json": Secret(account)})
    with closing(open_store(config)) as store:
        store.put("a", b"x", meta={})
        assert [info.key for info in store.list()] == ["a"]
        for number in range(5):
            store.put(f"k{number}", b"x", meta={})
    assert set(google.granted) == {"lab@example.iam.gserviceaccount.com"}
    assert len(google.granted) <= 2  # not one for each request


def test_another_service_account_by_file(fakegcs_server: GcsServer, google: Google, tmp_path: Path) -> None:
    file = tmp_path / "account.json"
    file.write_text(google.account("old@example"))
    environ = {**fakegcs_server.environ("contract/renewed"), "GOOGLE_APPLICATION_CREDENTIALS_FILE": str(file)}
    environ.pop("GOOGLE_APPLICATION_CREDENTIALS", None)
    (config,) = store_configs(environ)
    with closing(open_store(config)) as store:
        store.put("a", b"one", meta={})
        assert set(google.granted) == {"old@example"}
        file.write_text("{half")  # somebody is writing it: the old one serves
        store.put("a", b"two", meta={})
        file.write_text(google.account("new@example"))

        def is_new() -> bool:
            store.put("a", b"three", meta={})
            return "new@example" in google.granted

        until(is_new, 60)
        assert [info.key for info in store.list()] == ["a"]


def test_a_wrong_clock_is_one_line_at_google(fakegcs_server: GcsServer, google: Google) -> None:
    google.ahead_s = 7200.0
    credentials = {"json": Secret(google.account("lab@example"))}
    checked = check_store(replace(fakegcs_server.config("contract", "skew"), credentials=credentials), SystemClock())
    assert told(checked) == ("this machine's clock is wrong", "set the clock: signatures carry the time")


def told(checked: Any) -> tuple[str, str]:
    """What `store check` says where nothing works at all: error and fix."""
    if checked.capability is None:
        return checked.error, checked.hint
    (step,) = checked.capability.steps
    return step.why, step.fix


def test_session_tokens_by_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Key, secret and token change together, as an issuer of session tokens changes them."""
    with dialect_server(AWS, token="first") as running:
        monkeypatch.setenv("http_proxy", running.proxy)
        files = {name: tmp_path / name for name in ("id", "secret", "token")}

        def issue(key: str, secret: str, token: str) -> None:
            for name, value in (("id", key), ("secret", secret), ("token", token)):
                files[name].write_text(value + "\n")

        issue("tester", "tester-secret", "first")
        environ = {
            "AWS_S3_BUCKET_FOLDER": f"{running.bucket}/user",
            "AWS_ACCESS_KEY_ID_FILE": str(files["id"]),
            "AWS_SECRET_ACCESS_KEY_FILE": str(files["secret"]),
            "AWS_SESSION_TOKEN_FILE": str(files["token"]),
            "AWS_ENDPOINT_URL": f"http://{AWS.host}",
            "AWS_REGION": "eu-test-1",
        }
        (config,) = store_configs(environ)
        with closing(open_store(config)) as store:
            store.put("a", b"one", meta={})
            running.secrets, running.token = {"tester2": "another-secret"}, "second"
            assert refuses(lambda: store.put("a", b"two", meta={}))
            issue("tester2", "another-secret", "second")
            until(lambda: not refuses(lambda: store.put("a", b"three", meta={})), 60)
            store.get("a", body := io.BytesIO())
            assert body.getvalue() == b"three"
            assert [info.key for info in store.list()] == ["a"]
            upload = store.start_upload("large", meta={})
            store.abort_upload("large", upload)


@pytest.mark.parametrize("ahead_s", [16 * 60.0, -16 * 60.0])
def test_a_wrong_clock_is_one_line_at_s3(monkeypatch: pytest.MonkeyPatch, ahead_s: float) -> None:
    with dialect_server(AWS, ahead_s=ahead_s) as running:
        monkeypatch.setenv("http_proxy", running.proxy)
        checked = check_store(running.config("user"), SystemClock())
        assert told(checked) == ("this machine's clock is wrong", "set the clock: signatures carry the time")
        assert checked.exit_code == 12
        with closing(open_store(running.config("user"))) as store:
            for ask in (lambda: store.get("a", io.BytesIO()), lambda: list(store.list()), lambda: store.head("a")):
                with pytest.raises(Denied):
                    ask()
