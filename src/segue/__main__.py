"""``python -m segue`` and ``segue`` are the command line."""

from segue.cli.signals import listen, stop_listening


def main() -> None:
    """Run the command line; signals are reported from here on, before anything heavy is imported."""
    listen()
    try:
        from segue.cli.main import main as command_line

        command_line()
    finally:
        stop_listening()


if __name__ == "__main__":
    main()
