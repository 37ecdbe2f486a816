"""The address of a server."""

from __future__ import annotations

import errno
import socket

from segue.errors import InputError


def listen(host: str, port: int) -> socket.socket:
    """Take an address; connections are refused until the server has begun.

    Raises:
        InputError: it is in use, may not be used, or is no address of this machine.
    """
    taken = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((host, port))
    except OSError as error:
        taken.close()
        raise unavailable(host, port, error) from error
    return taken


def unavailable(host: str, port: int, error: OSError) -> InputError:
    """Return the error of an address that cannot be used."""
    if error.errno == errno.EADDRINUSE:
        return InputError(f"port {port} of {host} is in use", got="another process listens there",
                          fix="stop it, or choose another port; --port 0 takes any free one")  # fmt: skip
    return InputError(f"cannot listen on {host}, port {port}", got=error.strerror or str(error),
                      fix="choose an address of this machine (--host) and a port above 1023 (--port)")  # fmt: skip


def address_of(listening: socket.socket) -> str:
    """Return the address of the server as a URL."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
