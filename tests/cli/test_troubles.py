"""A full disk, too little memory, output that nobody takes, signals: each is called what it is."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmcli.artifacts.lock import alone
from mmcli.cli import troubles
from mmcli.errors import BusyError, ExitCode
from tests.faults.tiny import call

MMCLI = f"{sys.executable} -m mmcli"


def shell(line: str) -> tuple[int, str]:
    """Exit code, and what is said on both streams, of a line of bash."""
    made = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    return made.returncode, made.stdout + made.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
@pytest.mark.parametrize(
    ("line", "says"),
    [
        (f"{MMCLI} list fusions > /dev/full", "standard output cannot be written to: No space left on device"),
        (f"{MMCLI} status -a /nowhere 2> /dev/full", "standard error cannot be written to: No space left on device"),
        (f"{MMCLI} list fusions >&-", "standard output is closed"),
        (f"{MMCLI} list fusions 2>&-", "standard error is closed"),
        (f"(sleep 0.5; {MMCLI} list --json) | true; exit ${{PIPESTATUS[0]}}", "standard output is a broken pipe"),
    ],
)
def test_output_that_nobody_takes(line: str, says: str) -> None:
    code, said = shell(line)
    assert code == ExitCode.FAILED
    assert says in said
    assert "/dev/null" in said or "> FILE" in said
    assert "Traceback" not in said
    assert "bug" not in said


@pytest.mark.parametrize(
    ("error", "says", "remedy"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "x/y"), "the disk is full where x/y lies", "df -h"),
        (OSError(errno.EIO, "Input/output error"), "the disk does not work", "--artifacts"),
        (OSError(errno.ENOSPC, "No space left on device", "x/.p.csv.partial"), "full where x/p.csv lies: No space", "df -h"),
        (
            OSError(errno.EROFS, "Read-only file system", "ro/.p3.csv.partial"),
            "error: ro/p3.csv cannot be written: the file system there is read-only",
            "To write elsewhere: --artifacts DIR, -o FILE for a table, --to DIR for an export.",
        ),
        (OSError(errno.EROFS, "Read-only file system", "ro/.locks/fusions.lock"), "error: ro cannot be written", "--artifacts"),
        (OSError(errno.EROFS, "Read-only file system", "ro/.export-x1/a"), "error: ro cannot be written", "--to DIR"),
        (OSError(errno.EROFS, "Read-only file system", "a/.e.partial/x"), "error: a/e/x cannot be written", "--artifacts"),
        (
            PermissionError(errno.EACCES, "Permission denied", Path(".p3.csv.partial")),
            "error: p3.csv may not be read or written: Permission denied",
            "Change its permissions (ls -l tells them). To write elsewhere: --artifacts DIR",
        ),
        (OSError(errno.EMFILE, "Too many open files"), "too many files are open", "ulimit -n"),
        (MemoryError(), "there is too little memory: MemoryError", "ulimit -v"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9"),
            "there is too little memory",
            "batch_size",
        ),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "there is too little memory", "ulimit -v"),
    ],
)
def test_what_is_wrong_with_the_machine_is_no_bug(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, says: str, remedy: str
) -> None:
    from mmcli.stages import status

    def fail(*_: object) -> None:
        raise ValueError("as it came out") from error

    monkeypatch.setattr(status, "run", fail)
    code, output = call("status", "-a", tmp_path)
    assert code == ExitCode.FAILED
    said = " ".join(output.split())
    assert says in said
    assert remedy in said
    assert "bug" not in said


def test_a_bug_says_where_its_log_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from mmcli.stages import status

    def fail(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(status, "run", fail)
    monkeypatch.setenv("MMCLI_CACHE", str(tmp_path / "cache"))
    _, output = call("status", "-a", tmp_path)
    (log,) = (tmp_path / "cache").iterdir()
    assert str(log) in output.replace("\n", "")
    assert "docs/security.md" in output
    text = log.read_text()
    assert "ZeroDivisionError: oops" in text
    assert "Traceback" in text
    assert text.startswith("mmcli ")


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there are no such signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_end_like_ctrl_c(tmp_path: Path, number: int) -> None:
    program = (
        "import sys, time\nfrom mmcli.stages import status\nfrom mmcli.__main__ import main\n"
        "def run(*_): print('begun', flush=True); time.sleep(60)\n"
        f"status.run = run\nsys.argv = ['mmcli', 'status', '-a', {str(tmp_path)!r}]\nmain()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # where nohup runs the tests it is ignored, as it should be
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(number)
    _, said = process.communicate()
    assert process.returncode == ExitCode.INTERRUPTED
    assert "interrupted" in said
    assert "goes on from the last checkpoint" in said


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no kill -9")
def test_no_worker_outlives_its_parent() -> None:
    """Killed with -9, a parent tells nobody; the worker holds the pipe open until it ends."""
    worker = "from mmcli.artifacts import processes; processes.follow(); import time; print('on', flush=True); time.sleep(300)"
    program = (
        "import subprocess, sys, time\nfrom mmcli.artifacts import processes\n"
        f"subprocess.Popen([sys.executable, '-c', {worker!r}], env=processes.environment())\ntime.sleep(300)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "on\n"
        parent.kill()
        began = time.monotonic()
        assert parent.stdout.read() == ""  # the end of the pipe: nobody has it open
        assert time.monotonic() - began < 60


def test_a_file_is_written_by_one_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / ".p.csv.partial"
    with (
        alone(path, "p.csv"),
        pytest.raises(BusyError, match=r"p\.csv is being written by another process"),
        alone(path, "p.csv"),
    ):
        pass
    with alone(path, "p.csv"):
        path.rename(tmp_path / "p.csv")
        with alone(path, "p.csv"):  # the name is free again
            pass


def test_streams_say_which_they_are() -> None:
    stream = troubles._Stream(os.open(os.devnull, os.O_RDONLY), "standard output")
    with pytest.raises(OSError, match="standard output") as caught:
        stream.write(b"x")
    found = troubles.trouble_of(caught.value)
    assert found is not None
    assert found[0].startswith("standard output cannot be written to")


def test_a_folder_that_would_lie_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.touch()
    for path in (file, file / "x" / ".locks"):
        found = troubles.trouble_of(NotADirectoryError(errno.ENOTDIR, "Not a directory", str(path)))
        assert found == (f"{file} is a file, and a folder is to be there", "Name a folder, or move the file away.")
    assert troubles.trouble_of(NotADirectoryError(errno.ENOTDIR, "Not a directory", str(tmp_path / "no"))) is None
