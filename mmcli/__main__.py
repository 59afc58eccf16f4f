"""The console script."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from mmcli.errors import ExitCode


def main() -> None:
    """Runs the command line; ends the process with an exit code of `mmcli.errors.ExitCode`."""
    from mmcli.artifacts import processes
    from mmcli.cli import troubles

    processes.follow()
    processes.wait_asleep()
    for name in ("SIGTERM", "SIGHUP"):  # as Ctrl-C; those that nohup lets be ignored stay so
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    closed = troubles.open_streams()
    if closed:
        _end(f"{closed} is closed: what mmcli says would be lost", "Let it go nowhere instead: > /dev/null, 2> /dev/null")
    _run()


def _run() -> None:
    from mmcli.cli import app, errors, troubles

    code: object = ExitCode.DONE
    try:
        app()
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:
        _end(*errors.INTERRUPTED, ExitCode.INTERRUPTED)
    except OSError as error:  # help that nobody takes
        found = troubles.trouble_of(error)
        if found is None:
            raise
        _end(*found)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            _end(*(troubles.trouble_of(error) or (str(error), "")))
    sys.exit(code)  # type: ignore[arg-type]


def _end(message: str, remedy: str, code: ExitCode = ExitCode.FAILED) -> NoReturn:
    """Says it where anybody takes it; nothing is left for Python to flush."""
    said = f"error: {message}\n{remedy}\n".encode()
    for number in (2, 1):
        try:
            if not os.path.samestat(os.fstat(number), Path(os.devnull).stat()):
                os.write(number, said)
                break
        except OSError:
            continue
    os._exit(code)


if __name__ == "__main__":
    main()
