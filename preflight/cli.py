"""The `preflight` command. Probes and the start of children take a short way that imports next to nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Console script: the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    first = words[0] if words else ""
    if first == "probe":
        from preflight.probing import probe

        return probe(words[1:], os.environ)
    if first == "exec-child":
        from preflight.tether import exec_child

        return exec_child(words[1:])
    if first in ("up", "examine-node", "monitor-node"):
        from sync.secrecy import hide_process

        hide_process()  # these hold the bucket's keys in their environment for as long as they live
    if first == "up" and (len(words) == 1 or words[1] == "--"):
        return _up(words[2:])
    if first == "examine-node" and len(words) == 1:
        from preflight.node_examination import examine_node

        return examine_node(os.environ)
    if first == "monitor-node" and len(words) == 1:
        from preflight.node_monitor import monitor_node

        return monitor_node(dict(os.environ))
    from preflight.commands import run

    return run(words)


def _up(command: Sequence[str]) -> int:
    from preflight import logs
    from preflight.launch import up
    from sync.clock import SystemClock

    logs.configure(os.environ)
    return up(dict(os.environ), command, SystemClock())
