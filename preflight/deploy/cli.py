"""`preflight deploy`: from this shell to a running node. stdout is data (JSON), stderr says what happens.

Keys and passwords come from the shell's variables only: SALAD_API_KEY, GONGJI_TOKEN (and GONGJI_PRIVATE_KEY),
REGISTRY_PASSWORD. They never appear on a command line, in the output, or in a file.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from preflight.deploy import gongji, gongji_api, options, picking, placing, salad, salad_api, saved
from preflight.deploy.errors import BadOrder, DeployError, Forbidden, NotThere
from preflight.deploy.flavours import FLAVOURS, GIB, Flavour, flavour_of
from preflight.deploy.near import countries_near, region_of
from preflight.deploy.variables import SALAD_LIMIT_CHARS, fitted, forwarded
from sync.clock import SystemClock
from sync.errors import SyncError
from sync.packed import pack as pack_text

app = typer.Typer(
    help=f"Create, change and read back deployments. {options.EXIT_CODES}",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def tell(line: str) -> None:
    """A line for people."""
    print(line, file=sys.stderr, flush=True)


def show_json(value: object) -> None:
    """Data for scripts."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


@contextmanager
def exit_codes() -> Iterator[None]:
    """Errors become a line on stderr and their exit code."""
    try:
        yield
    except BadOrder as error:
        for problem in error.problems:
            tell(f"error: {problem}")
        raise typer.Exit(error.exit_code) from error
    except (DeployError, SyncError) as error:
        tell(f"error: {error}")
        raise typer.Exit(error.exit_code) from error


@app.command("salad", epilog=options.EXIT_CODES)
def deploy_salad(
    name: options.Name = "",
    image: options.ImageOption = "",
    flavour: options.FlavourOption = "",
    gpu: options.GpuOption = None,
    country: options.CountryOption = None,
    near: options.NearOption = "",
    env: options.EnvOption = None,
    cpus: Annotated[int, typer.Option(help="1 to 16; default by flavour.")] = 0,
    memory_mb: Annotated[int, typer.Option(help="1024 to 61440; default by flavour.")] = 0,
    storage_gb: Annotated[int, typer.Option(help="1 to 250; a node that uses more is interrupted.")] = 0,
    shm_mb: Annotated[int, typer.Option(help="Shared memory, for DataLoader workers; default by flavour.")] = 0,
    priority: Annotated[
        str, typer.Option(help="high, medium, low or batch: what may interrupt you, and the price.")
    ] = "high",
    display_name: Annotated[str, typer.Option(help="Name in the portal.")] = "",
    replicas_then_one: Annotated[int, typer.Option(help="Start this many nodes, keep the first that passes.")] = 1,
    wait_s: Annotated[float, typer.Option(help="How long --replicas-then-one waits for the first.")] = 3600.0,
    split_long: options.SplitOption = False,
    registry_user: options.RegistryOption = "",
    file: options.FromOption = None,
    restart: options.RestartOption = False,
    dry_run: options.DryOption = False,
    organization: options.OrganizationOption = "",
    project: options.ProjectOption = "",
    api_url: options.SaladUrlOption = salad_api.URL,
) -> None:
    """Create or update a container group on SaladCloud. The known variables of this shell travel along."""
    environ = dict(os.environ)
    clock = SystemClock()
    with exit_codes():
        api = _salad_api(environ, organization, project, api_url, needed=not dry_run)
        if file:
            wanted = saved.from_file(file, "salad", environ)
            wanted["name"] = name or wanted.get("name")
        else:
            chosen = _flavour(flavour, image)
            countries = tuple(code.lower() for code in country or [])
            if near and not countries:
                region = region_of(near, environ)
                countries = countries_near(region)
                tell(f"near {region}: {', '.join(countries)}")
            variables = _variables(environ, env or [], expect_gpu=bool(gpu))
            wanted = salad.create_request(
                salad.Order(
                    name=name,
                    image=image,
                    flavour=chosen,
                    environment=fitted(variables, split=split_long),
                    gpu_class_ids=_gpu_ids(api, gpu or []),
                    display_name=display_name,
                    cpus=cpus,
                    memory_mb=memory_mb,
                    storage_bytes=storage_gb * GIB,
                    shm_mb=shm_mb,
                    country_codes=countries,
                    priority=priority,
                    replicas=replicas_then_one,
                    registry_auth=_registry(registry_user, environ),
                )
            )
        group_name = str(wanted["name"])
        existing = api.group(group_name) if api else None
        step = placing.salad_step(existing, wanted, may_restart=restart or dry_run, tell=tell)
        if dry_run or api is None:
            show_json(step.shown())
            return
        group = placing.place_on_salad(api, step, group_name)
        tell({"POST": "created", "PATCH": "changed", "": "nothing to change"}[step.method] + f": {group_name}")
        result: dict[str, object] = {
            "name": group_name,
            "address": salad.address_of(group),
            "request": step.method or "none",
        }
        if replicas_then_one > 1 and not file:
            picked = picking.keep_first(api, group_name, clock, wait_s=wait_s, tell=tell)
            result["machine"] = picked.instance.machine_id if picked else None
            show_json(result)
            raise typer.Exit(0 if picked else 3)
        show_json(result)


@app.command("gongji", epilog=options.EXIT_CODES)
def deploy_gongji(
    name: options.Name = "",
    image: options.ImageOption = "",
    flavour: options.FlavourOption = "",
    device: Annotated[str, typer.Option(help='Device by name, as the console shows it ("4090").')] = "",
    region: Annotated[str, typer.Option(help="Region by name or id; default: the cheapest in stock.")] = "",
    env: options.EnvOption = None,
    registry_user: options.RegistryOption = "",
    file: options.FromOption = None,
    restart: options.RestartOption = False,
    dry_run: options.DryOption = False,
    api_url: options.GongjiUrlOption = gongji_api.URL,
) -> None:
    """Create or update a deployment task on Gongji (共绩算力) by its Open API."""
    environ = dict(os.environ)
    with exit_codes():
        api = _gongji_api(environ, api_url)
        if file:
            wanted = saved.from_file(file, "gongji", environ)
            wanted["task_name"] = name or wanted.get("task_name")
        else:
            chosen = _flavour(flavour, image)
            variables = {"PREFLIGHT_PLATFORM": "gongji", **_variables(environ, env or [], expect_gpu=chosen.wants_gpu)}
            registry = _registry(registry_user, environ)
            wanted = gongji.create_request(
                gongji.Order(
                    name=name,
                    image=image,
                    flavour=chosen,
                    resource=gongji.choose(api.stock(gpu=chosen.wants_gpu), device, region),
                    environment=variables,
                    registry_user=registry.get("username", ""),
                    registry_password=registry.get("password", ""),
                )
            )
        task_id = api.find(str(wanted["task_name"]))
        detail = None if task_id is None else api.detail(task_id)
        step = placing.gongji_step(detail, wanted, may_restart=restart or dry_run)
        if dry_run:
            show_json(step.shown())
            return
        task_id = placing.place_on_gongji(api, step, task_id)
        tell(f"{'created' if detail is None else 'changed' if step.method else 'nothing to change'}: task {task_id}")
        show_json({"name": wanted["task_name"], "task_id": task_id, "address": gongji.address_of(api.detail(task_id))})


@app.command("show", epilog=options.EXIT_CODES)
def show(
    name: options.Name,
    platform: Annotated[str, typer.Option(help="salad or gongji.")] = "salad",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write a file in place of stdout.")] = None,
    secrets: Annotated[bool, typer.Option("--secrets", help="Write secret values too (default: ${NAME}).")] = False,
    organization: options.OrganizationOption = "",
    project: options.ProjectOption = "",
    api_url: Annotated[str, typer.Option("--api-url", help="Base of the API.")] = "",
) -> None:
    """Read a deployment back into a file that `preflight deploy salad --from FILE` applies again."""
    environ = dict(os.environ)
    with exit_codes():
        readers: dict[str, Callable[[], Mapping[str, object]]] = {
            "salad": lambda: _salad_request(environ, organization, project, api_url, name),
            "gongji": lambda: _gongji_request(environ, api_url, name),
        }
        if platform not in readers:
            raise BadOrder([f"--platform {platform}: salad or gongji"])
        text = saved.to_text(platform, readers[platform](), secrets=secrets)
        if output:
            output.touch(mode=0o600)
            output.write_text(text)
            tell(f"written: {output}")
        else:
            print(text, end="")


@app.command("pack", epilog=options.EXIT_CODES)
def pack(
    variable: Annotated[str, typer.Argument(help="Name of the variable, as GOOGLE_APPLICATION_CREDENTIALS.")],
    file: Annotated[Path, typer.Argument(help="File whose content is the value.")],
    limit: Annotated[int, typer.Option(help="Longest value that the platform takes.")] = SALAD_LIMIT_CHARS,
) -> None:
    """Print the variables that carry a value too long for one, to paste into a platform's portal."""
    with exit_codes():
        try:
            text = file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise BadOrder([f"{file}: not readable as text"]) from error
        for packed_name, value in pack_text(variable, text.strip(), limit_chars=limit).items():
            print(f"{packed_name}={value}")


def _salad_api(
    environ: Mapping[str, str], organization: str, project: str, url: str, *, needed: bool
) -> salad_api.Salad | None:
    """None only under --dry-run without a key: then nothing is looked up."""
    key = environ.get("SALAD_API_KEY", "")
    if not key and not needed:
        return None
    missing = [
        text
        for text, value in (
            ("--organization (or SALAD_ORGANIZATION)", organization),
            ("--project (or SALAD_PROJECT)", project),
        )
        if not value
    ]
    if missing:
        raise BadOrder([f"{text} is missing" for text in missing])
    if not key:
        raise Forbidden("SALAD_API_KEY is not set in this shell", hint="portal: profile, API access")
    return salad_api.Salad(key, organization, project, SystemClock(), url=url or salad_api.URL)


def _gongji_api(environ: Mapping[str, str], url: str) -> gongji_api.Gongji:
    token = environ.get("GONGJI_TOKEN", "")
    if not token:
        raise Forbidden("GONGJI_TOKEN is not set in this shell", hint="console: 右上角头像 → API 密钥")
    private_key = environ.get("GONGJI_PRIVATE_KEY", "")
    return gongji_api.Gongji(token, SystemClock(), private_key=private_key, url=url or gongji_api.URL)


def _salad_request(
    environ: Mapping[str, str], organization: str, project: str, url: str, name: str
) -> Mapping[str, object]:
    api = _salad_api(environ, organization, project, url or environ.get("SALAD_API_URL", ""), needed=True)
    group = api.group(name) if api else None
    if group is None:
        raise NotThere(f"there is no container group {name!r} in project {project!r}")
    return salad.request_from(group)


def _gongji_request(environ: Mapping[str, str], url: str, name: str) -> Mapping[str, object]:
    api = _gongji_api(environ, url or environ.get("GONGJI_API_URL", ""))
    task_id = api.find(name)
    if task_id is None:
        raise NotThere(f"there is no task {name!r}")
    return gongji.request_from(api.detail(task_id))


def _flavour(name: str, image: str) -> Flavour:
    if name and name not in FLAVOURS:
        raise BadOrder([f"--flavour {name}: one of {', '.join(FLAVOURS)}"])
    if not image:
        raise BadOrder(["--image is missing"])
    return FLAVOURS[name] if name else flavour_of(image) or FLAVOURS["base"]


def _variables(environ: Mapping[str, str], extra: list[str], *, expect_gpu: bool) -> dict[str, str]:
    variables = forwarded(environ, extra)
    variables.setdefault("PREFLIGHT_EXPECT_GPU", "1" if expect_gpu else "0")
    if not any(name.endswith(("_BUCKET_FOLDER", "_CONTAINER_URL")) or name == "PREFLIGHT_STORE" for name in variables):
        tell("warning: no bucket is set in this shell: nothing will be saved when the node goes")
    if "JUPYTERLAB_PW" not in variables:
        tell("note: JUPYTERLAB_PW is not set: the container makes a password and prints it once in its log")
    return variables


def _gpu_ids(api: salad_api.Salad | None, names: list[str]) -> tuple[str, ...]:
    if not names:
        return ()
    return (
        salad_api.gpu_ids(names, api.gpu_classes())
        if api
        else tuple(f"id of {name} (looked up with a key)" for name in names)
    )


def _registry(user: str, environ: Mapping[str, str]) -> dict[str, str]:
    if not user:
        return {}
    password = environ.get("REGISTRY_PASSWORD", "")
    if not password:
        raise BadOrder(["--registry-user: REGISTRY_PASSWORD is not set in this shell"])
    return {"username": user, "password": password}
