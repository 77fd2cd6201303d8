"""What JupyterLab needs to know, as one frozen value."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Secret(Protocol):
    """Anything that shows its text only when asked."""

    def reveal(self) -> str:
        """The text itself."""
        ...


class KernelCredentials(enum.StrEnum):
    """Which cloud credentials the environment of kernels and terminals holds."""

    STRIP = "strip"  # none: code in a notebook cannot delete the bucket
    INHERIT = "inherit"  # those of the container
    SCOPED = "scoped"  # only USER_<NAME>, under <NAME>: USER_AWS_ACCESS_KEY_ID becomes AWS_ACCESS_KEY_ID


@dataclass(frozen=True, slots=True)
class LabSettings:
    """Everything `prepare` depends on besides the environment."""

    data_dir: Path
    state_dir: Path
    port: int = 8000
    probe_port: int = 8001
    password: Secret | None = None  # None: one is made
    public_origin: str = ""  # PREFLIGHT_PUBLIC_ORIGIN, for proxies that rewrite Host
    collaboration: bool = True
    kernel_credentials: KernelCredentials = KernelCredentials.STRIP
    kernel_python: Path | None = None  # PREFLIGHT_KERNEL_PYTHON; None: an environment made beside the state
    folder_requirements: bool = False  # install requirements.txt and apt.txt of the folder at each start
    identity: str = ""  # what stays the same when the node changes (the store's URL): salts the cookie secret
    autosave_s: int = 15  # JupyterLab's own 120 s is too long on nodes that vanish
    ping_every_s: int = 20  # gateways cut sockets that are idle for 100 s
