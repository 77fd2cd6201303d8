"""Which variables of the container kernels and terminals may see. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from preflight.lab.settings import KernelCredentials

# Never passed on, whatever the policy: they open this server.
OURS = frozenset({"JUPYTERLAB_PW", "JUPYTER_TOKEN", "JUPYTER_PASSWORD", "JUPYTER_CONFIG_DIR", "JUPYTER_CONFIG_PATH"})

# Everything by these names is a credential, an address that may hold one (a SAS), or useless without one.
CLOUDS = ("AWS_", "AZURE_", "GOOGLE_", "GCS_", "ALIYUN_", "HUAWEI_", "TENCENT_", "CLOUDSDK_", "RCLONE_")
STORE = frozenset({"PREFLIGHT_STORE", "STORAGE_EMULATOR_HOST"})
HARMLESS = frozenset({"AWS_REGION", "AWS_DEFAULT_REGION", "GOOGLE_PROJECT_ID", "GOOGLE_CLOUD_PROJECT"})
SCOPED = "USER_"


def is_credential(name: str) -> bool:
    """Whether the variable belongs to the container's access to its bucket."""
    return name in STORE or (name.startswith(CLOUDS) and name not in HARMLESS)


def lab_environ(environ: Mapping[str, str], policy: KernelCredentials) -> dict[str, str]:
    """The environment for JupyterLab and all that it starts."""
    kept = {name: text for name, text in environ.items() if name not in OURS}
    if policy is KernelCredentials.INHERIT:
        return kept
    own = {name: text for name, text in kept.items() if not is_credential(name)}
    if policy is KernelCredentials.STRIP:
        return {name: text for name, text in own.items() if not is_credential(name.removeprefix(SCOPED))}
    plain = {name: text for name, text in own.items() if not (name.startswith(SCOPED) and _scoped(name))}
    scoped = {name.removeprefix(SCOPED): text for name, text in own.items() if _scoped(name)}
    return plain | scoped


def _scoped(name: str) -> bool:
    return name.startswith(SCOPED) and name.removeprefix(SCOPED).startswith(CLOUDS)
