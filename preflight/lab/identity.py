"""Login by one password."""

from __future__ import annotations

import hmac

from jupyter_server.auth.identity import PasswordIdentityProvider


class PasswordLogin(PasswordIdentityProvider):  # type: ignore[misc]
    """Jupyter's password login, whose cookies outlive the node."""

    def cookie_secret_hook(self, h: hmac.HMAC) -> hmac.HMAC:
        """Leave the hash out: its salt is new on every node. The key itself already depends on the password."""
        return h
