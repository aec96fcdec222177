"""`python -m wsus` is the `wsus` command, where no script of that name is on the path."""

from wsus.cli import main

main()
