"""Hash a password; run as a child, question and answer are JSON on stdin and stdout.

The parameters are OWASP's argon2id minimum twice over; one login costs 19 MiB and about 50 ms.
"""

from __future__ import annotations

import hashlib
import json
import sys

from argon2 import PasswordHasher

HASHER = PasswordHasher(time_cost=4, memory_cost=19 * 1024, parallelism=1)


def hash_password(password: str) -> str:
    """In the form that Jupyter stores."""
    return f"argon2:{HASHER.hash(password)}"


def cookie_key(password: str, salt: str) -> str:
    """The same on every node for the same password and store, so that a new node logs nobody out.

    scrypt with 16 MiB: whoever holds a cookie cannot try passwords against its signature cheaply.
    """
    key = hashlib.scrypt(password.encode(), salt=f"preflight-lab cookie {salt}".encode(), n=2**14, r=8, p=1, dklen=32)
    return key.hex()


def main() -> None:
    """Read {"password", "salt"}, write {"hash", "cookie_key"}."""
    question = json.load(sys.stdin)
    answer = {
        "hash": hash_password(question["password"]),
        "cookie_key": cookie_key(question["password"], question["salt"]),
    }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
