#!/bin/sh
# Makes kernels.ptx of kernels.cu: needs nvcc 13 and ptxas on this machine; the result is kept in the repository.
# The text uses nothing newer than PTX 6.0 and compute capability 5.0 (ptxas checks it), so it says so: any driver
# since CUDA 9 compiles it, and error 222 can never be ours.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
nvcc -ptx -arch=compute_75 -O3 -o "$work/new.ptx" kernels.cu
{
    echo "// Made by make_ptx.sh from kernels.cu, sha256 $(sha256sum <kernels.cu | cut -d' ' -f1)"
    sed -n -e 's/^\.version .*/.version 6.0/' -e 's/^\.target .*/.target sm_50/' -e '/^\.version/,$p' "$work/new.ptx" |
        sed -e 's/[[:space:]]*$//' | cat -s
} >"$work/kernels.ptx"
for arch in 75 80 86 87 89 90 100 103 110 120 121; do
    ptxas "-arch=sm_$arch" "$work/kernels.ptx" -o "$work/out.cubin"
done
mv "$work/kernels.ptx" kernels.ptx
