"""The certificates of one run, and the OpenSSL settings that the generator and the backend live under.

One ECDSA P-256 CA, one leaf for each side.  The suite and the key exchange group are fixed at the two ends of the
measurement rather than in each peer's configuration: so a newer OpenSSL's post-quantum default is not compared
with an older one's classic group, and no peer can be configured differently by mistake.
"""

from pathlib import Path

import trustme

from bench.streams import GROUP, HOST, SERVER_NAME, SUITE

_SETTINGS = f"""openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = ends
[ends]
Ciphersuites = {SUITE}
Groups = {GROUP}
"""


def write(folder: Path) -> None:
    """Make ca.pem, server.pem, client.pem with their keys (and both in one file, as HAProxy wants it) and ends.cnf."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    for name in ("server", "client"):
        leaf = authority.issue_cert(SERVER_NAME, HOST, common_name=name, key_type=trustme.KeyType.ECDSA)
        leaf.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
        leaf.private_key_pem.write_to_path(folder / f"{name}-key.pem")
        leaf.private_key_and_cert_chain_pem.write_to_path(folder / f"{name}-both.pem")
        (folder / f"{name}-key.pem").chmod(0o600)
    settings_file(folder).write_text(_SETTINGS)


def settings_file(folder: Path) -> Path:
    """Where the value of OPENSSL_CONF for the ends stands."""
    return folder / "ends.cnf"
