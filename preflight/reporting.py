"""`preflight.report_metric`: how code of the user's own tells the monitor how well it does. Standard library only.

It never raises and never waits: a training run must not fail because nobody listens.
"""

from __future__ import annotations

import json
import os
import socket

VARIABLE = "PREFLIGHT_METRICS_SOCKET"
LONGEST_NAME = 64


def report_metric(name: str, value: float, *, better: str = "") -> bool:
    """Report one number, such as ("rtf", 82.0). True when somebody took it.

    `better` is "higher", "lower" or "" (then only PREFLIGHT_METRIC_<NAME>_AT_LEAST and _AT_MOST judge it). Values
    of a minute become their median. A name has letters, digits and underscores, at most 64.
    """
    path = os.environ.get(VARIABLE, "")
    if not path:
        return False
    message = json.dumps({"name": str(name)[:LONGEST_NAME], "value": float(value), "better": better}).encode()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
            link.setblocking(False)
            link.sendto(message, path)
        return True
    except OSError:
        return False
