"""A backend that knows nothing of TLS: each line comes back as "echo: LINE".

python echo-server.py -addr 127.0.0.1:8080
"""

import argparse
import socketserver


class Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        try:
            for line in self.rfile:
                self.wfile.write(b"echo: " + line)
        except ConnectionError:
            return  # the client has gone; the next one is served all the same


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-addr", default="127.0.0.1:8080", metavar="HOST:PORT")
    address = parser.parse_args().addr
    host, _, port = address.rpartition(":")
    with Server((host, int(port)), Echo) as server:
        print(f'level=INFO msg="echo server listening" addr={address}', flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
