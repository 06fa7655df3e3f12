"""A folder in which one command runs again and again, each time with another fault.

Every command has inputs, outputs that exist already with other contents, and bytes that it writes
when nothing goes wrong. `judge` says what is wrong with a run.
"""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGE = os.path.dirname(os.path.dirname(HERE))
FIXTURES = os.path.join(PACKAGE, "Fixtures")
INGOT = os.environ.get("INGOT", os.path.join(PACKAGE, ".build/release/ingot"))
# Where machines do other things, too, seconds pass in which nothing happens.
TIME_LIMIT = 120
# In memory where there is such a folder: a busy disk's syncs would take most of the time.
FOLDER = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
OLD = b"what was there before\n"


def build_shim(folder):
    """Compiles faults.c."""
    path = os.path.join(folder, "faults.so")
    compiler = shutil.which("cc") or shutil.which("gcc") or "clang"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", path,
         os.path.join(HERE, "faults.c"), "-ldl"], check=True)
    return path


def resumes():
    """Whether an interrupted conversion can be gone on from in this version."""
    help_text = subprocess.run([INGOT, "convert", "--help"], capture_output=True, text=True).stdout
    return "--resume" in help_text


def wrongly_left(names, command, status):
    """Which hidden files may not stay beside the outputs of a run that ended so.

    A killed process cannot clean up; the next one with the same output does. An interrupted
    conversion, or one whose disk failed, keeps its unfinished files and a journal, if any byte of a
    tensor was done and the version can go on from there.
    """
    outputs = "|".join(re.escape(output) for output in command.outputs)
    allowed = [re.escape(name) for name in command.kept]
    if status == -signal.SIGKILL:
        allowed.append(rf"\.({outputs})\.ingot-[0-9a-z-]+\.partial")
    if command.base and command.resumes and status in (-signal.SIGKILL, 130, 74):
        journal = f".{command.base}.ingot.journal"
        if journal in names or status == -signal.SIGKILL:
            allowed += [rf"\.({outputs})\.ingot\.partial", re.escape(journal)]
    if command.after:
        allowed += [re.escape(name) for name in command.unfinished]
        if status in (-signal.SIGKILL, 130, 74):
            allowed += [re.escape(name) for name in command.parts]
    return [name for name in names if not any(re.fullmatch(rule, name) for rule in allowed)]


class Command:
    """One command line: `IN/…` and `OUT/…` in its words stand for the two folders."""

    resumes = False

    def __init__(self, name, words, inputs, outputs=(), kept=(), varies=(), hidden=(), good=0,
                 base=None, unfinished=None, untouched=(), after=(), others=(), parts=(),
                 takes_anything=False):
        self.name = name
        self.words = words
        # Name in the folder → path of the original.
        self.inputs = inputs
        self.outputs = list(outputs)
        # What a failed run may leave beside its outputs, because it can be gone on from.
        self.kept = set(kept)
        # Outputs whose bytes hold times.
        self.varies = set(varies)
        # Outputs that are not there before.
        self.hidden = set(hidden)
        self.good = good
        # What `-o` says of a conversion, which may be gone on from.
        self.base = base
        # Of a conversion in parts: name → path of what lies unfinished beside the outputs before.
        self.unfinished = dict(unfinished or {})
        # What may be there before, and is no output of this command.
        self.untouched = list(untouched)
        # Command lines that complete what this one began or was stopped at, whatever happened to it.
        self.after = list(after)
        # Whether an input that is cut off is one like any other.
        self.takes_anything = takes_anything
        # Unfinished files that it writes itself.
        self.parts = list(parts)
        # Exit statuses that failing calls may have besides.
        self.others = set(others)


class Result:
    def __init__(self, status, output, error, report, seconds):
        self.status = status
        self.output = output
        self.error = error
        # Call → (count, first, last); "injected" → count.
        self.report = report
        self.seconds = seconds


class Bench:
    def __init__(self, command, shim, folder=FOLDER):
        self.command = command
        self.command.resumes = command.base is not None and resumes()
        # Words behind the command's own, and instead of them.
        self.more = []
        self.instead = None
        self.shim = shim
        self.root = tempfile.mkdtemp(prefix="ingot-faults-", dir=folder)
        self.inputs = os.path.join(self.root, "in")
        self.out = os.path.join(self.root, "out")
        self.reset_inputs()
        self.reset_outputs()
        self.good = {}
        self.good_output = b""
        result = self.run()
        if result.status != command.good:
            raise RuntimeError(f"{command.name} fails without a fault: {result.status} {result.error}")
        self.counts = {name: values[0] for name, values in result.report.items()}
        self.order = result.report
        self.good_output = result.output
        self.good = {name: self.read(name) for name in os.listdir(self.out)}
        self.final = {}
        if command.after:
            wrong = self.complete()
            if wrong:
                raise RuntimeError(f"{command.name} cannot be completed: {wrong}")
            self.final = {name: self.read(name) for name in os.listdir(self.out)}
        missing = [name for name in command.outputs if self.good.get(name) in (None, OLD)]
        if missing:
            raise RuntimeError(f"{command.name} did not write {missing}")

    def close(self):
        shutil.rmtree(self.root)

    def read(self, name):
        path = os.path.join(self.out, name)
        if os.path.isdir(path):
            contents = b""
            for inner in sorted(os.listdir(path)):
                contents += inner.encode() + b"\0" + self.read(os.path.join(name, inner))
            return contents
        with open(path, "rb") as file:
            return file.read()

    def reset_inputs(self):
        shutil.rmtree(self.inputs, ignore_errors=True)
        os.mkdir(self.inputs)
        for name, original in self.command.inputs.items():
            target = os.path.join(self.inputs, name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copyfile(original, target)

    def reset_outputs(self):
        shutil.rmtree(self.out, ignore_errors=True)
        os.mkdir(self.out)
        for name in self.command.outputs + self.command.untouched:
            if name not in self.command.hidden:
                with open(os.path.join(self.out, name), "wb") as file:
                    file.write(OLD)
        for name, original in self.command.unfinished.items():
            shutil.copyfile(original, os.path.join(self.out, name))

    def words(self):
        words = (self.instead or self.command.words) + self.more
        return [INGOT] + [
            word.replace("IN/", self.inputs + "/").replace("OUT/", self.out + "/")
            for word in words]

    def left_over(self):
        """Whether the last run left something that `--resume` goes on from."""
        return self.command.resumes and any(
            name.endswith(".ingot.journal") for name in os.listdir(self.out))

    def go_on(self):
        """What is wrong after the same command with --resume."""
        self.more = ["--resume"]
        result = self.run()
        self.more = []
        return [f"--resume: {text}" for text in self.judge(result, {self.command.good})]

    def complete(self):
        """What is wrong after the commands that complete this one's work: the same files, always."""
        wrong = []
        for words in self.command.after:
            self.instead = words
            result = self.run()
            self.instead = None
            if result.status != 0:
                wrong.append(f"then {words[0]}: {result.status} {result.error}")
        found = {name: self.read(name) for name in os.listdir(self.out)}
        if self.final and found != self.final:
            names = [name for name in sorted(set(found) | set(self.final))
                     if found.get(name) != self.final.get(name)]
            wrong.append(f"completed, differs in {names}")
        return wrong

    def run(self, call=None, at=0, do=None, target=None, repeat=False, **options):
        """Runs the command, with a fault if a call is named."""
        report = os.path.join(self.root, "report")
        if os.path.exists(report):
            os.remove(report)
        environment = dict(
            os.environ, LD_PRELOAD=self.shim, INGOT_FAULT_ROOT=self.root,
            INGOT_FAULT_REPORT=report, SWIFT_BACKTRACE="enable=no")
        if call:
            environment.update(
                INGOT_FAULT_CALL=call, INGOT_FAULT_AT=str(at), INGOT_FAULT_DO=do,
                INGOT_FAULT_REPEAT="1" if repeat else "0")
        if target:
            environment["INGOT_FAULT_TARGET"] = os.path.join(self.inputs, target)
        return self.execute(environment, report, **options)

    def execute(self, environment, report=None, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                kill_after=None, before=None):
        start = time.monotonic()
        process = subprocess.Popen(
            self.words(), cwd="/", env=environment, stdin=subprocess.DEVNULL, stdout=stdout,
            stderr=stderr, preexec_fn=before)
        if kill_after:
            number, seconds = kill_after
            time.sleep(seconds)
            process.send_signal(number)
        try:
            output, error = process.communicate(timeout=TIME_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            output, error = process.communicate()
            error = (error or b"") + b"\n(hangs)"
            return Result(None, output, error.decode(), {}, TIME_LIMIT)
        values = {}
        if report and os.path.exists(report):
            with open(report) as file:
                for line in file:
                    name, *numbers = line.split()
                    values[name] = tuple(int(number) for number in numbers)
        return Result(
            process.returncode, output, (error or b"").decode("utf-8", "replace"), values,
            time.monotonic() - start)

    def judge(self, result, allowed, quiet=False):
        """What is wrong with a run.

        - allowed: exit statuses.
        - quiet: whether a failure may be without a message (its reader has gone away).
        """
        wrong = []
        command = self.command
        if result.status is None:
            return ["hangs"]
        if result.status not in allowed:
            wrong.append(f"status {result.status}, not {sorted(allowed)}")
        lines = [line for line in result.error.splitlines() if line]
        errors = [line for line in lines if line.startswith("error: ")]
        others = [
            line for line in lines
            if not re.match(r"error: |note: |warning: ", line) and not line.startswith("{")]
        if others:
            wrong.append(f"says {others[:2]}")
        is_failure = result.status not in (command.good, -signal.SIGKILL)
        # What is missing or damaged has a line each.
        several = 1 in command.others and result.status == 1 and errors
        if is_failure and len(errors) != 1 and not quiet and not several:
            wrong.append(f"{len(errors)} errors: {errors[:3]}")
        if not is_failure and errors:
            wrong.append(f"ends with {result.status}, but says {errors[:3]}")
        if not command.outputs and not command.after and result.status == command.good and (
                result.output is not None):
            if result.output != self.good_output:
                wrong.append("prints something else")
        found = set(os.listdir(self.out))
        for name in command.outputs:
            present = name in found
            found.discard(name)
            if not present:
                # The first part of an old set is removed before the parts of a new one get names.
                journals = [name for name in found if name.endswith("journal")]
                is_between = journals and len(command.outputs) > 1
                if name not in command.hidden and not is_between or result.status == command.good:
                    wrong.append(f"{name} is gone")
                continue
            bytes_ = self.read(name)
            is_old = bytes_ == OLD and name not in command.hidden
            is_new = self.is_whole(name, bytes_)
            if not is_new and (not is_old or result.status == command.good):
                wrong.append(f"{name} is {'old' if is_old else 'broken'} after {result.status}")
        for name in command.untouched:
            if name not in found or self.read(name) != OLD:
                wrong.append(f"{name} was touched")
            found.discard(name)
        if result.status == command.good:
            found -= set(self.good)
        wrong += [f"leaves {name}" for name in wrongly_left(sorted(found), command, result.status)]
        return wrong

    def is_whole(self, name, contents):
        good = self.good.get(name)
        if good is not None and contents.startswith(b"INGOTREF"):
            # Figures of a forward pass in two threads vary in their last digits; the end is a CRC-32.
            stored = int.from_bytes(contents[-4:], "little")
            return len(contents) == len(good) and zlib.crc32(contents[:-4]) == stored
        if name in self.command.kept:
            # Measurements are kept as far as they got, and hold figures of forward passes.
            try:
                return json.loads(contents)["format"] == json.loads(good)["format"]
            except (ValueError, KeyError, TypeError):
                return False
        if name not in self.command.varies:
            return contents == good
        # The same text but for its numbers.
        def shape(text):
            return re.sub(rb"[0-9.e+-]+( ?(MB|kB|GB|ms|s|MiB|GiB|B))?", b"#", text)
        return good is not None and shape(contents) == shape(good)


def limit_file_size(byte_count):
    """For `before`: no file may grow larger."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (byte_count, byte_count))


def without_rights():
    """For `before`: another user, where we are root."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
