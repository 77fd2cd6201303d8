"""What a CUDA error code proves, and about whom. Pure.

Most codes prove nothing about the node: busy, not ready, not permitted, unknown. Only what a healthy driver never
answers to known-good kernels is the node's; what comes with the container is the image's.
"""

from __future__ import annotations

from dataclasses import dataclass

from preflight.gpu.cuda import LIBRARY_MISSING, WRONG_RESULT
from preflight.model import Blame


@dataclass(frozen=True, slots=True)
class Fault:
    """A proof: `what` went wrong, who must act, and how."""

    what: str
    blame: Blame
    advice: str


COMPAT_NOT_SUPPORTED = 804
_ANOTHER_NODE = "the GPU of this node does not work"
_PROOFS: dict[int, Fault] = {
    WRONG_RESULT: Fault("the GPU did not write what a known-good kernel writes", Blame.NODE, _ANOTHER_NODE),
    34: Fault(
        "the image ships a stub of libcuda that hides the driver's", Blame.IMAGE, "remove the stub from the image"
    ),
    100: Fault("the driver shows no GPU to CUDA", Blame.NODE, _ANOTHER_NODE),
    214: Fault("the GPU's memory reports an error that it could not correct", Blame.NODE, _ANOTHER_NODE),
    220: Fault("the GPU's links report an error that they could not correct", Blame.NODE, _ANOTHER_NODE),
    221: Fault(
        "the driver's PTX compiler is not visible in this container",
        Blame.PLATFORM,
        "code compiled at run time fails here; ready-made kernels may work",
    ),
    700: Fault("a known-good kernel was told of an illegal address", Blame.NODE, _ANOTHER_NODE),
    710: Fault("a known-good kernel was told of a failed assertion", Blame.NODE, _ANOTHER_NODE),
    714: Fault("the GPU's hardware stack was corrupted", Blame.NODE, _ANOTHER_NODE),
    715: Fault("the GPU met an illegal instruction in a known-good kernel", Blame.NODE, _ANOTHER_NODE),
    716: Fault("the GPU met a misaligned address in a known-good kernel", Blame.NODE, _ANOTHER_NODE),
    718: Fault("the GPU's program counter went wrong", Blame.NODE, _ANOTHER_NODE),
    719: Fault("the GPU failed while it ran a known-good kernel", Blame.NODE, _ANOTHER_NODE),
    803: Fault(
        "the driver's library in this container is of another version than the driver of the machine",
        Blame.PLATFORM,
        "restart the container: the driver was probably updated under it",
    ),
    COMPAT_NOT_SUPPORTED: Fault(
        "forward-compatibility libraries were found first, and this GPU does not support them",
        Blame.IMAGE,
        "remove cuda-compat from LD_LIBRARY_PATH: it works on data-centre GPUs only",
    ),
}
_UNPROVEN = {
    1: "the driver did not accept an argument",
    2: "there was no room on the GPU: another program holds its memory",
    3: "the driver did not initialise",
    46: "the GPU is busy or unavailable",
    101: "the driver knows no such device",
    218: "the driver did not compile our kernels",
    222: "the driver is too old for our kernels",
    600: "the GPU was not ready",
    702: "a short kernel ran into the machine's time limit: the GPU is very busy",
    800: "the driver does not permit it",
    801: "the driver does not support it",
    802: "the machine's GPUs are still starting",
    999: "the driver answered 'unknown error'",
    LIBRARY_MISSING: "the driver's library libcuda.so.1 is not visible in this container",
}


def proven_fault(code: int) -> Fault | None:
    """What `code` proves; None when it proves nothing."""
    return _PROOFS.get(code)


def describe_code(code: int, call: str, why: str) -> str:
    """One sentence on an error for people, with the driver's own words."""
    known = _PROOFS[code].what if code in _PROOFS else _UNPROVEN.get(code, "the driver answered with an error")
    own = f"{call} answered {code}" if code >= 0 else call
    return f"{known} ({own}{f': {why}' if why else ''})"
