#!/usr/bin/env bash
# Proves the C kernels of ARM on a machine that is none: compiles them alone for AArch64 with the
# toolchain's own clang (GCC ignores FP_CONTRACT and the target pragma), runs them under QEMU on the
# golden rows, and compares with this machine's kernels. Then looks for fused multiply-adds in the
# machine code of every kernel set: one rounding instead of two gives other bytes.
#
#   usage: run-neon.sh        on Linux; installs what is missing with apt
set -euo pipefail
cd "$(dirname "$0")/../.."
kernels=Sources/CKernels
golden=Fixtures/golden/quant

packages="qemu-user libc6-dev-arm64-cross python3"
missing=""
# The compiler's run-time library carries its version, which differs between distributions.
crossgcc=/usr/lib/gcc-cross/aarch64-linux-gnu
if ! ls -d $crossgcc/[0-9]* >/dev/null 2>&1; then
  [ -n "$(apt-cache search --names-only 'dev-arm64-cross' 2>/dev/null)" ] ||
    $([ "$(id -u)" = 0 ] || echo sudo) apt-get update -q
  libgcc=$(apt-cache search --names-only '^libgcc-[0-9]+-dev-arm64-cross$' | cut -d' ' -f1 | sort -V | tail -1)
  missing=" $libgcc"
fi
for package in $packages; do dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"; done
if [ -n "$missing" ]; then
  sudo=""; [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update -q
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -qy --no-install-recommends $missing
fi
toolchain=$(dirname "$(realpath "$(command -v swift)")")
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# compile FOLDER FLAGS...: one object per source file, as a release build makes them.
compile() {
  local folder=$1; shift
  mkdir "$out/$folder"
  local source
  find "$kernels" -name '*.c' >"$out/sources"
  local jobs=()
  while read -r source; do
    "$toolchain/clang" "$@" -O2 -fPIC -Wall -Wextra -Werror -I "$kernels/include" \
      -c "$source" -o "$out/$folder/$(basename "$source").o" &
    jobs+=($!)
  done <"$out/sources"
  local job
  for job in "${jobs[@]}"; do wait "$job"; done
  "$toolchain/clang" "$@" -O2 -Wall -Wextra -Werror -I "$kernels/include" \
    -c Tests/Kernels/compare-kernels.c -o "$out/$folder/compare-kernels.c.o"
}

arm="--target=aarch64-linux-gnu"
cross=/usr/aarch64-linux-gnu
crossgcc=$(ls -d $crossgcc/[0-9]* | sort -V | tail -1)
# shellcheck disable=SC2086
compile arm $arm -isystem $cross/include
compile here
"$toolchain/ld.lld" -static -o "$out/compare-arm" $cross/lib/crt1.o $cross/lib/crti.o \
  $crossgcc/crtbeginT.o "$out"/arm/*.o -L $cross/lib -L $crossgcc \
  --start-group -lm -lc -lgcc -lgcc_eh --end-group $crossgcc/crtend.o $cross/lib/crtn.o
"$toolchain/clang" -o "$out/compare-here" "$out"/here/*.o -lm

python3 - "$golden/manifest.json" >"$out/list" <<'PYTHON'
import json, sys
with open(sys.argv[1]) as file:
    types = json.load(file)["types"]
for name, entry in types.items():
    for key in ("plain", "importance"):
        if key in entry:
            print(entry["ggml_type"], key, entry[key]["file"], entry[key]["dequantized_crc32"])
PYTHON

"$out/compare-here" "$golden" <"$out/list" >"$out/here.txt"
qemu-aarch64 "$out/compare-arm" "$golden" <"$out/list" >"$out/arm.txt"
if ! diff "$out/here.txt" "$out/arm.txt" >&2; then
  echo "the scalar kernels of the two architectures give different bytes" >&2
  exit 1
fi

# The objects of a release build, too, when there is one. Measures.c makes figures, not bytes, and may fuse.
fused='\bv?fn?m(add|sub)|\bfml[as]\b|\bfmlal|\bfmlsl|\bfcmla|\bfnml'
# A pattern that finds nothing proves nothing: it has to find this one.
echo 'float f(float a, float b, float c) { return __builtin_fmaf(a, b, c); }' >"$out/fused.c"
# shellcheck disable=SC2086
"$toolchain/clang" $arm -O2 -c "$out/fused.c" -o "$out/fused-arm.o"
"$toolchain/clang" --target=x86_64-linux-gnu -mfma -O2 -c "$out/fused.c" -o "$out/fused-x86.o"
fused_in() { "$toolchain/llvm-objdump" -d --no-show-raw-insn "$1" | grep -E "$fused"; }
for object in "$out"/fused-*.o; do
  fused_in "$object" >/dev/null || { echo "the search for fused arithmetic is blind" >&2; exit 1; }
done
checked=0
while read -r source; do
  [ "$(basename "$source")" != Measures.c ] || continue
  for folder in "$out/arm" "$out/here" .build/release/CKernels.build; do
    object=$folder/$(basename "$source").o
    [ ! -f "$object" ] || echo "$object"
  done
done <"$out/sources" >"$out/objects"
while read -r object; do
  if fused_in "$object" >"$out/found"; then
    echo "$(basename "$object") holds fused multiply-adds:" >&2
    head "$out/found" >&2
    exit 1
  fi
  checked=$((checked + 1))
done <"$out/objects"
echo "no fused multiply-add in $checked objects"
