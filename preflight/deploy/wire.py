"""The one place that speaks HTTP to a platform's API: one request, its answer as JSON, its failure as a sentence.

Answers may be HTML (a proxy's error page) at any status. What the server did not process (429) is sent again after its
Retry-After; reads are repeated after a server error or a broken connection; writes never are: their outcome is unknown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

import requests

from preflight.deploy.errors import BadOrder, Busy, DeployError, Forbidden, NameTaken, NotThere
from sync.clock import Clock

TIMEOUT_S = 60.0
TRIES = 4
LONGEST_WAIT_S = 60.0  # the limit is per minute (240 requests a key), so a minute always suffices
_TAG = re.compile(r"<[^>]+>")
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)


class Wire:
    """A session with one API. `headers` are computed for each request (some APIs sign or time-stamp)."""

    def __init__(
        self,
        url: str,
        headers: Callable[[str, bytes], Mapping[str, str]],
        clock: Clock,
        *,
        session: requests.Session | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._headers = headers
        self._clock = clock
        self._session = session or requests.Session()

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> object:
        """The answer's JSON, or None when it has no body. Raises DeployError by kind (`preflight.deploy.errors`)."""
        request = requests.Request(method, self._url + path, params=params)
        raw = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
        prepared = self._session.prepare_request(request)
        for attempt in range(1, TRIES + 1):
            prepared.headers.update(self._headers(prepared.path_url, raw))
            if raw:
                prepared.prepare_body(raw, None)
                prepared.headers["Content-Type"] = content_type
            try:
                answer = self._send(prepared)
            except requests.RequestException as error:
                if method != "GET" or attempt == TRIES:
                    raise Busy(
                        f"{method} {path}: no answer ({type(error).__name__})",
                        hint="" if method == "GET" else "the outcome is unknown: look with `preflight deploy show`",
                    ) from error
                self._clock.sleep(float(attempt))
                continue
            wait_s = self._pause_s(method, answer, attempt)
            if wait_s is None:
                return _content(method, path, answer)
            self._clock.sleep(wait_s)
        raise AssertionError("the last try always answers or raises")  # pragma: no cover

    def _send(self, prepared: requests.PreparedRequest) -> requests.Response:
        settings = self._session.merge_environment_settings(prepared.url, {}, None, None, None)
        return self._session.send(prepared, timeout=TIMEOUT_S, allow_redirects=False, **settings)

    @staticmethod
    def _pause_s(method: str, answer: requests.Response, attempt: int) -> float | None:
        """How long to wait before the same request again; None: this answer is final."""
        if attempt == TRIES or not (answer.status_code == 429 or (method == "GET" and answer.status_code >= 500)):
            return None
        asked = answer.headers.get("Retry-After", "")
        return min(float(asked), LONGEST_WAIT_S) if asked.isdigit() else float(2**attempt)


def _content(method: str, path: str, answer: requests.Response) -> object:
    if answer.status_code >= 300:
        raise _failure(method, path, answer)
    if not answer.content:
        return None
    try:
        return answer.json()
    except ValueError as error:
        raise DeployError(
            f"{method} {path}: status {answer.status_code} with {_gist(answer)!r} in place of JSON"
        ) from error


def _failure(method: str, path: str, answer: requests.Response) -> DeployError:
    status, gist = answer.status_code, _gist(answer)
    what = f"{method} {path}: {status} {gist}".rstrip()
    if status in (401, 403):
        return Forbidden(what, hint="check the API key, and that it may act for this organization and project")
    if status == 404:
        return NotThere(what, hint="check the names of organization, project and group")
    if status == 409 or (
        status == 400 and method == "POST" and re.search(r"(already|taken|exist|in use|conflict|duplicate)", gist, re.I)
    ):
        return NameTaken(what, hint="choose another name: names of deleted groups are not given out again")
    if status in (400, 422):
        return BadOrder([what])
    if status == 429 or status >= 500:
        return Busy(
            what, hint="try again in a minute" if status == 429 else "the platform has a problem; try again later"
        )
    return DeployError(what)


def _gist(answer: requests.Response) -> str:
    """What an error says, in at most 300 characters: RFC 7807's fields, else the title or text of a page."""
    try:
        problem = answer.json()
    except ValueError:
        title = _TITLE.search(answer.text)
        text = _TAG.sub(" ", title.group(1) if title else answer.text)
        return " ".join(text.split())[:300]
    if not isinstance(problem, dict):
        return str(problem)[:300]
    parts = [str(problem[key]) for key in ("title", "detail", "message") if problem.get(key)]
    if problem.get("errors"):
        parts.append(json.dumps(problem["errors"], ensure_ascii=False))
    return ": ".join(dict.fromkeys(parts))[:300]
