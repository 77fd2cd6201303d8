"""The images of this project, by what they need of a node. Sizes are defaults that every option overrides."""

from __future__ import annotations

from dataclasses import dataclass

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Flavour:
    """What to ask for when nothing else is said."""

    name: str
    wants_gpu: bool
    cpus: int
    memory_mb: int
    storage_bytes: int  # counts the image's writable layer: caches, models, data
    shm_mb: int  # PyTorch's DataLoader workers die of bus errors in Salad's default of 64 MB
    startup_s: int  # probes wait this long for the verdict: imports + checks (20 s cap) + one confirmation


FLAVOURS = {
    flavour.name: flavour
    for flavour in (
        Flavour("base", False, 2, 4096, 20 * GIB, 512, 200),
        Flavour("cpu", False, 2, 4096, 30 * GIB, 1024, 200),
        # A confirmed GPU failure runs the GPU child twice, and a cold driver takes up to 60 s to answer under WSL2.
        Flavour("pytorch-gpu", True, 4, 16384, 60 * GIB, 2048, 200),
        Flavour("pytorch-gpu-cu13", True, 4, 16384, 60 * GIB, 2048, 200),
        Flavour("tensorflow-gpu", True, 4, 16384, 60 * GIB, 2048, 200),
    )
}


def flavour_of(image: str) -> Flavour | None:
    """The flavour that an image's tag names ("…:0.1.0-pytorch-gpu-cu13"), or None for somebody else's image."""
    tag = image.rsplit("/", 1)[-1].partition(":")[2]
    matching = [flavour for name, flavour in FLAVOURS.items() if tag == name or tag.endswith(f"-{name}")]
    return max(matching, key=lambda flavour: len(flavour.name), default=None)
