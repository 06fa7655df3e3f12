#!/usr/bin/env bash
# Installs the peers that the interop tests compare with, once per version, outside the clone:
# llama.cpp (converter, quantizer and Python bindings from one source package), gguf-py, torch.
# The libraries are compiled without fused multiply-add: that arithmetic is the reference for bytes.
#
#   usage: setup-peers.sh [--native] [FOLDER]     prints the folder; then: source FOLDER/env.sh
#
# --native adds FOLDER/native, the same libraries for this processor and with fused arithmetic: the
# reference for speed, which Sources/Benchmarks measures against before a release. ggml leaves its
# quantizers (libggml-base) at the baseline even in its own native builds, hence -march=native. Tests
# and CI do not need it.
set -euo pipefail
version=0.3.36
torch=2.13.0
revision=2   # raise when this script changes what it installs
native=""
if [ "${1:-}" = --native ]; then native=native; shift; fi
peers=${1:-${INGOT_PEERS:-$HOME/.cache/ingot/peers-$version-$revision}}
if [ -f "$peers/ready" ] && { [ -z "$native" ] || [ -f "$peers/ready-native" ]; }; then echo "$peers"; exit 0; fi
mkdir -p "$peers"
peers=$(cd "$peers" && pwd)
log=$peers/setup.log
exec 3>&1 4>&2 >"$log" 2>&1
trap '[ $? = 0 ] || { tail -n 40 "$log"; echo "setting up the peers failed; log: $log"; } >&4' EXIT

[ -x "$peers/venv/bin/python" ] || python3 -m venv "$peers/venv"
pip() { "$peers/venv/bin/python" -m pip --disable-pip-version-check -q "$@"; }
# The CPU build of torch has its own version suffix and index; take whichever the machine offers.
pip install "torch==$torch+cpu" || pip install "torch==$torch"
pip install "transformers==5.23.0" "gguf==0.19.0" "safetensors==0.8.0" "tokenizers==0.23.3" \
  "sentencepiece==0.2.3" numpy cmake ninja scikit-build-core
export PATH="$peers/venv/bin:$PATH"

if [ ! -d "$peers/llama.cpp" ]; then
  pip download --no-deps --no-binary :all: --no-build-isolation -d "$peers" "llama-cpp-python==$version"
  rm -rf "$peers/unpacked" && mkdir "$peers/unpacked"
  tar xzf "$peers/llama_cpp_python-$version.tar.gz" -C "$peers/unpacked"
  mv "$peers"/unpacked/*/vendor/llama.cpp "$peers/llama.cpp"
  rm -r "$peers/unpacked"
fi
# That release's AMX code crashes on some virtual machines.
amx=""
[ "$(uname -m)" = x86_64 ] && amx="-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
build() { # folder, further compiler flags
  cmake -S "$peers/llama.cpp" -B "$peers/$1" -G Ninja -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON \
    -DLLAMA_BUILD_TOOLS=ON -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF \
    -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DCMAKE_C_FLAGS="$amx $2" -DCMAKE_CXX_FLAGS="$amx $2"
  cmake --build "$peers/$1" --target llama-quantize llama-gguf-split
}
build strict "-ffp-contract=off"
if [ -n "$native" ]; then build native "-march=native"; touch "$peers/ready-native"; fi
CMAKE_ARGS="-DLLAMA_BUILD=OFF" pip install --no-build-isolation --no-binary llama-cpp-python \
  "llama-cpp-python==$version"
cat >"$peers/env.sh" <<SH
export PATH="$peers/venv/bin:$peers/strict/bin:\$PATH"
export LLAMA_CPP_LIB_PATH="$peers/strict/bin" PYTHONPATH="$peers/llama.cpp/gguf-py" INGOT_PEERS="$peers"
SH
(. "$peers/env.sh" && python -c 'import llama_cpp, torch, transformers, gguf; llama_cpp.llama_backend_init()')
touch "$peers/ready"
echo "$peers" >&3
