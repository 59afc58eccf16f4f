"""The console script."""

from __future__ import annotations


def main() -> None:
    """Runs the command line; ends the process with an exit code of `mmcli.errors.ExitCode`."""
    from mmcli.cli import app

    app()


if __name__ == "__main__":
    main()
