#!/usr/bin/env bash
# Runs every test in builds that watch memory, threads and undefined behaviour: before a release.
#
#   usage: sanitize.sh [address|thread|undefined ...]      all three if none is named
#          FILTER=ByteIOTests sanitize.sh address          some tests only
#
# Swift and C are both watched, at the optimisation of a release: without it the kernels take hours.
set -euo pipefail
cd "$(dirname "$0")/../.."
export LC_ALL=C.UTF-8

results=()
failed=0
for sanitizer in "${@:-address thread undefined}"; do
  for name in $sanitizer; do
    folder=.build-$name
    log=$folder.log
    # Static linking with lld: gold, the default on Linux, fails on the sanitizer's debug information.
    flags=(-c release --build-path "$folder" -Xswiftc -use-ld=lld)
    if [ "$name" = undefined ]; then
      # Swift's own arithmetic traps as it is, and its compiler has no such sanitizer here: C is left.
      flags+=(-Xcc -fsanitize=undefined -Xcc -fsanitize-trap=undefined)
    else
      flags+=(--sanitize "$name")
      if [ "$name" = thread ]; then flags+=(-Xswiftc -DTHREAD_SANITIZER); fi
    fi
    # A finding ends the process, and the tests with it; undefined behaviour does by a trap.
    export ASAN_OPTIONS=abort_on_error=1:detect_leaks=0:allocator_may_return_null=1
    export TSAN_OPTIONS=halt_on_error=1:suppressions=$PWD/Tests/Release/thread.supp
    export INGOT_SANITIZER=$name
    start=$SECONDS
    status=0
    nice swift build "${flags[@]}" --build-tests >"$log" 2>&1 || status=$?
    if [ $status != 0 ]; then
      tail -n 40 "$log"
      results+=("$name: does not build")
      failed=1
      continue
    fi
    built=$((SECONDS - start))
    nice swift test "${flags[@]}" --skip-build ${FILTER:+--filter "$FILTER"} >>"$log" 2>&1 || status=$?
    found=$(grep -cE '(ERROR|WARNING): (Address|Thread|Leak)Sanitizer' "$log" || true)
    summary=$(grep -E 'Test run with' "$log" | tail -n 1 | sed 's/^[^T]*//' || true)
    results+=("$name: $found findings; ${summary:-the tests did not end}; build $built s, tests $((SECONDS - start - built)) s")
    if [ $status != 0 ] || [ "$found" != 0 ]; then
      failed=1
      grep -E '(ERROR|WARNING): (Address|Thread|Leak)Sanitizer|✘|Fatal error|unexpected signal' "$log" | head -n 40
    fi
  done
done
printf '%s\n' "${results[@]}"
exit $failed
