# docker buildx bake -f images/docker-bake.hcl [base|cpu|pytorch-gpu|pytorch-gpu-cu13|tensorflow-gpu]
# Context: the root of the repository. Push with --push and REGISTRY=you/. COMPRESSION=gzip for registries and nodes of before 2023.
variable "REGISTRY" { default = "" }
variable "NAME" { default = "preflight-lab" }
variable "VERSION" { default = "0.1.0" }
variable "REVISION" { default = "unknown" }
# Any Debian 12 (or later with Python 3.11): yours, by digest, or a mirror's.
variable "BASE_IMAGE" { default = "debian:bookworm-slim" }
# Your pip.conf, when packages come from elsewhere: mirrors with their passwords, or the index that has the CPU build of torch
# (cpu and tensorflow-gpu want it; the default index has only CUDA builds). A build secret: no layer, no history keeps it.
variable "PIP_CONF" { default = "" }
# Of a GPU image's layers when it is pushed: zstd is a sixth smaller than gzip and unpacks faster (docs/decisions/0705).
variable "COMPRESSION" { default = "zstd" }

group "default" {
  targets = ["base", "cpu", "pytorch-gpu", "tensorflow-gpu"]
}

target "settings" {
  platforms = ["linux/amd64"]
  secret    = PIP_CONF == "" ? [] : ["id=pip,src=${PIP_CONF}"]
  args = {
    BASE_IMAGE = BASE_IMAGE
    VERSION    = VERSION
    REVISION   = REVISION
  }
}

target "runtime" {
  inherits   = ["settings"]
  dockerfile = "images/runtime/Dockerfile"
}

target "toolkit" {
  inherits   = ["settings"]
  dockerfile = "images/toolkit/Dockerfile"
  contexts   = { preflight-runtime = "target:runtime" }
}

# What the GPU flavours share: nvcc.
target "gpu" {
  inherits   = ["settings"]
  dockerfile = "images/gpu/Dockerfile"
  contexts   = { preflight-runtime = "target:runtime" }
}

target "flavour" {
  inherits   = ["settings"]
  dockerfile = "images/flavour/Dockerfile"
  contexts = {
    preflight-runtime = "target:runtime"
    preflight-toolkit = "target:toolkit"
  }
}

target "gpu-flavour" {
  inherits = ["flavour"]
  contexts = { preflight-gpu = "target:gpu" }
  output = [
    COMPRESSION == "zstd"
    ? "type=image,compression=zstd,compression-level=11,force-compression=true,oci-mediatypes=true"
    : "type=image"
  ]
}

target "base" {
  inherits = ["flavour"]
  args     = { FLAVOUR = "base", LOCK = "base/requirements.txt", TITLE = "Preflight Lab" }
  tags     = ["${REGISTRY}${NAME}:${VERSION}-base"]
}

target "cpu" {
  inherits = ["flavour"]
  args     = { FLAVOUR = "cpu", LOCK = "cpu/requirements.txt", TITLE = "Preflight Lab: PyTorch and TensorFlow, CPU" }
  tags     = ["${REGISTRY}${NAME}:${VERSION}-cpu"]
}

target "pytorch-gpu" {
  inherits = ["gpu-flavour"]
  args = {
    FLAVOUR = "pytorch-gpu"
    LOCK    = "pytorch-gpu/requirements.txt"
    SYSTEM  = "preflight-gpu"
    TITLE   = "Preflight Lab: PyTorch, GPU"
  }
  tags = ["${REGISTRY}${NAME}:${VERSION}-pytorch-gpu"]
}

target "pytorch-gpu-cu13" {
  inherits = ["gpu-flavour"]
  args = {
    FLAVOUR = "pytorch-gpu-cu13"
    LOCK    = "pytorch-gpu/requirements-cu13.txt"
    SYSTEM  = "preflight-gpu"
    TITLE   = "Preflight Lab: PyTorch, CUDA 13"
  }
  tags = ["${REGISTRY}${NAME}:${VERSION}-pytorch-gpu-cu13"]
}

target "tensorflow-gpu" {
  inherits = ["gpu-flavour"]
  args = {
    FLAVOUR = "tensorflow-gpu"
    LOCK    = "tensorflow-gpu/requirements.txt"
    SYSTEM  = "preflight-gpu"
    TITLE   = "Preflight Lab: TensorFlow, GPU"
  }
  tags = ["${REGISTRY}${NAME}:${VERSION}-tensorflow-gpu"]
}
