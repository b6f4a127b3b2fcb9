"""What a command and a warm process tell each other: JSON behind its length, the first message with open files."""

import json
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any

LENGTH = struct.Struct("!I")


def send(connection: socket.socket, content: Any, streams: Sequence[int] = ()) -> None:
    """Send ``content``, and open files by their descriptors."""
    text = json.dumps(content).encode()
    socket.send_fds(connection, [LENGTH.pack(len(text))], streams)
    connection.sendall(text)


def receive(connection: socket.socket) -> tuple[Any, list[int]]:
    """The next message with its open files; `EOFError` where the other side has ended."""
    head, streams, _, _ = socket.recv_fds(connection, LENGTH.size, 3)
    try:
        (length,) = LENGTH.unpack(head + _read(connection, LENGTH.size - len(head)))
        return json.loads(_read(connection, length)), streams
    except BaseException:
        for stream in streams:  # a pipe that is open here would never end
            os.close(stream)
        raise


def _read(connection: socket.socket, length: int) -> bytes:
    parts = []
    while length:
        part = connection.recv(min(length, 1 << 16))
        if not part:
            raise EOFError("the other side has ended")
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def peer(connection: socket.socket) -> tuple[int, int]:
    """Process and user on the other side, as the kernel knows them; a listener's are those of who made it."""
    credentials = struct.Struct("3i")
    process, user, _ = credentials.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size)
    )
    return process, user
