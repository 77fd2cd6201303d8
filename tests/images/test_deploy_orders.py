"""The pure half of `preflight deploy`: orders, limits, patches, files, names of GPUs and of places."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import jsonschema
import pytest

from preflight.deploy import gongji, salad, saved
from preflight.deploy.errors import BadOrder, WouldRestart
from preflight.deploy.flavours import FLAVOURS, GIB, flavour_of
from preflight.deploy.near import countries_near, region_of
from preflight.deploy.placing import Step, gongji_step, salad_step
from preflight.deploy.salad_api import gpu_ids
from preflight.deploy.variables import SPLITTABLE, filled_in, fitted, forwarded, is_secret, masked, placeholders
from sync.stores.variables import Reader
from tests.support.gongji_api import STOCK
from tests.support.salad_api import GPU_CLASSES
from tests.support.salad_schema import CREATE, UPDATE

ORDER = salad.Order(
    name="jupyterlab001",
    image="registry.example/preflight-lab:0.1.0-pytorch-gpu",
    flavour=FLAVOURS["pytorch-gpu"],
    environment={"JUPYTERLAB_PW": "s3cret"},
    gpu_class_ids=(GPU_CLASSES["RTX 4090 (24 GB)"],),
)


@pytest.mark.parametrize("flavour", FLAVOURS.values(), ids=str)
def test_every_flavour_makes_a_request_by_the_schema(flavour: object) -> None:
    order = dataclasses.replace(
        ORDER, flavour=flavour, country_codes=("us", "ca"), registry_auth={"username": "u", "password": "p"}
    )
    jsonschema.validate(salad.create_request(order), CREATE)


def test_what_the_tutorial_asks_for() -> None:
    request = salad.create_request(ORDER)
    networking = request["networking"]
    assert networking == {"protocol": "http", "port": 8000, "auth": False, "single_connection_limit": False}
    assert request["replicas"] == 1
    assert request["restart_policy"] == "always"
    probes = {
        key: (value["http"]["path"], value["http"]["port"]) for key, value in request.items() if key.endswith("_probe")
    }  # type: ignore[index]
    assert probes == {
        "startup_probe": ("/startupz", 8001),
        "liveness_probe": ("/livez", 8001),
        "readiness_probe": ("/readyz?page=1", 8001),
    }


def test_the_startup_probe_outlasts_the_checks_and_liveness_a_busy_minute() -> None:
    for flavour in FLAVOURS.values():
        request = salad.create_request(dataclasses.replace(ORDER, flavour=flavour))
        startup, alive = request["startup_probe"], request["liveness_probe"]
        assert startup["period_seconds"] * startup["failure_threshold"] >= 100  # type: ignore[index]
        assert alive["period_seconds"] * alive["failure_threshold"] >= 60  # type: ignore[index]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "A"}, "name 'A'"),
        ({"name": "ends-"}, "name 'ends-'"),
        ({"name": "a" * 64}, "name"),
        ({"image": ""}, "image"),
        ({"image": "x/y:latest"}, "name a version"),
        ({"image": "registry:5000/y"}, "name a version"),
        ({"cpus": 17}, "17 CPUs"),
        ({"memory_mb": 512}, "512 MB of memory"),
        ({"storage_bytes": 251 * GIB}, "storage"),
        ({"shm_mb": 32}, "shared memory"),
        ({"priority": "urgent"}, "priority"),
        ({"replicas": 0}, "replicas"),
        ({"country_codes": ("USA",)}, "countries"),
        ({"gpu_class_ids": ()}, "needs --gpu"),
        ({"display_name": "emoji ☃"}, "display name"),
        ({"environment": {"A": "x" * 1001}}, "A: 1001 characters"),
        ({"environment": {"A": ""}}, "A: 0 characters"),
    ],
)
def test_what_the_api_would_refuse_is_refused_here(change: dict[str, object], says: str) -> None:
    with pytest.raises(BadOrder, match=says):
        salad.create_request(dataclasses.replace(ORDER, **change))  # type: ignore[arg-type]


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(BadOrder) as caught:
        salad.create_request(dataclasses.replace(ORDER, name="!", cpus=99, priority="x"))
    assert len(caught.value.problems) == 3


def _existing() -> salad.Json:
    group = json.loads(json.dumps(salad.create_request(ORDER)))
    group |= {"id": "1", "current_state": {"status": "running"}, "readme": None, "priority": "high", "version": 3}
    group["networking"] |= {"dns": "x.salad.cloud", "load_balancer": "round_robin"}
    group["container"]["resources"]["gpu_classes"].reverse()
    return group  # type: ignore[no-any-return]


def test_the_same_order_changes_nothing() -> None:
    assert salad.update_request(_existing(), salad.create_request(ORDER)) == {}


@pytest.mark.parametrize(
    ("change", "patch", "restarts"),
    [
        ({"image": "x:2-pytorch-gpu"}, {"container": {"image": "x:2-pytorch-gpu"}}, True),
        ({"replicas": 3}, {"replicas": 3}, False),
        ({"country_codes": ("de",)}, {"country_codes": ["de"]}, False),
        ({"memory_mb": 8192}, {"container": {"resources": {"memory": 8192}}}, False),
        (
            {"environment": {"JUPYTERLAB_PW": "n"}},
            {"container": {"environment_variables": {"JUPYTERLAB_PW": "n"}}},
            True,
        ),
        ({"environment": {}}, {}, False),
        ({"display_name": "Other"}, {"display_name": "Other"}, False),
        ({"flavour": dataclasses.replace(FLAVOURS["pytorch-gpu"], startup_s=100)}, None, True),
    ],
)
def test_a_change_is_a_patch_of_just_that(change: dict[str, object], patch: object, restarts: bool) -> None:
    made = salad.update_request(_existing(), salad.create_request(dataclasses.replace(ORDER, **change)))  # type: ignore[arg-type]
    jsonschema.validate(made, UPDATE)
    assert patch is None or made == patch
    assert bool(salad.restarting(made)) is restarts


def test_countries_are_taken_back_with_null() -> None:
    existing = {**_existing(), "country_codes": ["us"]}
    assert salad.update_request(existing, salad.create_request(ORDER)) == {"country_codes": None}


def test_a_running_notebook_is_not_restarted_by_accident() -> None:
    wanted = salad.create_request(dataclasses.replace(ORDER, image="x:2"))
    with pytest.raises(WouldRestart, match=r"container\.image"):
        salad_step(_existing(), wanted, may_restart=False, tell=lambda _line: None)
    assert salad_step(_existing(), wanted, may_restart=True, tell=lambda _line: None).method == "PATCH"
    stopped = {**_existing(), "current_state": {"status": "stopped"}}
    assert salad_step(stopped, wanted, may_restart=False, tell=lambda _line: None).method == "PATCH"


def test_what_cannot_be_changed_is_told() -> None:
    existing = _existing()
    existing["networking"]["auth"] = True  # type: ignore[index]
    told: list[str] = []
    step = salad_step(existing, salad.create_request(ORDER), may_restart=False, tell=told.append)
    assert step.method == ""
    assert "networking.auth" in told[0]


def test_a_group_read_back_makes_the_same_request() -> None:
    order = dataclasses.replace(ORDER, country_codes=("us",))
    group = {**_existing(), "country_codes": ["us"], "queue_connection": None}
    made = salad.request_from(group)
    jsonschema.validate({**made, "networking": {**made["networking"]}}, CREATE)  # type: ignore[dict-item]
    assert salad.update_request(group, made) == {}
    assert salad.update_request({**group, "id": "2"}, salad.create_request(order)) == {}


def test_a_saved_file_holds_no_secret_and_needs_the_shell(tmp_path: Path) -> None:
    file = tmp_path / "group.json"
    file.write_text(saved.to_text("salad", salad.request_from(_existing())))
    assert "s3cret" not in file.read_text()
    with pytest.raises(BadOrder, match="JUPYTERLAB_PW is a placeholder"):
        saved.from_file(file, "salad", {})
    again = saved.from_file(file, "salad", {"JUPYTERLAB_PW": "s3cret"})
    assert salad.update_request(_existing(), again) == {}
    with pytest.raises(BadOrder, match="made for salad"):
        saved.from_file(file, "gongji", {})
    with pytest.raises(BadOrder, match="no readable JSON"):
        saved.from_file(tmp_path / "none.json", "salad", {})
    file.write_text("{}")
    with pytest.raises(BadOrder, match="not written by"):
        saved.from_file(file, "salad", {})
    file.write_text(saved.to_text("salad", salad.request_from(_existing()), secrets=True))
    assert "s3cret" in file.read_text()


def test_a_shown_step_masks_every_secret() -> None:
    order = dataclasses.replace(
        ORDER,
        environment={"JUPYTERLAB_PW": "hide-1", "AWS_SECRET_ACCESS_KEY": "hide-2", "AWS_REGION": "eu-west-1"},
        registry_auth={"username": "u", "password": "hide-3"},
    )
    shown = json.dumps(Step("POST", "/containers", salad.create_request(order)).shown())
    assert "hide" not in shown
    assert "eu-west-1" in shown
    entry = gongji.choose(STOCK, "4090")
    task = gongji.create_request(
        gongji.Order("n", "i:1", FLAVOURS["cpu"], entry, {"JUPYTERLAB_PW": "hide-4"}, "u", "hide-5")
    )
    shown = json.dumps(Step("POST", "/x", task).shown(), ensure_ascii=False)
    assert "hide" not in shown
    assert "JUPYTERLAB_PW=••••" in shown


@pytest.mark.parametrize(
    ("asked", "labels"),
    [
        ("4090", ["RTX 4090 (24 GB)"]),
        ("rtx 4070 ti", ["RTX 4070 Ti (12 GB)"]),
        ("4070 ti super", ["RTX 4070 Ti Super (16 GB)"]),
        ("3060", ["RTX 3060 (12 GB)", "RTX 3060 (8 GB)"]),
        ("3060 12", ["RTX 3060 (12 GB)"]),
        ("NVIDIA GeForce RTX 4090", ["RTX 4090 (24 GB)"]),
        (GPU_CLASSES["RTX 4090 (24 GB)"].upper(), ["RTX 4090 (24 GB)"]),
    ],
)
def test_gpu_classes_are_found_by_the_names_people_use(asked: str, labels: list[str]) -> None:
    assert gpu_ids([asked], GPU_CLASSES) == tuple(GPU_CLASSES[label] for label in labels)


def test_an_unknown_gpu_lists_what_there_is() -> None:
    with pytest.raises(BadOrder, match=r"'4070'.*RTX 4090"):
        gpu_ids(["4070"], GPU_CLASSES)


@pytest.mark.parametrize(
    ("region", "first"),
    [
        ("us-east-1", "us"), ("ca-central-1", "us"), ("eu-central-1", "de"), ("eu-west-1", "gb"), ("eu-west-3", "gb"),
        ("eu-north-1", "se"), ("eu-south-2", "it"), ("europe-west4", "gb"), ("europe-central2", "de"), ("eu", "de"),
        ("ap-northeast-1", "jp"), ("asia-east1", "jp"), ("ap-southeast-1", "sg"), ("ap-southeast-2", "au"),
        ("ap-south-1", "in"),
        ("sa-east-1", "br"), ("oss-cn-beijing", "hk"), ("ap-guangzhou", "hk"), ("cn-north-4", "hk"),
        ("westeurope", "gb"),
        ("eastus2", "us"), ("germanywestcentral", "de"), ("me-central-1", "il"), ("af-south-1", "za"),
        ("mx-central-1", "mx"), ("US-WEST-2", "us"),
    ],
)  # fmt: skip
def test_countries_lie_near_the_region(region: str, first: str) -> None:
    countries = countries_near(region)
    assert countries[0] == first
    assert all(len(code) == 2 for code in countries)


@pytest.mark.parametrize("region", ["auto", "", "nowhere"])
def test_a_region_that_tells_no_place_is_refused(region: str) -> None:
    with pytest.raises(BadOrder, match="--country"):
        countries_near(region)


def test_near_takes_a_region_or_an_s3_bucket_only() -> None:
    assert region_of("europe-west4", {}) == "europe-west4"
    for place in ("gs://bucket", "s3://", "https://x.blob.core.windows.net/c"):
        with pytest.raises(BadOrder, match="--near"):
            region_of(place, {})


def test_the_shells_own_settings_stay_at_home(tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    key.write_text('{"type": "service_account",\n "project_id": "p"}')
    environ = {
        "JUPYTERLAB_PW": "x", "AWS_PROFILE": "mine", "AWS_CA_BUNDLE": "/etc/x", "HOME": "/root", "AWS_REGION": "",
        "PREFLIGHT_LIMIT_GPU_VRAM_FREE_AT_LEAST": "8e9", "PREFLIGHT_DATA_DIR": "/home/me", "WANDB_API_KEY": "w",
        "GOOGLE_APPLICATION_CREDENTIALS": str(key), "ALIYUN_OSS_ACCESS_KEY_SECRET_B64GZ": "abc",
    }  # fmt: skip
    chosen = forwarded(environ, ["WANDB_API_KEY", "EPOCHS=3"])
    assert chosen == {
        "JUPYTERLAB_PW": "x", "PREFLIGHT_LIMIT_GPU_VRAM_FREE_AT_LEAST": "8e9", "WANDB_API_KEY": "w", "EPOCHS": "3",
        "GOOGLE_APPLICATION_CREDENTIALS": '{"type":"service_account","project_id":"p"}',
        "ALIYUN_OSS_ACCESS_KEY_SECRET_B64GZ": "abc",
    }  # fmt: skip


def test_wrong_variables_are_all_told() -> None:
    with pytest.raises(BadOrder) as caught:
        forwarded({}, ["1X=2", "MISSING", "MY_TOKEN=abc", "EMPTY="])
    assert len(caught.value.problems) == 4
    assert "abc" not in str(caught.value)
    with pytest.raises(BadOrder, match="no readable JSON"):
        forwarded({"GOOGLE_APPLICATION_CREDENTIALS": "/does/not/exist.json"})


def test_a_long_value_is_refused_with_the_way_out_or_split() -> None:
    variables = {"GOOGLE_APPLICATION_CREDENTIALS": "k" * 5000, "A": "b"}
    with pytest.raises(BadOrder, match=r"GOOGLE_APPLICATION_CREDENTIALS has 5000 characters.*--split-long") as caught:
        fitted(variables)
    assert "kkk" not in str(caught.value)
    split = fitted(variables, split=True)
    assert "GOOGLE_APPLICATION_CREDENTIALS" not in split
    assert "GOOGLE_APPLICATION_CREDENTIALS_B64GZ" in split
    assert all(len(value) <= 1000 for value in split.values())


def test_only_what_the_container_puts_together_again_is_split() -> None:
    for name in SPLITTABLE:
        read = Reader(fitted({name: "k" * 5000}, split=True)).secret(name)
        assert read is not None
        assert read.reveal() == "k" * 5000
    with pytest.raises(BadOrder, match=r"HF_TOKEN has 5000 characters.*bucket's folder"):
        fitted({"HF_TOKEN": "k" * 5000}, split=True)


def test_secrets_are_known_by_name() -> None:
    for name in (
        "JUPYTERLAB_PW",
        "AWS_SECRET_ACCESS_KEY",
        "AZURE_BLOB_SAS_TOKEN",
        "GOOGLE_APPLICATION_CREDENTIALS_B64GZ_2",
        "HF_TOKEN",
    ):
        assert is_secret(name), name
    for name in ("AWS_REGION", "AWS_S3_BUCKET_FOLDER", "GOOGLE_PROJECT_ID", "PREFLIGHT_EXPECT_GPU"):
        assert not is_secret(name), name
    variables = {"HF_TOKEN": "t", "AWS_REGION": "r"}
    assert masked(variables) == {"HF_TOKEN": "••••", "AWS_REGION": "r"}
    assert filled_in(placeholders(variables), {"HF_TOKEN": "new"}) == {"HF_TOKEN": "new", "AWS_REGION": "r"}


@pytest.mark.parametrize(
    ("image", "flavour"),
    [
        ("a/b:0.1.0-pytorch-gpu", "pytorch-gpu"), ("a/b:0.1.0-pytorch-gpu-cu13", "pytorch-gpu-cu13"), ("b:cpu", "cpu"),
        ("host:5000/b:1-base", "base"), ("host:5000/b", None), ("b:1.0", None),
    ],
)  # fmt: skip
def test_the_tag_tells_the_flavour(image: str, flavour: str | None) -> None:
    assert flavour_of(image) == (FLAVOURS[flavour] if flavour else None)


def test_gongji_takes_the_cheapest_in_stock() -> None:
    assert gongji.choose(STOCK, "4090")["mark"] == "mark-4090-hebei"
    assert gongji.choose(STOCK, "4090", "beijing")["mark"] == "mark-4090-beijing"
    with pytest.raises(BadOrder, match="no H20 x 8 in stock; there is: 4090 in"):
        gongji.choose(STOCK, "H20 x 8")


def test_on_gongji_no_probe_can_cost_the_node() -> None:
    checks = gongji.health_checks(FLAVOURS["pytorch-gpu"])
    assert checks["readiness_probe"]["switch"] is False  # type: ignore[index]
    assert checks["liveness_probe"]["path"] == "/livez"  # type: ignore[index]


def test_the_documented_probes_are_those_that_are_sent(repository: Path) -> None:
    on_salad, on_gongji = re.findall(r"```json\n(.*?)```", (repository / "docs" / "probes.md").read_text(), re.DOTALL)
    request = salad.create_request(ORDER)
    assert json.loads(on_salad) == {key: value for key, value in request.items() if key.endswith("_probe")}
    assert json.loads(on_gongji) == gongji.health_checks(ORDER.flavour)


def test_a_gongji_update_sends_back_everything_that_it_read() -> None:
    entry = gongji.choose(STOCK, "4090")
    wanted = gongji.create_request(gongji.Order("n", "i:2", FLAVOURS["cpu"], entry, {"A": "1"}))
    detail = {
        **gongji.create_request(gongji.Order("n", "i:1", FLAVOURS["cpu"], entry)), "task_id": 5,
        "status": "Running", "unknown": {"x": 1},
    }  # fmt: skip
    detail["services"][0] |= {"service_id": 9, "remote_ports": [{"service_port": 8000, "url": "https://u"}]}  # type: ignore[index]
    body = gongji.update_request(detail, wanted)
    assert set(body) == set(detail)
    service = body["services"][0]  # type: ignore[index]
    assert (service["service_id"], service["service_image"], service["env"]) == (9, "i:2", "A=1")
    assert service["remote_ports"] == [{"service_port": 8000, "url": "https://u"}]
    with pytest.raises(WouldRestart):
        gongji_step(detail, wanted, may_restart=False)
    assert gongji_step(body, wanted, may_restart=False).method == ""


def test_gongji_refuses_what_it_cannot_carry() -> None:
    with pytest.raises(BadOrder) as caught:
        gongji.create_request(gongji.Order("", "", FLAVOURS["cpu"], {}, {"A": "two\nlines"}, "user", ""))
    assert len(caught.value.problems) == 5
