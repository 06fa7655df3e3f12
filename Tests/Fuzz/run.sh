#!/usr/bin/env bash
# Coverage-guided fuzzing of everything that reads a file, with the toolchain's own libFuzzer and
# address sanitizer. Tests/Fuzz/README.md says what is covered.
#
#   usage: run.sh ci                          fixed number of runs per reader from the kept corpus
#          run.sh long SECONDS [READER ...]   turns of a minute each; grows .build-fuzz/corpus
#          run.sh keep                        replaces Fixtures/fuzz by a small corpus that reaches the same code
#          run.sh one READER FILE ...         reads single files
set -euo pipefail
cd "$(dirname "$0")/../.."

runs=5000       # per reader in "ci"
turn=60         # seconds per reader in "long"
longest=16384   # bytes of an input
kept=40000      # bytes of an input that is kept at most
budget=250000   # bytes that are kept per reader

all="pickle pytorch safetensors quantized gguf imatrix configuration parameters tokenizer tokenizer-settings vocabulary card index packed"
work=.build-fuzz
binary=$work/release/fuzz-readers

# Static linking with lld: gold, the default on Linux, fails on the sanitizer's debug information.
INGOT_FUZZ=1 swift build -c release --build-path $work --product fuzz-readers --sanitize address \
  -Xswiftc -sanitize=fuzzer -Xswiftc -use-ld=lld -Xcc -fsanitize=fuzzer-no-link >$work.log 2>&1 ||
  { cat $work.log; exit 1; }
mkdir -p $work/corpus $work/findings
mv $work.log $work/build.log

folder=$(mktemp -d "$([ -w /dev/shm ] && echo /dev/shm || echo /tmp)/ingot-fuzz-XXXXXX")
trap 'rm -rf "$folder"' EXIT
export INGOT_FUZZ_FOLDER=$folder
# libFuzzer reports traps itself; hashes that differ from run to run would make coverage differ too.
export SWIFT_BACKTRACE=enable=no SWIFT_DETERMINISTIC_HASHING=1
export ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=16

# fuzz READER OPTIONS FOLDERS: a trap, a hang, or memory that no small file justifies fails.
fuzz() {
  local reader=$1; shift
  local block=8  # MiB
  # A frame of Zstandard with 16 MiB of content may take 521 bytes.
  if [ "$reader" = packed ]; then block=17; fi
  # Real hangs have no end; a machine that does other things meanwhile may stall for seconds.
  INGOT_FUZZ_READER=$reader $binary -max_len=$longest -timeout=25 -rss_limit_mb=512 \
    -malloc_limit_mb=$block -dict=Tests/Fuzz/words.dict -artifact_prefix="$work/findings/$reader-" "$@"
}

case ${1:-} in
ci)
  for reader in $all; do
    mkdir -p "$folder/new"
    if ! fuzz "$reader" -seed=1 -runs=$runs "$folder/new" "Fixtures/fuzz/$reader" >"$work/$reader.log" 2>&1; then
      tail -n 60 "$work/$reader.log"
      echo "FAILED: $reader; the input is in $work/findings" >&2
      exit 1
    fi
    echo "$reader: $(grep DONE "$work/$reader.log" | tr -s ' \t' ' ' | cut -c1-80)"
    rm -r "$folder/new"
  done
  ;;
long)
  end=$((SECONDS + $2)); shift 2
  readers=${*:-$all}
  while [ $SECONDS -lt $end ]; do
    for reader in $readers; do
      [ $SECONDS -lt $end ] || break
      mkdir -p "$work/corpus/$reader"
      status=0
      fuzz "$reader" -max_total_time=$turn -print_final_stats=1 "$work/corpus/$reader" "Fixtures/fuzz/$reader" \
        >"$work/$reader.log" 2>&1 || status=$?
      executions=$(awk '/number_of_executed_units/ { print $2 }' "$work/$reader.log")
      covered=$(grep -oE 'cov: [0-9]+ ft: [0-9]+ corp: [0-9]+' "$work/$reader.log" | tail -n 1)
      echo "$(date -u +%FT%TZ) $reader executions ${executions:-0} $covered status $status"
      if [ $status != 0 ]; then
        grep -aE 'ERROR|SUMMARY|Test unit written|Fatal' "$work/$reader.log" | cut -c1-300 || true
        cp "$work/$reader.log" "$work/findings/$reader-$(date +%s).log"
      fi
    done
  done
  ;;
keep)
  for reader in $all; do
    [ -d "$work/corpus/$reader" ] || continue
    mkdir "$folder/$reader"
    # As few files as reach every edge, however often.
    fuzz "$reader" -set_cover_merge=1 -use_counters=0 "$folder/$reader" "Fixtures/fuzz/$reader" "$work/corpus/$reader" \
      >"$work/merge.log" 2>&1
    # Smallest first, within the budget; what once was a finding stays.
    find "Fixtures/fuzz/$reader" -type f ! -name 'found-*' -delete
    used=0
    while read -r bytes path; do
      used=$((used + bytes))
      [ "$bytes" -le $kept ] && [ $used -le $budget ] || break
      cp "$path" "Fixtures/fuzz/$reader/"
    done < <(find "$folder/$reader" -type f -printf '%s %p\n' | sort -n)
    echo "$reader: $(find "Fixtures/fuzz/$reader" -type f | wc -l) files"
  done
  ;;
one)
  reader=$2; shift 2
  fuzz "$reader" "$@"
  ;;
*)
  sed -n '5,8p' "$0"
  exit 64
  ;;
esac
