"""Does this image run on that node: a truth table, built from lists of what runs where instead of from the rules."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from preflight.image import (
    Fit,
    Framework,
    Image,
    fit_arch,
    fit_driver,
    fit_jit,
    forward_compat_dir,
    parse_cuda,
    read_image,
    without_compat,
)
from preflight.model import Blame, Status

# In the order of their release; each family runs binaries of its own and of every earlier one.
FAMILIES = (
    ("11.7", "11.8"),
    ("12.0", "12.2", "12.4", "12.6", "12.8", "12.9", "12.10"),
    ("13.0", "13.1", "13.2", "13.10"),
)
RELEASES = tuple(itertools.chain(*FAMILIES))
TOOLKITS = ("11.8", "12.2", "12.4", "12.8", "12.10", "13.0", "13.2")

CARDS = ("5.2", "6.1", "7.0", "7.5", "8.0", "8.6", "8.7", "8.9", "9.0", "10.0", "10.3", "11.0", "12.0", "12.1")
TOO_OLD_FOR_13 = {"5.2", "6.1", "7.0"}

# Where each binary runs, by NVIDIA's tables: the same major version, the same minor or a later one; chips of the
# Tegra line (8.7, 11.0) stand alone; "a" binaries run on exactly their chip, "f" binaries within their family.
BINARIES = {
    "sm_50": {"5.2"},
    "sm_52": {"5.2"},
    "sm_60": {"6.1"},
    "sm_61": {"6.1"},
    "sm_70": {"7.0", "7.5"},
    "sm_75": {"7.5"},
    "sm_80": {"8.0", "8.6", "8.9"},
    "sm_86": {"8.6", "8.9"},
    "sm_87": {"8.7"},
    "sm_89": {"8.9"},
    "sm_90": {"9.0"},
    "sm_90a": {"9.0"},
    "sm_100": {"10.0", "10.3"},
    "sm_100a": {"10.0"},
    "sm_100f": {"10.0", "10.3"},
    "sm_103": {"10.3"},
    "sm_103a": {"10.3"},
    "sm_110": {"11.0"},
    "sm_120": {"12.0", "12.1"},
    "sm_120a": {"12.0"},
    "sm_120f": {"12.0", "12.1"},
    "sm_121": {"12.1"},
}
PTX = {
    "compute_50": set(CARDS),
    "compute_75": set(CARDS) - {"5.2", "6.1", "7.0"},
    "compute_80": set(CARDS) - {"5.2", "6.1", "7.0", "7.5"},
    "compute_90": {"9.0", "10.0", "10.3", "11.0", "12.0", "12.1"},
    "compute_90a": {"9.0"},
    "compute_100f": {"10.0", "10.3"},
    "compute_120": {"12.0", "12.1"},
}
DRIVER_ROWS = tuple(itertools.product(RELEASES, TOOLKITS, CARDS))
JIT_ROWS = tuple(itertools.product(RELEASES, TOOLKITS))
ARCH_ROWS = tuple(itertools.product(CARDS, (*BINARIES, *PTX)))


def version(text: str) -> tuple[int, int]:
    parsed = parse_cuda(text)
    assert parsed is not None
    return parsed


def family(release: str) -> int:
    return next(number for number, members in enumerate(FAMILIES) if release in members)


def test_the_table_is_large_enough() -> None:
    assert len(DRIVER_ROWS) + len(JIT_ROWS) + len(ARCH_ROWS) * 4 >= 500


def test_driver_against_toolkit() -> None:
    wrong = []
    for driver, toolkit, card in DRIVER_ROWS:
        fit = fit_driver(version(driver), Image(toolkit=version(toolkit)), version(card))
        if family(driver) >= family(toolkit):
            right: tuple[Status, Blame | None] = (Status.PASS, None)
        elif toolkit.startswith("13.") and card in TOO_OLD_FOR_13:
            right = (Status.FAIL, Blame.IMAGE)
        else:
            right = (Status.FAIL, Blame.NODE)
        if (fit.status, fit.blame) != right:
            wrong.append((driver, toolkit, card, fit))
    assert wrong == []


def test_ptx_against_driver() -> None:
    wrong = []
    for driver, toolkit in JIT_ROWS:
        users = Image(toolkit=version(toolkit), jit_users=("triton",))
        understood = RELEASES.index(driver) >= RELEASES.index(toolkit)
        if fit_jit(version(driver), users).status is not (Status.PASS if understood else Status.WARN):
            wrong.append((driver, toolkit))
        assert fit_jit(version(driver), Image(toolkit=version(toolkit))).status is Status.PASS
    assert wrong == []


@pytest.mark.parametrize("driver", [None, "12.8", "12.10", "12.4"])
def test_capability_against_one_architecture(driver: str | None) -> None:
    wrong = []
    for card, arch in ARCH_ROWS:
        framework = Framework("torch", "2.10.0", arch_list=(arch,))
        known = None if driver is None else version(driver)
        fit = fit_arch(version(card), framework, known, Image(toolkit=(12, 8)))
        if card in BINARIES.get(arch, ()):
            right: tuple[Status, Blame | None] = (Status.PASS, None)
        elif card not in PTX.get(arch, ()):
            right = (Status.FAIL, Blame.IMAGE)
        elif driver == "12.4":
            right = (Status.FAIL, Blame.NODE)  # PTX of 12.8: error 222
        else:
            right = (Status.WARN, Blame.IMAGE)
        if (fit.status, fit.blame) != right:
            wrong.append((card, arch, driver, fit))
    assert wrong == []


# The wheels' own lists: which cards each release really serves.
TORCH_210_CU128 = ("sm_70", "sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120")
TORCH_25_CU121 = ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90")
TENSORFLOW_221 = ("sm_60", "sm_70", "sm_80", "sm_89", "compute_90")


@pytest.mark.parametrize(
    ("archs", "card", "status"),
    [
        (TORCH_210_CU128, "8.9", Status.PASS),
        (TORCH_210_CU128, "12.0", Status.PASS),
        (TORCH_210_CU128, "12.1", Status.PASS),
        (TORCH_210_CU128, "6.1", Status.FAIL),
        (TORCH_210_CU128, "8.7", Status.FAIL),
        (TORCH_25_CU121, "12.0", Status.FAIL),  # "RTX 5090 … no kernel image is available"
        (TORCH_25_CU121, "6.1", Status.PASS),
        (TENSORFLOW_221, "12.0", Status.WARN),  # compiled by the driver at first use
        (TENSORFLOW_221, "7.5", Status.PASS),
        (TENSORFLOW_221, "8.6", Status.PASS),
        ((), "8.6", Status.PASS),  # says nothing: no ground for a finding
        (("gfx90a",), "8.6", Status.FAIL),
    ],
)
def test_real_wheels(archs: tuple[str, ...], card: str, status: Status) -> None:
    assert fit_arch(version(card), Framework("library", arch_list=archs), (13, 0), Image()).status is status


def test_a_framework_with_a_newer_toolkit_decides() -> None:
    image = Image(toolkit=(12, 8), frameworks=(Framework("torch", toolkit=(13, 0)),))
    assert fit_driver((12, 9), image).status is Status.FAIL
    assert fit_driver((13, 0), image).status is Status.PASS


def test_an_image_that_names_nothing_fits_everywhere() -> None:
    assert fit_driver((11, 0), Image()).status is Status.PASS
    assert fit_jit((11, 0), Image(jit_users=("numba",))).status is Status.PASS


def test_every_unmet_need_says_who_and_what_to_do() -> None:
    fits: list[Fit] = [fit_driver((11, 8), Image(toolkit=(12, 8))), fit_jit((12, 4), Image((12, 8), ("triton",)))]
    fits += [fit_arch((8, 6), Framework("torch", arch_list=(arch,)), None, Image()) for arch in ("sm_90", "compute_80")]
    assert all(fit.blame and fit.advice and fit.why for fit in fits)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("12.8", (12, 8)),
        ("12.8.1", (12, 8)),
        ("12.10", (12, 10)),
        (" 13.0 ", (13, 0)),
        ("12", None),
        ("", None),
        ("N/A", None),
        ("12.8rc1", None),
        (12.8, None),
        (None, None),
    ],
)
def test_versions_are_never_floats(text: object, parsed: tuple[int, int] | None) -> None:
    assert parse_cuda(text) == parsed


@pytest.mark.parametrize(
    ("library_path", "found", "repaired"),
    [
        ("/usr/local/cuda/compat:/usr/lib", "/usr/local/cuda/compat", "/usr/lib"),
        ("/usr/lib:/usr/local/cuda-12.8/compat/", "/usr/local/cuda-12.8/compat/", "/usr/lib"),
        ("/opt/own:/usr/lib", "/opt/own", "/usr/lib"),
        ("/usr/local/cuda/lib64:/home/me/compat", "", "/usr/local/cuda/lib64:/home/me/compat"),
        ("", "", ""),
    ],
)
def test_forward_compatibility_folders(library_path: str, found: str, repaired: str) -> None:
    image = Image(compat_dirs=("/opt/own/",))
    assert forward_compat_dir(image, library_path) == found
    assert without_compat(image, library_path) == repaired


def test_the_manifest_of_the_images(tmp_path: Path) -> None:
    path = tmp_path / "image.json"
    path.write_text(
        json.dumps(
            {
                "flavour": "pytorch-gpu",
                "cuda": {"toolkit": "12.8", "min_driver": "525.60.13", "jit_users": ["triton"], "compat_dirs": []},
                "frameworks": {"torch": {"version": "2.10.0", "toolkit": "12.8", "arch_list": list(TORCH_210_CU128)}},
                "needs": {"gpu_memory_bytes": 4 << 30},
                "packages": {"torch": "2.10.0"},
                "something": "new",
            }
        )
    )
    image = read_image(path)
    assert image.problem == ""
    assert (image.toolkit, image.jit_users, image.memory_bytes) == ((12, 8), ("triton",), 4 << 30)
    assert image.frameworks == (Framework("torch", "2.10.0", (12, 8), TORCH_210_CU128),)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "1",
        '{"cuda": []}',
        '{"cuda": {"toolkit": 12.8}}',
        '{"cuda": {"toolkit": "new"}}',
        '{"cuda": {"jit_users": "triton"}}',
        '{"frameworks": {"torch": 1}}',
        '{"needs": {"gpu_memory_bytes": "4G"}}',
    ],
)
def test_a_manifest_that_is_not_one_says_so(content: str, tmp_path: Path) -> None:
    path = tmp_path / "image.json"
    path.write_text(content)
    assert str(path) in read_image(path).problem


def test_no_manifest_needs_nothing(tmp_path: Path) -> None:
    assert read_image(tmp_path / "none.json") == Image()
