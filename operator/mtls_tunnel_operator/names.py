"""Names that users, tests and other programs rely on, and the rules that make names of objects.

Everything here is fixed by the product's contract: a changed name is a breaking change.  Hashes make a
name unique where the readable part may be cut or repeated.
"""

import hashlib

GROUP = "mtlstunnel.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
TUNNELS = "mtlstunnels"
DOMAINS = "mtlstrustdomains"

# On Namespaces, by those who may write them.
INJECTION_LABEL = f"{GROUP}/injection"
ENABLED = "enabled"
ACCEPT_ANNOTATION = f"{GROUP}/accept-tunnels-from"

# Never injected, whatever their labels; nor is the operator's own.
SYSTEM_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease"})

# On pods.
INJECT_LABEL = f"{GROUP}/inject"  # "false" opts out, "true" refuses the pod until it can be injected
INJECTED_LABEL = f"{GROUP}/injected"
TUNNELS_ANNOTATION = f"{GROUP}/tunnels"
REVISION_ANNOTATION = f"{GROUP}/revision"
RESTART_ANNOTATION = f"{GROUP}/restart"
SERVER_LABEL_PREFIX = f"server.{GROUP}/"
DEFAULT_CONTAINER_ANNOTATION = "kubectl.kubernetes.io/default-container"

# On trust domains.
ROTATE_ANNOTATION = f"{GROUP}/rotate"
COMPROMISED_ANNOTATION = f"{GROUP}/compromised"

# On what the operator writes.
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "mtls-tunnel"
TUNNEL_LABEL = f"{GROUP}/tunnel"
TUNNEL_NAMESPACE_LABEL = f"{GROUP}/tunnel-namespace"
ROLE_LABEL = f"{GROUP}/role"
OWNER_LABEL = f"{GROUP}/owner-uid"
DOMAIN_ANNOTATION = f"{GROUP}/trust-domain"  # name of the MtlsTrustDomain that signed a leaf
ISSUER_ANNOTATION = f"{GROUP}/issuer-fingerprint"  # SHA-256 of the CA that signed it, hex
BUNDLE_ANNOTATION = f"{GROUP}/bundle-fingerprint"  # SHA-256 over the CAs in ca.crt, hex
RENEWAL_ANNOTATION = f"{GROUP}/renewal-time"  # RFC 3339
CONTENT_ANNOTATION = f"{GROUP}/content"  # SHA-256 of the manifest as applied
CLIENT_LABEL = f"{GROUP}/client"  # name of the client entry
ACCOUNT_ANNOTATION = f"{GROUP}/service-account"  # with certificate.subject PerServiceAccount
SERVED_ANNOTATION = f"{GROUP}/served"  # JSON: which ports a server's ConfigMap opens, and since when
DIALED_ANNOTATION = f"{GROUP}/dialed"  # JSON: where a client's ConfigMap leads

# On the Secrets with the CAs of a trust domain, `ca_secret_name`.
CA_LABEL = f"{GROUP}/ca-of"  # name of the MtlsTrustDomain
CA_ROLE_ANNOTATION = f"{GROUP}/ca-role"  # Next, Current or Retired
CA_SEQUENCE_ANNOTATION = f"{GROUP}/ca-sequence"  # 1, 2, 3 and so on: a later CA has a higher one
CA_SOURCE_ANNOTATION = f"{GROUP}/ca-source"  # SelfSigned, Secret or CertManager
CA_PHASE_ANNOTATION = f"{GROUP}/phase"  # of the rotation; this and what follows count on the Current CA
CA_WRITTEN_ANNOTATION = f"{GROUP}/written-at"  # RFC 3339: when the phase began
CA_REQUEST_ANNOTATION = f"{GROUP}/request"  # the value of `mtlstunnel.dev/rotate` that was answered last
CA_EMERGENCY_ANNOTATION = f"{GROUP}/emergency"  # "true": leaves are replaced at once
CA_NAMES = 4  # a domain has at most three CAs at a time, so that rights can be limited to these names

FIELD_MANAGER = "mtlstunnel-operator"
STATUS_MANAGER = "mtlstunnel-operator-status"
ROLLOUT_MANAGER = "mtlstunnel-operator-rollout"
WEBHOOK_MANAGER = "mtlstunnel-operator-webhook"

CONTAINER = "mtls-tunnel"
MOUNT_ROOT = "/etc/mtls-tunnel"
ADMIN_PORT_NAME = "mtls-admin"

LONGEST_NAME = 253


def volume_id(namespace: str, tunnel: str, role: str, client: str = "") -> str:
    """The folder and volume of one part of a pod: 10 hex digits."""
    return _hash(f"{namespace}/{tunnel}/{role}/{client}", 10)


def volume_name(identifier: str) -> str:
    """The name of the volume with the files of `identifier`."""
    return f"{CONTAINER}-{identifier}"


def object_name(tunnel: str, role: str, client: str = "", *, namespace: str = "", account: str = "") -> str:
    """The name of a Secret and a ConfigMap.

    `namespace` is the tunnel's, given for an object that lies in another one or belongs to one service
    account: such a name ends with 8 hex digits, so that it meets no other tunnel's.
    """
    name = f"{tunnel}-mtls-{role}" + (f"-{client}" if client else "")
    if namespace:
        name = f"{name}-{_hash(f'{namespace}/{tunnel}/{role}/{client}/{account}', 8)}"
    return cut(name)


def ca_secret_name(domain: str, sequence: int) -> str:
    """The Secret of a domain's *sequence*-th CA: `<domain>-ca-1` to `<domain>-ca-4`, then from the beginning."""
    return f"{cut(domain, LONGEST_NAME - 5)}-ca-{(sequence - 1) % CA_NAMES + 1}"


def bundle_name(domain: str) -> str:
    """The ConfigMap with the bundle of a trust domain, in the operator's namespace."""
    return f"{cut(domain, LONGEST_NAME - 7)}-bundle"


def process_file(admin_port: int) -> str:
    """The key, and file, with the process-wide sections for a sidecar whose admin port is *admin_port*.

    The port is part of its name because it is part of the pod: after a change, pods with the old port go on
    reading the old file.
    """
    return f"process-{admin_port}.yaml"


def server_label(tunnel: str) -> str:
    """The label that the Service and the PodMonitor of a tunnel select."""
    return f"{SERVER_LABEL_PREFIX}{tunnel}"


def cut(name: str, longest: int = LONGEST_NAME) -> str:
    """The name itself, or its beginning and a hash of the whole where it is too long."""
    return name if len(name) <= longest else f"{name[: longest - 9].rstrip('-.')}-{_hash(name, 8)}"


def _hash(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]
