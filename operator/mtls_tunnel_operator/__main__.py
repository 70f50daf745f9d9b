"""`python -m mtls_tunnel_operator`."""

import sys

from mtls_tunnel_operator.app.cli import main

sys.exit(main())
