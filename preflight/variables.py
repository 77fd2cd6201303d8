"""Every environment variable there is: for `docs/settings.md`, `preflight settings` and the check for typos."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from preflight.app_metrics import LIMIT as METRIC_LIMIT
from preflight.checks import all_checks
from preflight.limits import PREFIX, VARIABLES, variable
from preflight.quantity import show
from preflight.settings import Settings
from sync.stores.secret import Secret


@dataclass(frozen=True, slots=True)
class Variable:
    """One row of the page."""

    name: str
    default: str
    what: str


# Read outside of `Settings`: by sync, the checks, the platforms and the images.
FOLDER = (
    Variable(
        "PREFLIGHT_STORE",
        "",
        "a store URL that wins over the clouds' variables: `file:///path`, `s3://bucket/prefix`, …",
    ),
    Variable(
        "PREFLIGHT_EMBEDDED_STORE",
        "1",
        "without any bucket: save into `./.local/bucket` (`0` in images, where that dies with the node)",
    ),
    Variable(
        "PREFLIGHT_ALLOW_BUCKET_ROOT",
        "0",
        "`1`: a bucket without a folder is meant; the whole bucket is then the folder",
    ),
    Variable("PREFLIGHT_FLUSH_TIMEOUT_S", "30", "what saving may still take after SIGTERM"),
    Variable("PREFLIGHT_GUARD_FILES", "50", "deletes are held back when more than this many files vanish at once …"),
    Variable("PREFLIGHT_GUARD_RATIO", "0.5", "… and more than this share of all files"),
    Variable("PREFLIGHT_GUARD_RELEASE_S", "86400", "held deletes go ahead after this time (the trash keeps the files)"),
    Variable("PREFLIGHT_SYNC_BANDWIDTH_BYTES_PER_S", "0", "limit of uploads; 0 is none"),
    Variable("PREFLIGHT_SYNC_WORKERS", "48", "transfers at once"),
)
CLOUDS = (
    Variable("AWS_S3_BUCKET_FOLDER", "", "`bucket/folder` on S3 or a compatible"),
    Variable("AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY", "", "its keys"),
    Variable("AWS_SESSION_TOKEN, AWS_CREDENTIAL_EXPIRATION", "", "of temporary keys, and when they end (ISO 8601)"),
    Variable("AWS_REGION", "", "found out where it is not given"),
    Variable("AWS_ENDPOINT_URL", "", "R2, B2, MinIO, SeaweedFS, Wasabi and other compatibles"),
    Variable("AZURE_CONTAINER_URL", "", "`https://ACCOUNT.blob.core.windows.net/CONTAINER/FOLDER`"),
    Variable("AZURE_BLOB_SAS_TOKEN", "", "a SAS for it"),
    Variable("GOOGLE_BUCKET_FOLDER", "", "`bucket/folder` on Google Cloud Storage"),
    Variable("GOOGLE_APPLICATION_CREDENTIALS", "", "a service account's JSON itself, or the path of its file"),
    Variable("GOOGLE_PROJECT_ID", "", "informs only"),
    Variable("STORAGE_EMULATOR_HOST", "", "as Google's own clients use it"),
    Variable("ALIYUN_OSS_BUCKET_FOLDER", "", "`bucket/folder` on Aliyun OSS"),
    Variable("ALIYUN_OSS_ACCESS_KEY_ID, ALIYUN_OSS_ACCESS_KEY_SECRET", "", "its keys"),
    Variable("ALIYUN_OSS_SECURITY_TOKEN", "", "of temporary keys"),
    Variable("ALIYUN_OSS_ENDPOINT, ALIYUN_OSS_REGION", "", "found out where they are not given"),
    Variable("HUAWEI_OBS_BUCKET_FOLDER", "", "`bucket/folder` on Huawei OBS"),
    Variable("HUAWEI_OBS_ACCESS_KEY_ID, HUAWEI_OBS_SECRET_ACCESS_KEY", "", "its keys"),
    Variable("HUAWEI_OBS_SECURITY_TOKEN", "", "of temporary keys"),
    Variable("HUAWEI_OBS_ENDPOINT, HUAWEI_OBS_REGION", "", "where it is"),
    Variable("TENCENT_COS_BUCKET_FOLDER", "", "`bucket-APPID/folder` on Tencent COS"),
    Variable("TENCENT_COS_SECRET_ID, TENCENT_COS_SECRET_KEY", "", "its keys"),
    Variable("TENCENT_COS_SESSION_TOKEN", "", "of temporary keys"),
    Variable("TENCENT_COS_REGION, TENCENT_COS_ENDPOINT", "", "where it is"),
    Variable(
        "<NAME>_FILE", "", "a file with the value of any of the keys and tokens above; read again when it changes"
    ),
    Variable("<NAME>_B64GZ", "", "the same value gzipped, in base64: for platforms that cap a value's length"),
)
DECIDING = (
    *(Variable(*one) for one in VARIABLES),
    Variable("PREFLIGHT_IMAGE_MANIFEST", "/opt/preflight/image.json", "what the image needs of a node"),
    Variable("PREFLIGHT_NVML_LIB", "", "another libnvidia-ml.so.1"),
    Variable("PREFLIGHT_CUDA_LIB", "", "another libcuda.so.1"),
)
METRICS = (
    Variable(
        "PREFLIGHT_METRIC_<NAME>_AT_LEAST",
        "",
        "least value of your own metric over the window, e.g. `PREFLIGHT_METRIC_RTF_AT_LEAST=20`",
    ),
    Variable("PREFLIGHT_METRIC_<NAME>_AT_MOST", "", "its greatest value"),
    Variable("PREFLIGHT_METRIC_WINDOW_S", "300", "the window: 4 of its 5 parts must break the limit"),
    Variable("PREFLIGHT_METRICS_SOCKET", "", "set by `preflight up` for `preflight.report_metric`"),
)


def own() -> Iterator[Variable]:
    """The fields of `Settings`."""
    for info in Settings.model_fields.values():
        yield Variable(str(info.validation_alias), _shown(info.default), info.description or "")


def limits() -> Iterator[Variable]:
    """One row a side of every check's limit."""
    for check in all_checks():
        for side, bound in (("at_least", check.limit.at_least), ("at_most", check.limit.at_most)):
            default = "" if bound is None else show(bound, check.unit)
            yield Variable(variable(check.name, side), default, f"{check.title} (`{check.name}`)")


def unknown(environ: Mapping[str, str]) -> list[str]:
    """A sentence for every PREFLIGHT_ variable that nothing reads. Limits have their own, stricter check."""
    known = {row.name for rows in (own(), FOLDER, DECIDING, METRICS) for row in rows}
    told = []
    for name in sorted(environ):
        if not name.startswith("PREFLIGHT_") or name in known or name.startswith(PREFIX) or METRIC_LIMIT.match(name):
            continue
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        told.append(f"{name} is not a setting" + (f"; did you mean {nearest[0]}?" if nearest else ""))
    return told


def page() -> str:
    """`docs/settings.md`."""
    parts = [
        "# Settings\n",
        "Every setting is an environment variable. An empty one counts as unset. All faults are told at once, each "
        "with its variable; off a platform the exit code is 2, on a platform the container stays up and shows them. "
        "Durations are seconds, sizes bytes (limits also take units: `10GB`, `20Mbps`, `400ms`).\n",
        "This page is generated: `preflight settings > docs/settings.md`.\n",
        "## The node\n",
        _table(own()),
        "## The folder and its bucket\n",
        _table(FOLDER),
        "## The clouds\n",
        _table(CLOUDS),
        "What to make in each console: [clouds](clouds/README.md). If several clouds "
        "are set, the first of AWS, Azure, Google, OSS, OBS, COS is restored from and saved to; the others are "
        "push-only mirrors.\n",
        "## Deciding about a node\n",
        _table(DECIDING),
        "## Your own metrics\n",
        _table(METRICS),
        "## Limits of the checks\n",
        "A limit that you set on a check whose fault would be the node's makes breaking it a reason to hand the node "
        "back. What each check measures and why its default is what it is: [checks](checks.md).\n",
        _table(limits()),
    ]
    return "\n".join(parts)


def _table(rows: Iterator[Variable] | tuple[Variable, ...]) -> str:
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for row in rows:
        default = f"`{row.default}`" if row.default else ""
        lines.append(f"| `{row.name}` | {default} | {row.what.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def _shown(default: object) -> str:
    match default:
        case None | "" | Secret():
            return ""
        case Enum():
            return str(default.value)
        case bool():
            return "1" if default else "0"
        case float():
            return f"{default:g}"
    return str(default)
