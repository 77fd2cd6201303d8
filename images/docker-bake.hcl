# docker buildx bake -f images/docker-bake.hcl [base|cpu|pytorch-gpu|pytorch-gpu-cu13|tensorflow-gpu]
# Context: the root of the repository. Push with --push and REGISTRY=you/.
variable "REGISTRY" { default = "" }
variable "NAME" { default = "preflight-lab" }
variable "VERSION" { default = "0.1.0" }
variable "REVISION" { default = "unknown" }
# Any Debian 12 (or later with Python 3.11): yours, by digest, or a mirror's.
variable "BASE_IMAGE" { default = "debian:bookworm-slim" }
# Where pip finds the CPU build of torch (cpu and tensorflow-gpu want it; the default index has only CUDA builds).
variable "PIP_EXTRA_INDEX_URL" { default = "" }

group "default" {
  targets = ["base", "cpu", "pytorch-gpu", "tensorflow-gpu"]
}

target "settings" {
  platforms = ["linux/amd64"]
  args = {
    BASE_IMAGE          = BASE_IMAGE
    VERSION             = VERSION
    REVISION            = REVISION
    PIP_EXTRA_INDEX_URL = PIP_EXTRA_INDEX_URL
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

target "flavour" {
  inherits = ["settings"]
  contexts = {
    preflight-runtime = "target:runtime"
    preflight-toolkit = "target:toolkit"
  }
}

target "base" {
  inherits   = ["flavour"]
  dockerfile = "images/base/Dockerfile"
  tags       = ["${REGISTRY}${NAME}:${VERSION}-base"]
}

target "cpu" {
  inherits   = ["flavour"]
  dockerfile = "images/cpu/Dockerfile"
  tags       = ["${REGISTRY}${NAME}:${VERSION}-cpu"]
}

target "pytorch-gpu" {
  inherits   = ["flavour"]
  dockerfile = "images/pytorch-gpu/Dockerfile"
  tags       = ["${REGISTRY}${NAME}:${VERSION}-pytorch-gpu"]
}

target "pytorch-gpu-cu13" {
  inherits   = ["flavour"]
  dockerfile = "images/pytorch-gpu/Dockerfile"
  args = {
    LOCK    = "requirements-cu13.txt"
    FLAVOUR = "pytorch-gpu-cu13"
  }
  tags = ["${REGISTRY}${NAME}:${VERSION}-pytorch-gpu-cu13"]
}

target "tensorflow-gpu" {
  inherits   = ["flavour"]
  dockerfile = "images/tensorflow-gpu/Dockerfile"
  tags       = ["${REGISTRY}${NAME}:${VERSION}-tensorflow-gpu"]
}
