"""Countries that lie near a bucket, so that saving and restoring is quick: region -> country codes.

Supply decides as much as distance: most of Salad's nodes are in the United States and Canada, a quarter in Europe, so a
region with few nodes around it also gets its larger neighbours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from preflight.deploy.errors import BadOrder, Busy, Forbidden

NORTH_AMERICA = ("us", "ca")
WEST_EUROPE = ("gb", "ie", "fr", "nl", "be", "de", "lu")
MIDDLE_EUROPE = ("de", "at", "ch", "nl", "be", "fr", "pl", "cz", "dk", "lu")
NORTH_EUROPE = ("se", "no", "fi", "dk", "de", "nl", "pl", "ee", "lv", "lt")
SOUTH_EUROPE = ("it", "es", "pt", "fr", "ch", "at", "si", "hr")
EAST_ASIA = ("jp", "kr", "tw", "hk")
SOUTH_EAST_ASIA = ("sg", "my", "th", "vn", "id", "ph")

# The first pattern that a region's name matches wins. AWS, Google, Aliyun, Tencent, Huawei and Azure spell the same
# places in their own ways.
_NEAR: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"^(eu|europe)-west-?[1-9]$|ireland|london|^uk|northeurope|westeurope|francecentral|paris", WEST_EUROPE),
    (r"^(eu|europe)-(north)|sweden|norway|finland", NORTH_EUROPE),
    (r"^(eu|europe)-(south|southwest)|italy|spain|milan|madrid", SOUTH_EUROPE),
    (r"^(eu|europe)(-|$)|germany|switzerland|poland|frankfurt", MIDDLE_EUROPE),
    (r"^(us|ca|northamerica)(-|$)|^na-(ashburn|siliconvalley|toronto)|(east|west|central)us|canada", NORTH_AMERICA),
    (r"^(mx|na-mexico)|mexico", ("mx", "us")),
    (r"^(sa|southamerica|la)-|brazil|sao", ("br", "ar", "cl", "uy", "py")),
    (r"^ap-northeast|^asia-(northeast|east)|japan|korea|tokyo|seoul|osaka|^ap-east|hongkong", EAST_ASIA),
    (r"^ap-southeast-(2|4|6)$|^australia|sydney|melbourne|newzealand", ("au", "nz")),
    (r"^ap-southeast|^asia-southeast|singapore|jakarta|malaysia|bangkok", SOUTH_EAST_ASIA),
    (r"^ap-south|^asia-south|india|mumbai", ("in", "lk", "sg")),
    (r"^(cn-|ap-(beijing|shanghai|guangzhou|chengdu|chongqing|nanjing))|^china", ("hk", "tw", "jp", "kr", "sg")),
    (r"^(me|il)-|uae|qatar|israel|telaviv|dubai", ("il", "ae", "sa", "tr", "cy")),
    (r"^(af|africa)-|southafrica", ("za",)),
)  # fmt: skip


def countries_near(region: str) -> tuple[str, ...]:
    """Country codes near a provider's region ("eu-central-1", "europe-west4", "oss-cn-beijing", …).

    Raises BadOrder for a region that says nothing about a place ("auto", or an unknown name).
    """
    name = re.sub(r"^(oss|obs|cos)[.-]", "", region.strip().lower())
    for pattern, countries in _NEAR:
        if re.search(pattern, name):
            return countries
    raise BadOrder([f"region {region!r} tells no place: pass --country yourself (us, ca, de, …)"])


def region_of(place: str, environ: Mapping[str, str]) -> str:
    """The region that `--near` means: a region's name as it is, or an s3:// bucket's, asked of its server.

    Raises BadOrder, Forbidden, Busy.
    """
    if "://" not in place:
        return place
    parts = urlsplit(place)
    if parts.scheme != "s3" or not parts.netloc:
        raise BadOrder([f"--near {place}: an s3:// bucket or a region's name (europe-west4, eastus, oss-cn-beijing)"])
    return _s3_region(parts.netloc, environ)


def _s3_region(bucket: str, environ: Mapping[str, str]) -> str:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.client(
        "s3",
        region_name=environ.get("AWS_REGION") or "us-east-1",
        endpoint_url=environ.get("AWS_ENDPOINT_URL") or None,
        aws_access_key_id=environ.get("AWS_ACCESS_KEY_ID") or None,
        aws_secret_access_key=environ.get("AWS_SECRET_ACCESS_KEY") or None,
        aws_session_token=environ.get("AWS_SESSION_TOKEN") or None,
        config=Config(
            retries={"total_max_attempts": 2}, connect_timeout=10, read_timeout=20, s3={"addressing_style": "path"}
        ),
    )
    try:
        answer = client.head_bucket(Bucket=bucket)
    except ClientError as error:  # S3 names the region of a bucket even where it refuses or redirects
        answer = error.response  # type: ignore[assignment]
    except BotoCoreError as error:
        raise Busy(f"s3://{bucket}: {type(error).__name__} while asking for its region") from error
    metadata = answer["ResponseMetadata"]
    region = metadata.get("HTTPHeaders", {}).get("x-amz-bucket-region")
    status = metadata.get("HTTPStatusCode")
    if region:
        return str(region)
    if status == 404:
        raise BadOrder([f"--near s3://{bucket}: there is no such bucket"])
    if status in (401, 403):
        raise Forbidden(f"--near s3://{bucket}: refused, and the answer names no region")
    raise BadOrder([f"--near s3://{bucket}: its server names no region: pass --country yourself"])
