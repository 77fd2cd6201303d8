"""A deployment as a file that can be applied again: `show` writes it, `--from` reads it.

Secrets are `${NAME}` in the file and come from the shell when it is applied, so the file can be shared and versioned.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from preflight.deploy import gongji
from preflight.deploy.errors import BadOrder
from preflight.deploy.variables import filled_in, placeholders

Json = dict[str, object]
FORMAT = "preflight-deploy/1"


def to_text(platform: str, request: Mapping[str, object], *, secrets: bool = False) -> str:
    """The file's content. With `secrets`, values are written as they are."""
    body = dict(request) if secrets else _each_environment(dict(request), placeholders)
    return json.dumps({"format": FORMAT, "platform": platform, "request": body}, indent=2, ensure_ascii=False) + "\n"


def from_file(path: Path, platform: str, environ: Mapping[str, str]) -> Json:
    """The request that a file holds, secrets filled in. Raises BadOrder."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BadOrder([f"{path}: no readable JSON ({type(error).__name__})"]) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or not isinstance(content.get("request"), dict):
        raise BadOrder([f"{path}: not written by `preflight deploy show`"])
    if content.get("platform") != platform:
        raise BadOrder([f"{path}: made for {content.get('platform')}, not for {platform}"])
    return _each_environment(content["request"], lambda variables: filled_in(variables, environ))


def _each_environment(request: Json, change: object) -> Json:
    """The request with `change` applied to the variables, where each platform keeps them."""
    assert callable(change)
    changed = dict(request)
    container = changed.get("container")
    if isinstance(container, Mapping) and isinstance(container.get("environment_variables"), Mapping):
        changed["container"] = {**container, "environment_variables": change(container["environment_variables"])}
    services = changed.get("services")
    if isinstance(services, list):
        changed["services"] = [
            {**service, "env": gongji.environment_text(change(gongji.environment_from(service.get("env"))))}
            if isinstance(service, Mapping) and service.get("env")
            else service
            for service in services
        ]
    return changed
