"""``python -m segue`` is the command line."""

from segue.cli.main import main

main()
