"""Every call to the file system fails, one at a time and in every way that it can."""

# call → what happens to it. The first of each is what `ci` does.
FAULTS = {
    "open": ["EIO", "EINTR", "EMFILE", "EACCES", "ESTALE"],
    "pread": ["EIO", "one", "EINTR", "half", "ESTALE"],
    "read": ["EIO", "EINTR", "one"],
    "pwrite": ["ENOSPC", "one", "EIO", "EINTR", "half", "EDQUOT", "EFBIG"],
    "ftruncate": ["ENOSPC", "EINTR", "EIO"],
    "fsync": ["EIO", "EINTR", "ENOSPC", "EDQUOT"],
    "rename": ["EIO", "EACCES", "ENOSPC", "EBUSY"],
    "unlink": ["EIO", "EBUSY"],
    "close": ["EIO", "EINTR", "ENOSPC"],
    "stat": ["EIO", "EACCES", "ESTALE"],
    "fstat": ["EIO", "ESTALE"],
    "statvfs": ["EIO", "ENOSYS"][:1],
    "opendir": ["EACCES", "EIO", "EMFILE"],
    "readdir": ["EIO"],
    "fadvise": ["EINVAL", "EIO"],
    "flock": ["ENOLCK", "EINTR"],
    "access": ["EACCES"],
    "realpath": ["EACCES"],
    "stdout": ["ENOSPC", "EINTR", "one", "EIO", "half"],
}

# What nobody may notice.
INVISIBLE = {"EINTR", "one", "half"}

# call → exit statuses besides 0, which is right where the call was not needed.
STATUSES = {
    "open": {73, 74}, "pread": {74}, "read": {74}, "pwrite": {74}, "ftruncate": {74},
    "fsync": {74}, "rename": {74}, "stdout": {74}, "fstat": {73, 74}, "stat": {65, 66, 73, 74},
    "opendir": {74}, "readdir": {65, 66, 74}, "access": {73}, "statvfs": {74},
}

# Calls whose failure a command may survive: a hint, a lock, the removal of what a killed run left,
# a folder's sync, the closing of a file that is synced.
SURVIVED = {
    "unlink", "close", "fadvise", "flock", "statvfs", "opendir", "readdir", "stat", "realpath",
    "access", "open", "fsync", "fstat",
}


def allowed(bench, call, what, repeat=False):
    good = bench.command.good
    if what in INVISIBLE:
        return {good}
    statuses = set(STATUSES.get(call, set()))
    # What cannot be read back counts as missing.
    if call in ("open", "pread", "read", "stat", "fstat", "lstat"):
        statuses |= bench.command.others
    # Whether a file is packed is looked at before it is opened: the read that counts comes again,
    # and what comes out of it is compared. A disk that stays dead is never survived.
    if call in SURVIVED or call == "pread" and not repeat:
        statuses.add(good)
    return statuses


def run(bench, totals, everything):
    for call, faults in FAULTS.items():
        count = bench.counts.get(call, 0)
        if not count:
            continue
        for what in faults if everything else faults[:2]:
            if what in INVISIBLE:
                inject(bench, totals, call, 0, what)
            for at in chosen(count, everything, what):
                inject(bench, totals, call, at, what)
        # From one call on nothing works any more, as on a disk that died.
        if call in ("pread", "pwrite", "fsync") and everything:
            for at in (1, max(1, count // 2)):
                inject(bench, totals, call, at, faults[0], repeat=True)
    check_order(bench, totals)


def chosen(count, everything, what):
    """Every call, or for `ci` a dozen of them with both ends."""
    if what in ("one", "half", "EINTR") and count > 40:
        step = max(1, count // 20)
        return sorted(set(list(range(1, count + 1, step)) + [count]))
    if everything or count <= 6:
        return range(1, count + 1)
    return sorted({1, 2, count // 3, count // 2, count - 1, count})


def inject(bench, totals, call, at, what, repeat=False):
    bench.reset_outputs()
    result = bench.run(call, at, what, repeat=repeat)
    injected = result.report.get("injected", (1,))[0]
    label = f"{bench.command.name}, {call} {at or 'all'} {what}{' on' if repeat else ''}"
    statuses = allowed(bench, call, what, repeat) if injected else {bench.command.good}
    wrong = bench.judge(result, statuses)
    if call == "unlink" and result.status == bench.command.good:
        wrong = [text for text in wrong if "leaves" not in text]
    if result.status == 73 and "cannot create" not in result.error:
        wrong.append(f"73 without a file that cannot be created: {result.error}")
    if bench.left_over():
        wrong += bench.go_on()
    wrong += bench.complete()
    totals.add(f"{call}: {what}", label, wrong, min(injected, 1))


def check_order(bench, totals):
    """Data is on disk before its name changes, and the name before the command says so."""
    order = bench.order
    if not bench.command.outputs:
        return
    wrong = []
    last_write, renames, syncs = order["pwrite"][2], order["rename"], order["fsync"]
    if not last_write < syncs[2]:
        wrong.append("writes after the last sync")
    if not syncs[1] < renames[1]:
        wrong.append("renames before any sync")
    if not renames[2] < syncs[2]:
        wrong.append("does not sync the folder after the last rename")
    if order["stdout"][0] and not syncs[2] < order["stdout"][2]:
        wrong.append("says that it is done before it is")
    totals.add("order of write, fsync, rename, fsync of the folder", bench.command.name, wrong)
