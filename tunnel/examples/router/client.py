"""Talk to a host behind the router: each line of standard input goes there, the line that comes back is printed.

    echo hello | python client.py test-host-01 user-456

Whom it asks for is in the server name, who asks in the certificate; nothing else is sent before the first byte.
"""

import argparse
import socket
import ssl
import sys

DOMAIN = "connect.tinyscale.com"


def connect(router: str, connect_id: str, user: str, certs: str) -> ssl.SSLSocket:
    """A connection to the host, as *user*, whose certificate and key lie in *certs*."""
    tls = ssl.create_default_context(cafile=f"{certs}/ca.pem")
    tls.load_cert_chain(f"{certs}/{user}.pem", f"{certs}/{user}-key.pem")
    host, _, port = router.rpartition(":")
    return tls.wrap_socket(socket.create_connection((host, int(port))), server_hostname=f"{connect_id}.{DOMAIN}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("connect_id")
    parser.add_argument("user")
    parser.add_argument("--router", default="127.0.0.1:8443", metavar="HOST:PORT")
    parser.add_argument("--certs", default="certs", metavar="DIR")
    args = parser.parse_args()
    connection = connect(args.router, args.connect_id, args.user, args.certs)
    with connection, connection.makefile("rwb") as lines:
        for line in sys.stdin.buffer:
            lines.write(line)
            lines.flush()
            answer = lines.readline()
            if not answer:
                # A refusal has no words: an unknown host and a forbidden one must look the same.
                sys.exit(f"{args.connect_id}: closed; does it exist, and may {args.user} reach it?")
            print(answer.decode(), end="", flush=True)


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"refused: {error}")
