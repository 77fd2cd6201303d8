"""Gongji's Open API as the few calls that a deployment makes.

Every request carries the key, the time in milliseconds and the API's version; keys that are not in "simple mode" want a
signature besides: RSA (PKCS #1 v1.5, SHA-256) over path, version, time, key and body, joined by line breaks.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping

from preflight.deploy.errors import BadOrder, Busy, DeployError, Forbidden
from preflight.deploy.wire import Wire
from sync.clock import Clock

URL = "https://openapi.suanli.cn"
VERSION = "1.0.0"
_SUCCESS = "0000"


class Gongji:
    """Calls with one key. Every method raises DeployError."""

    def __init__(self, token: str, clock: Clock, *, private_key: str = "", url: str = URL) -> None:
        def headers(path: str, body: bytes) -> Mapping[str, str]:
            timestamp = str(int(clock.now() * 1000))
            sent = {"token": token, "timestamp": timestamp, "version": VERSION, "Accept": "application/json"}
            if private_key:
                sent["sign_str"] = sign(private_key, path, timestamp, token, body)
            return sent

        self._wire = Wire(url, headers, clock)

    def stock(self, *, gpu: bool) -> list[Mapping[str, object]]:
        """The resource list: devices, their regions, marks, prices and stock."""
        device_type = "GpuDevice" if gpu else "CpuDevice"
        answer = self._call(
            "GET", "/api/deployment/resource/search", params={"task_type": "Deployment", "device_type": device_type}
        )
        return _results(answer)

    def find(self, name: str) -> int | None:
        """The id of the one task of exactly this name that is not deleted, or None. Raises BadOrder for several."""
        params = {
            "type": "Deployment",
            "status": "Running,Pending,Paused",
            "search_value": name,
            "page": "1",
            "page_size": "100",
        }
        tasks = _results(self._call("GET", "/api/deployment/task/search", params=params))
        ids = [task.get("task_id") for task in tasks if task.get("task_name") == name]
        if len(ids) > 1:
            raise BadOrder(
                [f"{len(ids)} tasks are called {name!r} (ids {', '.join(map(str, ids))}): rename or delete all but one"]
            )
        return int(str(ids[0])) if ids else None

    def detail(self, task_id: int) -> dict[str, object]:
        answer = self._call("GET", "/api/deployment/task/detail", params={"task_id": str(task_id)})
        if not isinstance(answer, dict):
            raise DeployError(f"task {task_id}: the platform sent no detail")
        return answer

    def create(self, request: Mapping[str, object]) -> int:
        answer = self._call("POST", "/api/deployment/task/create", request)
        if not isinstance(answer, dict) or "task_id" not in answer:
            raise DeployError("the task was accepted, but the answer names no task_id")
        return int(str(answer["task_id"]))

    def update(self, request: Mapping[str, object]) -> None:
        self._call("POST", "/api/deployment/task/update", request)

    def _call(self, method: str, path: str, body: object = None, *, params: Mapping[str, str] | None = None) -> object:
        answer = self._wire.send(method, path, body, params=params)
        if not isinstance(answer, dict) or "code" not in answer:
            raise DeployError(f"{method} {path}: the answer has no code")
        if answer["code"] != _SUCCESS:
            raise _failure(f"{method} {path}: {answer['code']} {answer.get('message') or ''}".rstrip())
        return answer.get("data")


def _failure(what: str) -> DeployError:
    """The API documents one code (success); what failed can only be read from the message."""
    lowered = what.lower()
    if any(word in lowered for word in ("token", "sign", "密钥", "签名", "权限", "鉴权")):
        return Forbidden(
            what, hint="check GONGJI_TOKEN; a key that is not in simple mode also needs GONGJI_PRIVATE_KEY"
        )
    if any(word in lowered for word in ("频繁", "too many", "rate")):
        return Busy(what, hint="try again in a minute")
    return DeployError(what)


def sign(private_key: str, path: str, timestamp: str, token: str, body: bytes) -> str:
    """The `sign_str` header. `private_key` is PEM, or its base64 in one line. Raises BadOrder for an unusable key."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    try:
        if "BEGIN" in private_key:
            key = serialization.load_pem_private_key(private_key.encode(), password=None)
        else:
            key = serialization.load_der_private_key(base64.b64decode(private_key), password=None)
    except (ValueError, TypeError) as error:
        raise BadOrder(["GONGJI_PRIVATE_KEY is no RSA private key (PEM, or its base64)"]) from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise BadOrder(["GONGJI_PRIVATE_KEY is no RSA key"])
    text = "\n".join((path, VERSION, timestamp, token, body.decode()))
    return base64.b64encode(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())).decode()


def _results(answer: object) -> list[Mapping[str, object]]:
    results = answer.get("results") if isinstance(answer, dict) else None
    return [item for item in results if isinstance(item, Mapping)] if isinstance(results, list) else []
