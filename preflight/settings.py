"""Everything that `preflight up` can be told, read once from the environment; all faults come at once.

`docs/settings.md` is generated from the fields here and from those of sync, the checks and JupyterLab.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from preflight.errors import BadSettings
from preflight.lab.settings import KernelCredentials
from sync.errors import BadSettings as BadSyncSettings
from sync.stores.secret import Secret

if TYPE_CHECKING:
    from sync.settings import SyncSettings


class PlatformChoice(StrEnum):
    """Where we run; `auto` finds out."""

    AUTO = "auto"
    SALAD = "salad"
    GONGJI = "gongji"
    NONE = "none"


class OnReject(StrEnum):
    """What a rejected node leads to."""

    AUTO = "auto"
    REALLOCATE = "reallocate"
    REPORT = "report"


class MonitorAction(StrEnum):
    """What a confirmed finding of the monitor leads to."""

    REPORT = "report"
    WHEN_IDLE = "reallocate-when-idle"
    REALLOCATE = "reallocate"


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _secret(value: object) -> object:
    return Secret(value) if isinstance(value, str) else value


def _url(value: object) -> object:
    if isinstance(value, str) and not value.startswith(("http://", "https://")):
        raise ValueError("it must start with http:// or https://")
    return value


Port = Annotated[int, Field(ge=1, le=65535)]
Word = BeforeValidator(_lower)


class Settings(BaseSettings):
    """One field per variable. Durations are seconds, sizes bytes."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", arbitrary_types_allowed=True, populate_by_name=True)

    port: Port = Field(8000, validation_alias="PREFLIGHT_PORT", description="JupyterLab, or your own server")
    probe_port: Port = Field(8001, validation_alias="PREFLIGHT_PROBE_PORT", description="probes, metrics, report, page")
    data_dir: Path = Field(
        Path(".local/data"),
        validation_alias="PREFLIGHT_DATA_DIR",
        description="the folder that is kept saved (`/root/data` in images)",
    )
    state_dir: Path = Field(
        Path(".local/state"),
        validation_alias="PREFLIGHT_STATE_DIR",
        description="what we keep for ourselves; never synced",
    )
    platform: Annotated[PlatformChoice, Word] = Field(
        PlatformChoice.AUTO,
        validation_alias="PREFLIGHT_PLATFORM",
        description="`auto`, `salad`, `gongji` or `none`; auto means Salad when `SALAD_MACHINE_ID` is set "
        "and its metadata service answers",
    )
    metadata_uri: Annotated[str, BeforeValidator(_url)] = Field(
        "http://169.254.169.254",
        validation_alias="SALAD_METADATA_URI",
        description="Salad's metadata service",
    )
    on_reject: Annotated[OnReject, Word] = Field(
        OnReject.AUTO,
        validation_alias="PREFLIGHT_ON_REJECT",
        description="`reallocate` (ask for another node) or `report` (open JupyterLab with a banner); "
        "auto: reallocate on Salad, report elsewhere",
    )
    expect_gpu: Annotated[str, Word] = Field(
        "",
        pattern="^(|0|no|false|none|off|yes|true|on|[1-9][0-9]?)$",
        validation_alias="PREFLIGHT_EXPECT_GPU",
        description="how many GPUs there must be; `0`: GPU checks are skipped; unset: whatever the machine shows",
    )
    password: Annotated[Secret | None, BeforeValidator(_secret)] = Field(
        None,
        validation_alias="JUPYTERLAB_PW",
        description="JupyterLab's password; unset: a random one, printed once in the log",
    )
    public_origin: str = Field(
        "",
        validation_alias="PREFLIGHT_PUBLIC_ORIGIN",
        description="`https://…` under which browsers see JupyterLab when a proxy rewrites Host",
    )
    collaboration: bool = Field(
        True,
        validation_alias="PREFLIGHT_COLLABORATION",
        description="real-time documents: cells run on with the browser closed",
    )
    kernel_credentials: Annotated[KernelCredentials, Word] = Field(
        KernelCredentials.STRIP,
        validation_alias="PREFLIGHT_KERNEL_CREDENTIALS",
        description="which cloud credentials notebooks see: `strip` (none), `inherit` (ours) or "
        "`scoped` (only `USER_…`)",
    )
    kernel_python: Path | None = Field(
        None,
        validation_alias="PREFLIGHT_KERNEL_PYTHON",
        description="the Python of the default kernel",
    )
    folder_requirements: bool = Field(
        False,
        validation_alias="PREFLIGHT_FOLDER_REQUIREMENTS",
        description="install `requirements.txt` and `apt.txt` of the folder at each start",
    )
    ready_url: Annotated[str, BeforeValidator(_url)] | None = Field(
        None,
        validation_alias="PREFLIGHT_READY_URL",
        description="for `up -- COMMAND`: 200 is READY, 429 is BUSY, anything else not ready",
    )
    ready_file: Path | None = Field(
        None,
        validation_alias="PREFLIGHT_READY_FILE",
        description="for `up -- COMMAND`: a file holding READY, BUSY or FAILED and a reason",
    )
    open_offline_after_s: float = Field(
        20.0,
        ge=0,
        validation_alias="PREFLIGHT_OPEN_OFFLINE_AFTER_S",
        description="open JupyterLab although the bucket does not answer, after this many seconds (0: at once)",
    )
    stop_app_s: float = Field(
        10.0,
        gt=0,
        validation_alias="PREFLIGHT_STOP_APP_S",
        description="what JupyterLab gets to stop before it is killed",
    )
    monitor: bool = Field(
        True,
        validation_alias="PREFLIGHT_MONITOR",
        description="go on measuring while the node is used",
    )
    monitor_action: Annotated[MonitorAction, Word] = Field(
        MonitorAction.REPORT,
        validation_alias="PREFLIGHT_MONITOR_ACTION",
        description="what a confirmed finding leads to: `report`, `reallocate-when-idle` or `reallocate`; "
        "always after a verified flush",
    )
    monitor_every_s: float = Field(
        600.0,
        ge=1,
        validation_alias="PREFLIGHT_MONITOR_EVERY_S",
        description="no reading of the monitor is older than this; each check has its own period, 15 s to 600 s. "
        "A worker that nobody looks at may want a lost GPU found in seconds",
    )
    idle_s: float = Field(
        900.0,
        gt=0,
        validation_alias="PREFLIGHT_IDLE_S",
        description="no busy kernel or terminal for this long is idle",
    )
    log: str = Field(
        "auto",
        pattern="^(auto|json|text)$",
        validation_alias="PREFLIGHT_LOG",
        description="`json`, `text`, or auto: text on a terminal",
    )
    log_level: str = Field(
        "INFO",
        pattern="(?i)^(debug|info|warning|error)$",
        validation_alias="PREFLIGHT_LOG_LEVEL",
        description="the least severity that is logged",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `read` hands in: the process's environment is read in one place, `cli.main`."""
        return (init_settings,)


def variables() -> dict[str, str]:
    """Variable name -> field name."""
    return {str(info.validation_alias): name for name, info in Settings.model_fields.items()}


def read(environ: Mapping[str, str]) -> tuple[Settings, list[str]]:
    """The settings with every fault replaced by its default, and the faults, each naming its variable."""
    given = {name: environ[name].strip() for name in variables() if environ.get(name, "").strip()}
    given |= {name: environ[name] for name in ("JUPYTERLAB_PW",) if environ.get(name)}
    problems: list[str] = []
    try:
        settings = Settings(**_by_field(given))
    except ValidationError as invalid:
        for error in invalid.errors(include_url=False, include_context=False):
            name = _variable_of(str(error["loc"][0]))
            seen = "" if name == "JUPYTERLAB_PW" else f"{given.pop(name, '')!r} is not valid: "
            problems.append(f"{name}: {seen}{_sentence(str(error['msg']))}")
        settings = Settings(**_by_field(given))
    if settings.port == settings.probe_port:
        problems.append(f"PREFLIGHT_PORT, PREFLIGHT_PROBE_PORT: both are {settings.port}; they must differ")
    problems += _folder_problems(settings)
    return settings, problems


def faults_of_others(environ: Mapping[str, str]) -> list[str]:
    """What sync and the limits have to complain about."""
    from preflight.app_metrics import MetricSettings
    from preflight.limits import policy_from

    problems: list[str] = []
    try:
        sync_settings(environ)
    except BadSyncSettings as bad:
        problems += bad.problems
    try:
        policy_from(environ)
    except BadSettings as bad:
        problems += bad.problems
    try:
        MetricSettings.load(environ)
    except BadSettings as bad:
        problems += bad.problems
    return problems


def sync_settings(environ: Mapping[str, str]) -> SyncSettings:
    """Sync's own settings. Raises sync.errors.BadSettings."""
    from sync.settings import SyncSettings

    return SyncSettings.load(environ)


def load(environ: Mapping[str, str]) -> Settings:
    """The settings. Raises BadSettings with every fault of every part at once."""
    settings, problems = read(environ)
    problems += [problem for problem in faults_of_others(environ) if problem not in problems]
    if problems:
        raise BadSettings(problems)
    return settings


def _by_field(given: Mapping[str, str]) -> dict[str, Any]:
    names = variables()
    return {names[name]: value for name, value in given.items()}


def _variable_of(loc: str) -> str:
    return next((variable for variable, field in variables().items() if loc in (variable, field)), loc)


def _sentence(message: str) -> str:
    text = message.removeprefix("Value error, ").removeprefix("Input should be ").strip()
    return text if message.startswith("Value error") else f"it should be {text[:1].lower()}{text[1:]}"


def _folder_problems(settings: Settings) -> list[str]:
    problems = []
    for name, folder in (("PREFLIGHT_DATA_DIR", settings.data_dir), ("PREFLIGHT_STATE_DIR", settings.state_dir)):
        if folder.exists() and not folder.is_dir():
            problems.append(f"{name}: {folder} is not a folder")
        elif folder.is_dir() and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            problems.append(f"{name}: {folder} cannot be read and written by this user")
        elif not folder.exists() and (blocked := _blocked(folder)):
            problems.append(f"{name}: {folder} cannot be made: {blocked}")
    data, state = settings.data_dir.absolute(), settings.state_dir.absolute()
    if data == state or data in state.parents:
        problems.append("PREFLIGHT_STATE_DIR: it lies inside PREFLIGHT_DATA_DIR, which would sync our own files")
    return problems


def _blocked(folder: Path) -> str:
    parent = folder.absolute().parent
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    if not parent.is_dir():
        return f"{parent} is not a folder"
    return "" if os.access(parent, os.W_OK | os.X_OK) else f"{parent} cannot be written by this user"
