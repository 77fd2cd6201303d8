"""`preflight deploy salad|show` against a real HTTP server that holds every request against the documented schema."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from typer.testing import CliRunner, Result

from preflight.deploy import picking
from preflight.deploy.cli import app
from preflight.deploy.errors import BadOrder, Busy, DeployError, Forbidden, NameTaken
from preflight.deploy.salad_api import Salad
from tests.support.salad_api import GPU_CLASSES, Answer, SaladApi, good, page, problem

IMAGE = "registry.example/preflight-lab:0.1.0-pytorch-gpu"
ARGUMENTS = ["salad", "lab-1", "--image", IMAGE, "--gpu", "4090"]


class SteppedClock:
    """Sleeping moves it on; what was slept is kept."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> float:
        return 1.7e9 + sum(self.slept)

    def monotonic(self) -> float:
        return sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def fake() -> Iterator[SaladApi]:
    with SaladApi() as server:
        yield server


@pytest.fixture
def shell(fake: SaladApi, monkeypatch: pytest.MonkeyPatch) -> SaladApi:
    """A shell with keys, an organization and a bucket."""
    for name, value in {
        "SALAD_API_KEY": fake.key, "SALAD_ORGANIZATION": "acme", "SALAD_PROJECT": "lab", "SALAD_API_URL": fake.url,
        "JUPYTERLAB_PW": "pw-secret", "AWS_S3_BUCKET_FOLDER": "bucket/user1", "AWS_ACCESS_KEY_ID": "AKIA1",
        "AWS_SECRET_ACCESS_KEY": "aws-secret",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    return fake


def deploy(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def test_a_group_is_created_from_the_shell(shell: SaladApi) -> None:
    result = deploy(*ARGUMENTS, "--country", "US", "--country", "ca", "--storage-gb", "80")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {
        "name": "lab-1",
        "address": "https://lab-1-apricot.salad.cloud",
        "request": "POST",
    }
    (sent,) = shell.bodies("POST")
    assert sent["container"]["resources"]["gpu_classes"] == [GPU_CLASSES["RTX 4090 (24 GB)"]]
    assert sent["container"]["resources"]["storage_amount"] == 80 * 1024**3
    assert sent["country_codes"] == ["us", "ca"]
    assert sent["container"]["environment_variables"] == {
        "JUPYTERLAB_PW": "pw-secret", "AWS_S3_BUCKET_FOLDER": "bucket/user1", "AWS_ACCESS_KEY_ID": "AKIA1",
        "AWS_SECRET_ACCESS_KEY": "aws-secret", "PREFLIGHT_EXPECT_GPU": "1",
    }  # fmt: skip
    assert "secret" not in result.output


def test_dry_run_shows_the_request_without_secrets_and_sends_nothing(shell: SaladApi) -> None:
    result = deploy(*ARGUMENTS, "--dry-run")
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert (shown["method"], shown["path"]) == ("POST", "/containers")
    assert shown["body"]["container"]["environment_variables"]["AWS_SECRET_ACCESS_KEY"] == "••••"
    assert "secret" not in result.output
    assert {method for method, *_ in shell.requests} == {"GET"}


def test_dry_run_needs_no_key(shell: SaladApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SALAD_API_KEY")
    result = deploy(*ARGUMENTS, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "looked up with a key" in result.stdout
    assert shell.requests == []


def test_without_a_bucket_or_password_it_says_so(shell: SaladApi, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JUPYTERLAB_PW", "AWS_S3_BUCKET_FOLDER", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    result = deploy(*ARGUMENTS)
    assert result.exit_code == 0
    assert "nothing will be saved" in result.stderr
    assert "prints it once in its log" in result.stderr


def test_the_same_command_again_changes_nothing(shell: SaladApi) -> None:
    deploy(*ARGUMENTS)
    result = deploy(*ARGUMENTS)
    assert "nothing to change" in result.stderr
    assert [method for method, *_ in shell.requests if method != "GET"] == ["POST"]


def test_an_update_sends_a_merge_patch_and_asks_before_it_restarts(shell: SaladApi) -> None:
    deploy(*ARGUMENTS)
    result = deploy(*ARGUMENTS, "--env", "EPOCHS=3")
    assert result.exit_code == 20
    assert "--restart" in result.stderr
    result = deploy(*ARGUMENTS, "--env", "EPOCHS=3", "--restart")
    assert result.exit_code == 0, result.output
    assert shell.bodies("PATCH") == [{"container": {"environment_variables": {"EPOCHS": "3"}}}]
    assert shell.requests[-1][2] == "application/merge-patch+json"


def test_show_writes_a_file_that_can_be_applied_again(shell: SaladApi, tmp_path: Path) -> None:
    deploy(*ARGUMENTS, "--country", "us")
    file = tmp_path / "lab.json"
    assert deploy("show", "lab-1", "-o", str(file)).exit_code == 0
    assert "secret" not in file.read_text()
    assert deploy("salad", "--from", str(file)).exit_code == 0
    assert shell.bodies("PATCH") == []
    first = shell.bodies("POST")[0]
    assert deploy("salad", "lab-2", "--from", str(file)).exit_code == 0
    second = shell.bodies("POST")[1]
    assert second["networking"].pop("load_balancer") == "round_robin"  # what the server had filled in
    assert second == {**first, "name": "lab-2"}


def test_show_of_nothing_is_not_found(shell: SaladApi) -> None:
    result = deploy("show", "nope")
    assert result.exit_code == 4
    assert "no container group 'nope'" in result.stderr
    assert deploy("show", "x", "--platform", "moon").exit_code == 2


def test_a_taken_name_is_told(shell: SaladApi) -> None:
    shell.retired.add("lab-1")
    result = deploy(*ARGUMENTS)
    assert result.exit_code == 5
    assert "choose another name" in result.stderr


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        (page(502, "Bad gateway"), 3, "502 Bad gateway"),
        (page(403, "Access denied | salad"), 12, "403 Access denied"),
        (page(200, "Maintenance"), 1, "in place of JSON"),
        (problem(401, "Unauthorized", "no key"), 12, "check the API key"),
        (problem(404, "Not Found", ""), 4, "organization, project"),
        (good(200, ["odd"]), 1, "list where an object"),
        (Answer(302, b"", headers={"Location": "https://login.example/"}), 1, "302"),
    ],
)
def test_failures_are_sentences_with_their_own_exit_code(
    shell: SaladApi, monkeypatch: pytest.MonkeyPatch, answer: Answer, code: int, says: str
) -> None:
    clock = SteppedClock()
    monkeypatch.setattr("preflight.deploy.cli.SystemClock", lambda: clock)
    shell.planned = [answer] * 4
    result = deploy(*ARGUMENTS)
    assert result.exit_code == code, result.output
    assert says in result.stderr
    assert "Traceback" not in result.output
    assert shell.key not in result.output


def test_a_key_that_is_missing_or_an_organization_is_told(shell: SaladApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALAD_API_KEY", "")
    assert deploy(*ARGUMENTS).exit_code == 12
    monkeypatch.setenv("SALAD_API_KEY", "k")
    monkeypatch.delenv("SALAD_ORGANIZATION")
    result = deploy(*ARGUMENTS)
    assert (result.exit_code, "SALAD_ORGANIZATION" in result.stderr) == (2, True)


def test_a_service_account_key_is_refused_with_the_way_out(shell: SaladApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "GOOGLE_APPLICATION_CREDENTIALS", json.dumps({"private_key": random.Random(1).randbytes(900).hex()})
    )
    result = deploy(*ARGUMENTS)
    assert result.exit_code == 2
    assert "GOOGLE_APPLICATION_CREDENTIALS_B64GZ" in result.stderr
    assert deploy(*ARGUMENTS, "--split-long").exit_code == 0
    variables = shell.bodies("POST")[0]["container"]["environment_variables"]
    assert "GOOGLE_APPLICATION_CREDENTIALS_B64GZ_2" in variables


def test_pack_prints_what_the_portal_takes(tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    key.write_text(json.dumps({"private_key": random.Random(1).randbytes(900).hex()}))
    result = deploy("pack", "GOOGLE_APPLICATION_CREDENTIALS", str(key))
    assert [line.partition("=")[0] for line in result.stdout.splitlines()] == [
        "GOOGLE_APPLICATION_CREDENTIALS_B64GZ",
        "GOOGLE_APPLICATION_CREDENTIALS_B64GZ_2",
    ]
    assert deploy("pack", "X", str(tmp_path / "none")).exit_code == 2


# --- the wire -----------------------------------------------------------------------------------------------------


def test_429_waits_as_long_as_it_was_asked_to(fake: SaladApi) -> None:
    clock = SteppedClock()
    fake.planned = [page(429, "Too many", Retry_After="7"), problem(429, "Too Many Requests", "")]
    assert Salad(fake.key, "acme", "lab", clock, url=fake.url).group("none") is None
    assert clock.slept == [7.0, 4.0]
    fake.planned = [page(429, "Too many", Retry_After="86400")] * 4
    with pytest.raises(Busy, match="429"):
        Salad(fake.key, "acme", "lab", clock, url=fake.url).group("none")
    assert clock.slept[2:] == [60.0] * 3


def test_a_write_is_not_repeated_when_its_outcome_is_unknown(fake: SaladApi) -> None:
    clock = SteppedClock()
    fake.planned = [page(504, "Gateway timeout")]
    with pytest.raises(Busy, match="504"):
        Salad(fake.key, "acme", "lab", clock, url=fake.url).create({})
    assert len(fake.requests) == 1
    nobody = Salad("k", "acme", "lab", clock, url="http://127.0.0.1:1")
    with pytest.raises(Busy, match="outcome is unknown"):
        nobody.create({})
    with pytest.raises(Busy, match="no answer"):
        nobody.gpu_classes()
    assert len(clock.slept) == 3  # the read was tried four times


def test_errors_have_their_kinds(fake: SaladApi) -> None:
    api = Salad(fake.key, "acme", "lab", SteppedClock(), url=fake.url)
    for answer, kind in (
        (problem(409, "Conflict", ""), NameTaken),
        (problem(400, "Bad Request", "Name is already taken"), NameTaken),
        (problem(400, "Bad Request", "cpu out of range"), BadOrder),
        (problem(403, "Forbidden", ""), Forbidden),
        (Answer(418, b'"tea"'), DeployError),
        (Answer(400, b'{"errors": {"cpu": ["too many"]}}'), BadOrder),
    ):
        fake.planned = [answer]
        with pytest.raises(kind) as caught:
            api.create({})
        assert type(caught.value) is kind


def test_names_cannot_leave_their_place_in_the_path(fake: SaladApi) -> None:
    api = Salad(fake.key, "acme", "lab", SteppedClock(), url=fake.url)
    assert api.group("../../gpu-classes") is None
    assert fake.requests[0][1].endswith("/containers/..%2F..%2Fgpu-classes")


# --- several nodes, then one -------------------------------------------------------------------------------------


def _group(fake: SaladApi, replicas: int) -> Salad:
    api = Salad(fake.key, "acme", "lab", SteppedClock(), url=fake.url)
    fake.groups["g"] = {"name": "g", "replicas": replicas}
    return api


def test_the_first_that_passes_is_kept_and_the_group_shrinks(fake: SaladApi) -> None:
    api = _group(fake, 3)
    slow, quick, other = (fake.add_instance("g", "allocating") for _ in range(3))
    looks = iter(range(10))

    def later(_name: str) -> None:
        if next(looks) == 2:
            quick.update(state="running", started=True)

    fake.on_instances = later
    clock, told = SteppedClock(), list[str]()
    picked = picking.keep_first(api, "g", clock, wait_s=600, tell=told.append)
    assert picked is not None
    assert picked.instance.id == quick["id"]
    assert not picked.restarted
    assert fake.instances["g"] == [quick]
    assert quick["deletion_cost"] == 100000
    assert fake.groups["g"]["replicas"] == 1
    assert slow is not other
    assert any("passed first" in line for line in told)


def test_the_kept_node_is_restarted_when_a_rival_may_hold_the_folder(fake: SaladApi) -> None:
    api = _group(fake, 2)
    fake.add_instance("g", "running")
    good_one = fake.add_instance("g", "running", started=True, ready=True)
    picked = picking.keep_first(api, "g", SteppedClock(), wait_s=600)
    assert picked is not None
    assert (picked.instance.id, picked.restarted) == (good_one["id"], True)
    assert fake.requests[-1][:2] == (
        "POST",
        f"/api/public/organizations/acme/projects/lab/containers/g/instances/{good_one['id']}/restart",
    )


def test_nobody_pays_for_three_when_none_passes(fake: SaladApi) -> None:
    api = _group(fake, 3)
    fake.add_instance("g", "running")
    clock = SteppedClock()
    assert picking.keep_first(api, "g", clock, wait_s=60) is None
    assert fake.groups["g"]["replicas"] == 1
    assert sum(clock.slept) == 60.0


def test_a_missed_look_is_not_the_end(fake: SaladApi) -> None:
    api = _group(fake, 2)
    fake.add_instance("g", "running", started=True)
    fake.planned = [page(502, "x")] * 4
    assert picking.keep_first(api, "g", SteppedClock(), wait_s=600) is not None


def test_replicas_then_one_from_the_command_line(shell: SaladApi) -> None:
    def run(name: str) -> None:
        if not shell.instances.get(name):
            shell.add_instance(name, "running", started=True)

    shell.on_instances = run
    result = deploy(*ARGUMENTS, "--replicas-then-one", "3")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["machine"] == shell.instances["lab-1"][0]["machine_id"]
    assert shell.bodies("POST")[0]["replicas"] == 3
    assert shell.groups["lab-1"]["replicas"] == 1


# --- near a bucket -------------------------------------------------------------------------------------------------


def test_near_asks_the_buckets_own_server(shell: SaladApi, moto_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    client = boto3.client(
        "s3", endpoint_url=moto_url, region_name="eu-central-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    client.create_bucket(Bucket="near-1", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    result = deploy(*ARGUMENTS, "--near", "s3://near-1/folder")
    assert result.exit_code == 0, result.output
    assert shell.bodies("POST")[0]["country_codes"][0] == "de"
    assert deploy(*ARGUMENTS, "--near", "s3://not-there-1").exit_code == 2
