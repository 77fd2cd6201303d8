"""docs/clouds says what is true: policies that work, links that lead somewhere, every provider and variable."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from sync.stores.probe import Outcome, probe
from sync.stores.profiles import AWS as AWS_PROFILE
from sync.stores.rights import RIGHTS, S3_LIKE
from sync.stores.s3 import S3Store
from tests.support.s3dialect import AWS, DialectServer, dialect_server

ROOT = Path(__file__).resolve().parents[2]
CLOUDS = ROOT / "docs/clouds"
PAGES = sorted(CLOUDS.glob("*.md"))


def evaluated(policy: dict[str, Any], user: str, bucket: str) -> Callable[[str, str], bool]:
    """AWS's evaluation of an identity policy, as far as these policies use it."""

    def filled(text: str) -> str:
        return text.replace("${aws:username}", user).replace("BUCKET", bucket)

    def allows(action: str, what: str) -> bool:
        for statement in policy["Statement"]:
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            if action not in actions:
                continue
            arn = f"arn:aws:s3:::{bucket}" if action == "s3:ListBucket" else f"arn:aws:s3:::{bucket}/{what}"
            if not fnmatchcase(arn, filled(statement["Resource"])):
                continue
            wanted = statement.get("Condition", {}).get("StringLike", {}).get("s3:prefix")
            if wanted is None or any(fnmatchcase(what, filled(one)) for one in wanted):
                return True
        return False

    return allows


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[DialectServer]:
    with dialect_server(AWS) as server:
        monkeypatch.setenv("http_proxy", server.proxy)
        yield server


def test_the_aws_policy_gives_a_user_their_folder_and_no_other(aws: DialectServer) -> None:
    policy = json.loads((CLOUDS / "policies/aws-user.json").read_text())
    aws.allows = evaluated(policy, "alice", aws.bucket)
    own = probe(S3Store(aws.config("alice"), profile=AWS_PROFILE))
    assert own.missing == ()
    other = probe(S3Store(aws.config("bob"), profile=AWS_PROFILE))
    assert [step.outcome for step in other.steps] == [Outcome.DENIED]
    assert not any(key.startswith("bob/") for key in aws.objects)


def test_the_policy_of_the_documents_is_enough(aws: DialectServer) -> None:
    policy = json.loads((CLOUDS / "policies/aws-user.json").read_text())
    policy["Statement"][1]["Action"] = ["s3:PutObject", "s3:GetObject", "s3:DeleteObject"]
    aws.allows = evaluated(policy, "alice", aws.bucket)
    own = probe(S3Store(aws.config("alice"), profile=AWS_PROFILE))
    assert own.usable
    assert [step.name for step in own.missing] == ["list_parts", "abort"]


@pytest.mark.parametrize(
    ("name", "provider"),
    [("aws-user", "aws"), ("oss-user", "oss"), ("obs-user", "obs"), ("cos-user", "cos")],
)
def test_a_policy_allows_what_the_probe_would_ask_to_allow(name: str, provider: str) -> None:
    text = (CLOUDS / f"policies/{name}.json").read_text()
    policy = json.loads(text)
    statements = policy.get("Statement") or policy["statement"]
    granted: set[str] = set()
    for statement in statements:
        actions = statement.get("Action") or statement["action"]
        granted |= {actions} if isinstance(actions, str) else set(actions)
        assert not any("*" in action for action in granted)
    needed = set(
        re.findall(r"(?:name/cos|s3|oss|obs)(?::[A-Za-z]+)+", " ".join(RIGHTS.get(provider, S3_LIKE).values()))
    )
    needed = {one for one in needed if one.split(":")[-1].lower() != "prefix"}
    assert needed == granted


def test_the_azure_permissions_are_those_of_the_probe() -> None:
    letters = json.loads((CLOUDS / "policies/azure-sas.json").read_text())["permissions"]
    assert set(letters) == set("rcwdl")


@pytest.mark.parametrize("path", sorted((CLOUDS / "policies").iterdir()), ids=lambda path: path.name)
def test_policies_are_json_and_are_explained(path: Path) -> None:
    json.loads(path.read_text())
    assert any(f"policies/{path.name}" in page.read_text() for page in PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_every_provider_is_in_the_tables() -> None:
    text = ((CLOUDS / "README.md").read_text() + (CLOUDS / "s3-compatible.md").read_text()).lower()
    for name in ("aws", "r2", "b2", "wasabi", "minio", "seaweedfs", "aliyun oss", "huawei obs", "tencent cos", "azure"):
        assert name in text


def test_every_variable_is_explained() -> None:
    source = (ROOT / "sync/stores/variables.py").read_text()
    told = "".join(page.read_text() for page in PAGES) + (ROOT / "docs/settings.md").read_text()
    names = set(re.findall(r'"((?:AWS|AZURE|GOOGLE|ALIYUN|HUAWEI|TENCENT|PREFLIGHT)_[A-Z0-9_]+)"', source))
    assert len(names) > 20
    assert {name for name in names if name not in told} == set()
