"""Login by one password, checked off the event loop and not as often as a guesser likes.

With Jupyter's own login ten clients with bad passwords pushed `/api` from 19 ms to over 1 s.
"""

from __future__ import annotations

import asyncio
import hmac
import math
from concurrent.futures import ThreadPoolExecutor

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.auth.identity import PasswordIdentityProvider, User
from jupyter_server.auth.login import LoginFormHandler
from tornado.web import RequestHandler

from preflight.lab.throttle import Throttle
from sync.clock import SystemClock

AT_ONCE = 1  # one core hashes at most; argon2 releases the interpreter lock
MOST_WAITING = 8  # about half a second of hashing


class LoginForm(LoginFormHandler):  # type: ignore[misc]
    """Jupyter's login page; a POST waits for the hash without blocking anybody."""

    @allow_unauthenticated  # type: ignore[untyped-decorator]
    async def post(self) -> None:
        """303 on success, 401 on a wrong password, 429 with Retry-After when asked too often."""
        provider: PasswordLogin = self.identity_provider
        address = self.request.remote_ip or ""
        wait_s = provider.throttle.wait_s(address) or (1.0 if provider.waiting >= MOST_WAITING else 0.0)
        if wait_s:
            self.set_status(429)
            self.set_header("Retry-After", str(math.ceil(wait_s)))
            self._render(message={"error": f"Too many tries: wait {math.ceil(wait_s)} s"})
            return
        user = await provider.check(self, self.get_argument("password", default="", strip=False))
        if user is None:
            provider.throttle.failed(address)
            self.log.warning("wrong password from %s", address)
            self.set_status(401)
            self._render(message={"error": "Invalid credentials"})
            return
        provider.throttle.succeeded(address)
        self.current_user = user
        provider.set_login_cookie(self, user)
        self._redirect_safe(self.get_argument("next", default=self.base_url))


class PasswordLogin(PasswordIdentityProvider):  # type: ignore[misc]
    """Jupyter's password login, throttled, whose cookies outlive the node."""

    def __init__(self, **options: object) -> None:
        super().__init__(login_handler_class=LoginForm, **options)
        self.throttle = Throttle(SystemClock())
        self.waiting = 0
        self._hashing = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="login")

    async def check(self, request: RequestHandler, typed: str) -> User | None:
        """The user, or None when the password is wrong."""
        self.waiting += 1
        try:
            loop = asyncio.get_running_loop()
            matches = await loop.run_in_executor(self._hashing, self.passwd_check, typed)
        finally:
            self.waiting -= 1
        return self.generate_anonymous_user(request) if matches else None

    def cookie_secret_hook(self, h: hmac.HMAC) -> hmac.HMAC:
        """Leave the hash out: its salt is new on every node. The key itself already depends on the password."""
        return h
