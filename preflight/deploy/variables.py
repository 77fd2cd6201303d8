"""Which variables travel from the shell to the container, which of them are secret, and how long they may be."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from preflight.deploy.errors import BadOrder
from sync.packed import SUFFIX, pack

# The contract's variables. Exact names, so that a shell's other settings (AWS_PROFILE, AWS_CA_BUNDLE: paths of this
# machine) stay where they mean something.
FORWARDED = (
    "JUPYTERLAB_PW",
    "AWS_S3_BUCKET_FOLDER",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_ENDPOINT_URL",
    "AZURE_CONTAINER_URL",
    "AZURE_BLOB_SAS_TOKEN",
    "GOOGLE_BUCKET_FOLDER",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_PROJECT_ID",
    "ALIYUN_OSS_BUCKET_FOLDER",
    "ALIYUN_OSS_ACCESS_KEY_ID",
    "ALIYUN_OSS_ACCESS_KEY_SECRET",
    "ALIYUN_OSS_ENDPOINT",
    "HUAWEI_OBS_BUCKET_FOLDER",
    "HUAWEI_OBS_ACCESS_KEY_ID",
    "HUAWEI_OBS_SECRET_ACCESS_KEY",
    "HUAWEI_OBS_ENDPOINT",
    "TENCENT_COS_BUCKET_FOLDER",
    "TENCENT_COS_SECRET_ID",
    "TENCENT_COS_SECRET_KEY",
    "TENCENT_COS_REGION",
    "TENCENT_COS_ENDPOINT",
)
FORWARDED_PREFIXES = ("PREFLIGHT_LIMIT_", "PREFLIGHT_EXPECT_")
FORWARDED_PREFLIGHT = (
    "PREFLIGHT_STORE",
    "PREFLIGHT_ON_REJECT",
    "PREFLIGHT_ALLOW_BUCKET_ROOT",
    "PREFLIGHT_FLUSH_TIMEOUT_S",
)

# Credentials of buckets, which `sync` puts together again from their pieces. Nothing else in a container knows them.
SPLITTABLE = frozenset(
    name
    for name in FORWARDED
    if name.endswith(("_KEY_ID", "_SECRET", "_ACCESS_KEY", "_TOKEN", "_CREDENTIALS", "_SECRET_ID", "_SECRET_KEY"))
)

_SECRET = re.compile(r"(_PW|PASSWORD|PASSWD|SECRET|TOKEN|CREDENTIALS|API_?KEY|ACCESS_KEY_ID|PRIVATE_KEY)")
_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
MASK = "••••"
SALAD_LIMIT_CHARS = 1000


def is_secret(name: str) -> bool:
    """Whether a variable's value must never be shown."""
    return bool(_SECRET.search(name.upper()))


def masked(variables: Mapping[str, str]) -> dict[str, str]:
    """The same variables, fit to be shown."""
    return {name: MASK if is_secret(name) else value for name, value in variables.items()}


def placeholders(variables: Mapping[str, str]) -> dict[str, str]:
    """Secrets as `${NAME}`, to be filled in from the shell when the file is applied again."""
    return {name: f"${{{name}}}" if is_secret(name) else value for name, value in variables.items()}


def filled_in(variables: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """The reverse of `placeholders`. Raises BadOrder naming every variable that the shell does not have."""
    missing = [name for name, value in variables.items() if value == f"${{{name}}}" and not environ.get(name)]
    if missing:
        raise BadOrder([f"{name} is a placeholder in the file and not set in this shell" for name in missing])
    return {name: environ[name] if value == f"${{{name}}}" else value for name, value in variables.items()}


def forwarded(environ: Mapping[str, str], extra: Sequence[str] = ()) -> dict[str, str]:
    """The contract's variables that the shell has set, plus `extra`: each `NAME` (from the shell) or `NAME=VALUE`.

    A GOOGLE_APPLICATION_CREDENTIALS that is a path is replaced by the file's content: the path means nothing in a
    container. Raises BadOrder.
    """
    chosen: dict[str, str] = {}
    for name, value in environ.items():
        known = name in FORWARDED or name in FORWARDED_PREFLIGHT or name.startswith(FORWARDED_PREFIXES)
        packed = any(name.startswith(f"{long}{SUFFIX}") for long in FORWARDED)
        if (known or packed) and value:
            chosen[name] = value
    problems = []
    for item in extra:
        name, equals, value = item.partition("=")
        if not _NAME.match(name):
            problems.append(f"--env {name!r} is no variable name")
        elif equals and is_secret(name):
            problems.append(f"--env {name}=… would show a secret in the process list: export it, and pass --env {name}")
        elif not equals and not environ.get(name):
            problems.append(f"--env {name}: not set in this shell")
        elif value or not equals:
            chosen[name] = value if equals else environ[name]
        else:
            problems.append(f"--env {name}= is empty: platforms refuse empty values")
    if problems:
        raise BadOrder(problems)
    return _with_key_content(chosen)


def _with_key_content(variables: dict[str, str]) -> dict[str, str]:
    value = variables.get("GOOGLE_APPLICATION_CREDENTIALS", "")
    if not value or value.lstrip().startswith("{"):
        return variables
    try:
        content = json.dumps(json.loads(Path(value).read_text()), separators=(",", ":"))
    except (OSError, ValueError) as error:
        raise BadOrder([f"GOOGLE_APPLICATION_CREDENTIALS: {value} is no readable JSON file"]) from error
    return {**variables, "GOOGLE_APPLICATION_CREDENTIALS": content}


def fitted(
    variables: Mapping[str, str], *, limit_chars: int = SALAD_LIMIT_CHARS, split: bool = False
) -> dict[str, str]:
    """The variables with none longer than the platform takes.

    With `split`, a credential that is too long becomes `NAME_B64GZ`, `NAME_B64GZ_2`, …; BadOrder names the rest and the
    way out.
    """
    kept: dict[str, str] = {}
    problems = []
    for name, value in variables.items():
        if len(value) <= limit_chars:
            kept[name] = value
        elif name in SPLITTABLE and split:
            kept.update(pack(name, value, limit_chars=limit_chars))
        else:
            problems.append(
                f"{name} has {len(value)} characters, and the platform takes {limit_chars}: {_way_out(name)}"
            )
    if problems:
        raise BadOrder(problems)
    return kept


def _way_out(name: str) -> str:
    if name in SPLITTABLE:
        return f"pass --split-long to send it as {name}{SUFFIX} and its continuations (the container joins them)"
    return "keep it in a file of your bucket's folder, or behind an address that the container can fetch"
