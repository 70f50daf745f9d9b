"""An application on the client's side: what it accepts, it sends to the tunnel, and back.

    python test-client.py -listen 127.0.0.1:7070 -tunnel 127.0.0.1:9080

The end of input is passed on in both directions, so `echo hello | nc -N 127.0.0.1 7070` ends by itself.
"""

import argparse
import contextlib
import socket
import socketserver
import threading


class Forward(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Server)
        with socket.create_connection(self.server.tunnel) as tunnel:
            back = threading.Thread(target=copy, args=(tunnel, self.request))
            back.start()
            copy(self.request, tunnel)
            back.join()


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, listen: tuple[str, int], tunnel: tuple[str, int]) -> None:
        super().__init__(listen, Forward)
        self.tunnel = tunnel


def copy(source: socket.socket, sink: socket.socket) -> None:
    """Copy until the source ends, then end the sink's input."""
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            sink.sendall(chunk)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def pair(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-listen", default="127.0.0.1:7070", metavar="HOST:PORT")
    parser.add_argument("-tunnel", default="127.0.0.1:9080", metavar="HOST:PORT")
    args = parser.parse_args()
    with Server(pair(args.listen), pair(args.tunnel)) as server:
        print(f'level=INFO msg="test-client listening" listen={args.listen} tunnel={args.tunnel}', flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
