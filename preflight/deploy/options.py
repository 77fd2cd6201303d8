"""The options that several `preflight deploy` commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from preflight.deploy.flavours import FLAVOURS

EXIT_CODES = (
    "Exit codes: 0 done; 1 bug or unknown answer; 2 the order cannot be sent; 3 try again later, or no replica passed "
    "in time; 4 not found; 5 name taken; 12 key refused; 20 would restart a running notebook (--restart allows it)."
)
GpuOption = Annotated[
    list[str] | None,
    typer.Option("--gpu", help='GPU class by name ("4090", "rtx 3060"); repeat for any of several.'),
]
CountryOption = Annotated[list[str] | None, typer.Option("--country", help="Country code (us, ca, de); repeat.")]
NearOption = Annotated[
    str, typer.Option("--near", help="s3://bucket or a region: countries near it, unless --country is given.")
]
SplitOption = Annotated[
    bool,
    typer.Option("--split-long", help="Send credentials over 1000 characters as NAME_B64GZ and continuations."),
]
Name = Annotated[str, typer.Argument(help="Name of the container group or task.")]
ImageOption = Annotated[str, typer.Option("--image", help="Image with a version or digest. Its tag tells the flavour.")]
FlavourOption = Annotated[
    str, typer.Option("--flavour", help=f"One of {', '.join(FLAVOURS)}, when the tag does not tell.")
]
EnvOption = Annotated[
    list[str] | None, typer.Option("--env", help="NAME (from this shell) or NAME=VALUE, besides the known ones.")
]
FromOption = Annotated[Path | None, typer.Option("--from", help="A file written by `show`, in place of the options.")]
DryOption = Annotated[bool, typer.Option("--dry-run", help="Print the request, secrets masked; send nothing.")]
RestartOption = Annotated[bool, typer.Option("--restart", help="Allow changes that restart the running notebook.")]
RegistryOption = Annotated[str, typer.Option(help="User of a private registry; password from REGISTRY_PASSWORD.")]
OrganizationOption = Annotated[str, typer.Option(envvar="SALAD_ORGANIZATION", help="Salad organization.")]
ProjectOption = Annotated[str, typer.Option(envvar="SALAD_PROJECT", help="Salad project.")]
SaladUrlOption = Annotated[str, typer.Option("--api-url", envvar="SALAD_API_URL", help="Base of the API.")]
GongjiUrlOption = Annotated[str, typer.Option("--api-url", envvar="GONGJI_API_URL", help="Base of the API.")]
