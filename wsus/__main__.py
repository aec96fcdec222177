"""The `wsus` command, also as `python -m wsus`. Ctrl-C while Python still imports ends it without a traceback."""

from __future__ import annotations

import os
import signal


def main() -> None:
    """As `wsus.cli.main`, which owns the signals from its first line on."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from wsus.cli import main as command

    command()


if __name__ == "__main__":
    main()
