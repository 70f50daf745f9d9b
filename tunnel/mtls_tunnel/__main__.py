"""`python -m mtls_tunnel` is the command `tunnel`."""

import sys

from mtls_tunnel.app.cli import main

if __name__ == "__main__":
    sys.exit(main())
