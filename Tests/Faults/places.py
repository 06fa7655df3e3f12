"""Where results go: full disks and devices, closed pipes, folders without rights, size limits."""

import os
import shutil
import subprocess
import tempfile

from bench import limit_file_size, without_rights


def run(bench, totals, everything):
    streams(bench, totals)
    if not bench.command.outputs and not bench.command.after:
        return
    # What only gives names needs no room.
    if bench.command.unfinished:
        read_only(bench, totals)
        return
    largest = max(len(contents) for contents in bench.good.values())
    for share in (0.0, 0.3, 0.9) if everything else (0.3,):
        bench.reset_outputs()
        result = bench.run(before=limit_file_size(int(largest * share)))
        # A small output may fit.
        wrong = bench.judge(result, {74})
        totals.add("file size limit", f"{bench.command.name}, limit {share}", wrong)
    read_only(bench, totals)
    small_disk(bench, totals)


def streams(bench, totals):
    """Nobody reads the result, or nothing can take it."""
    prints = bench.counts.get("stdout", 0) > 0
    for name in ("closed pipe", "full device", "closed stream", "closed error stream"):
        bench.reset_outputs()
        options = {}
        opened = []
        if name == "closed pipe":
            reader, writer = os.pipe()
            os.close(reader)
            opened.append(writer)
            options["stdout"] = writer
        elif name == "full device":
            opened.append(os.open("/dev/full", os.O_WRONLY))
            options["stdout"] = opened[-1]
        elif name == "closed stream":
            options["before"] = lambda: os.close(1)
        else:
            options["before"] = lambda: os.close(2)
        result = bench.run(**options)
        for descriptor in opened:
            os.close(descriptor)
        is_result = name != "closed error stream" and prints
        wrong = bench.judge(result, {74} if is_result else {bench.command.good},
                            quiet=name == "closed pipe")
        if name == "closed pipe" and prints and result.error.count("error:"):
            wrong.append(f"complains: {result.error}")
        totals.add(name, f"{bench.command.name}, {name}", wrong)


def read_only(bench, totals):
    bench.reset_outputs()
    os.chmod(bench.root, 0o755)
    os.chmod(bench.out, 0o555)
    result = bench.run(before=without_rights)
    os.chmod(bench.out, 0o755)
    wrong = bench.judge(result, {73})
    totals.add("read-only folder", f"{bench.command.name}, read-only folder", wrong)


def small_disk(bench, totals):
    """A disk that is full before the output is whole."""
    folder = tempfile.mkdtemp(prefix="ingot-small-")
    total = sum(len(contents) for contents in bench.good.values())
    size = max(16384, total // 2)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
    if mounted.returncode != 0:
        os.rmdir(folder)
        if not any("tmpfs" in note for note in totals.notes):
            totals.note("no right to mount a small tmpfs: the full disk is left out")
        return
    try:
        kept = bench.out
        bench.out = os.path.join(folder, "out")
        bench.reset_outputs()
        result = bench.run()
        # What replaces a file needs room beside it.
        fits = total < size
        wrong = bench.judge(result, {bench.command.good, 74} if fits else {74})
        totals.add("full disk", f"{bench.command.name}, disk of {size} bytes", wrong)
        bench.out = kept
    finally:
        subprocess.run(["umount", folder], check=False)
        shutil.rmtree(folder, ignore_errors=True)
