#!/usr/bin/env bash
# Runs every test in builds that watch memory, threads and undefined behaviour: before a release.
#
#   usage: sanitize.sh [address|thread|undefined ...]      all three if none is named
#          FILTER=ByteIOTests sanitize.sh address          some tests only
#
# Swift and C are both watched, at the optimisation of a release: without it the kernels take hours. The
# address sanitizer also sees what was freed and used again, and leaks at the end of every command.
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
    flags=(-c release --build-path "$folder" --sanitize "$name" -Xswiftc -use-ld=lld)
    # A finding ends the process, so that the test that met it fails.
    export ASAN_OPTIONS=abort_on_error=1:detect_leaks=0:allocator_may_return_null=1
    export TSAN_OPTIONS=halt_on_error=1:suppressions=$PWD/Tests/Release/thread.supp
    export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
    if [ "$name" = undefined ]; then flags+=(-Xcc -fno-sanitize-recover=undefined); fi
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
    found=$(grep -cE '(ERROR|WARNING): (Address|Thread|Leak)Sanitizer|runtime error:' "$log" || true)
    summary=$(grep -E 'Test run with' "$log" | tail -n 1 | sed 's/^[^T]*//')
    results+=("$name: $found findings; ${summary:-the tests did not end}; build $built s, tests $((SECONDS - start - built)) s")
    if [ $status != 0 ] || [ "$found" != 0 ]; then
      failed=1
      grep -E '(ERROR|WARNING): (Address|Thread|Leak)Sanitizer|runtime error:|✘|Fatal error' "$log" | head -n 40
    fi
  done
done
printf '%s\n' "${results[@]}"
exit $failed
