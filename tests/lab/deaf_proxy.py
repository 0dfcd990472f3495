"""A TCP proxy before a libvirtd that goes dumb at the worst instant: the reply to a migration's Finish never gets out.

Run inside a host with the standard library alone: it listens on the port given and forwards to the host's libvirtd.
From the first Finish call on it still forwards what the client says, and swallows every answer, the keepalive's too.
Told to "kill", it kills the libvirtd instead, as soon as that answers the Finish: all is done by then, and nobody told.

libvirt's messages begin with length, program, version, procedure (four bytes each); Finish3 with parameters is
procedure 306 of the remote program 0x20008086 (src/remote/remote_protocol.x).
"""

import contextlib
import os
import socket
import struct
import subprocess
import sys
import threading

FINISH3_PARAMS = 306
PROGRAM = 0x20008086
IS_KILLING = sys.argv[2:] == ["kill"]


def serve(port: int) -> None:
    listener = socket.create_server(("", port))
    print(os.getpid(), flush=True)
    while True:
        client, _ = listener.accept()
        server = socket.create_connection(("127.0.0.1", 16509))
        deaf = threading.Event()
        threading.Thread(target=listen, args=(client, server, deaf), daemon=True).start()
        threading.Thread(target=answer, args=(server, client, deaf), daemon=True).start()


def listen(client: socket.socket, server: socket.socket, deaf: threading.Event) -> None:
    """Whole messages, so that the one that matters is known before it is passed on."""
    reader = client.makefile("rb")
    while len(header := reader.read(16)) == 16:
        length, program, _, procedure = struct.unpack(">IIII", header)
        if (program, procedure) == (PROGRAM, FINISH3_PARAMS):
            print("finish", flush=True)
            deaf.set()
        server.sendall(header + reader.read(length - 16))
    if not deaf.is_set():
        server.close()


def answer(server: socket.socket, client: socket.socket, deaf: threading.Event) -> None:
    with contextlib.suppress(ConnectionError):
        while data := server.recv(1 << 16):
            if not deaf.is_set():
                client.sendall(data)
            elif IS_KILLING:
                subprocess.run("kill -9 $(pidof libvirtd)", shell=True, check=True)
                break
    if IS_KILLING or not deaf.is_set():
        client.shutdown(socket.SHUT_RDWR)
        client.close()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
