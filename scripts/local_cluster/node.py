"""The node: containerd, kubelet, kube-proxy and DNS, as root, in a virtual machine or a container without systemd.

Each setting that is not a path or an address is there because the program did not start, or a pod did not,
without it.  Missing on such a node: NetworkPolicy is not enforced, a pod does not reach itself through its
own Service, and images are loaded, never pulled.
"""

import json
import shutil
import socket
import struct
from pathlib import Path

from build_image import Unavailable
from local_cluster.build import binary
from local_cluster.daemons import Daemons
from local_cluster.images import PAUSE_IMAGE, load_pause
from local_cluster.place import DNS_ADDRESS, DOMAIN, NODE, POD_RANGE, Place
from local_cluster.plane import ask
from local_cluster.system import apply_system

HOW = "apt-get install containerd runc containernetworking-plugins iptables iproute2 conntrack mount"
TOOLS = ("containerd", "ctr", "runc", "iptables", "ip", "conntrack", "mount", "umount")
PLUGINS = "/usr/lib/cni"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def check_tools() -> None:
    """Raises: Unavailable, with the packages to install."""
    lacking = [name for name in TOOLS if not shutil.which(name, path=PATH)]
    if lacking or not Path(PLUGINS, "ptp").exists():
        raise Unavailable(f"a node needs {', '.join(lacking) or PLUGINS}: {HOW}")


def start_node(place: Place, daemons: Daemons) -> None:
    """Start everything that runs pods; returns when the node is ready and a name of the cluster resolves."""
    start_containerd(place, daemons)
    load_pause(place)
    start_kubelet(place, daemons)
    start_proxy(place, daemons)
    apply_system(place)
    start_dns(place, daemons)
    daemons.wait("kubelet", "a ready node", lambda: node_is_ready(place))
    daemons.wait("coredns", "an answer of its own", lambda: resolves(place.address))
    daemons.wait("kube-proxy", "an answer by the Service of the DNS", lambda: resolves(DNS_ADDRESS))


def start_containerd(place: Place, daemons: Daemons) -> None:
    plugin = 'plugins."io.containerd.grpc.v1.cri"'
    # `restrict_oom_score_adj`: lowering one's score needs a right that root has not everywhere.
    config = f"""version = 2
root = "{place.state("containerd")}"
state = "{place.state("run")}"
disabled_plugins = [{", ".join(f'"io.containerd.{name}"' for name in _UNUSED)}]
[grpc]
address = "{place.containerd_socket}"
[{plugin}]
sandbox_image = "{PAUSE_IMAGE}"
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[{plugin}.cni]
bin_dir = "{PLUGINS}"
conf_dir = "{place.state("cni")}"
[{plugin}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[{plugin}.containerd.runtimes.runc.options]
Root = "{place.state("runc")}"
"""
    range_ = {"type": "host-local", "ranges": [[{"subnet": POD_RANGE}]], "dataDir": str(place.state("ipam"))}
    pair = {"type": "ptp", "mtu": 1400, "ipam": {**range_, "routes": [{"dst": "0.0.0.0/0"}]}}
    network = {"cniVersion": "0.4.0", "name": "mtls-tunnel", "plugins": [pair]}
    (place.state("cni") / "10-ptp.conflist").write_text(json.dumps(network))
    file = place.written("containerd.toml", config)
    daemons.start("containerd", [_tool("containerd"), "--config", file], {"PATH": PATH})
    daemons.wait("containerd", "its socket", lambda: _accepts(place.containerd_socket))


# They look for devices or file systems that are not there, or write outside our folder.
_UNUSED = (
    "internal.v1.opt",
    "snapshotter.v1.aufs",
    "snapshotter.v1.btrfs",
    "snapshotter.v1.devmapper",
    "snapshotter.v1.zfs",
)


def start_kubelet(place: Place, daemons: Daemons) -> None:
    resolv = place.written("resolv.conf", "")  # names outside the cluster are none of a test's business
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": place.address,
        "authentication": {"anonymous": {"enabled": False}, "x509": {"clientCAFile": f"{place.pki}/ca.crt"}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{place.pki}/kubelet-server.crt",
        "tlsPrivateKeyFile": f"{place.pki}/kubelet-server.key",
        "containerRuntimeEndpoint": f"unix://{place.containerd_socket}",
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": DOMAIN,
        "resolvConf": str(resolv),
        "podLogsDir": str(place.state("pod-logs")),
        "volumePluginDir": str(place.state("volume-plugins")),
        "healthzPort": 0,
        "makeIPTablesUtilChains": False,  # kube-proxy makes all that is needed, and can take its own back
        # A changed Secret reaches its volume within about this; the default of a minute makes that up to 100 s.
        "syncFrequency": "5s",
        # The machine may be a small one, or a container itself.
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "enforceNodeAllocatable": [],
        "oomScoreAdj": 0,
        "failSwapOn": False,
        "localStorageCapacityIsolation": False,
        "evictionHard": {"memory.available": "1Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "maxPods": 250,
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
    }
    file = place.written("kubelet.json", json.dumps(config))
    words = [f"--config={file}", f"--kubeconfig={place.pki}/kubelet.kubeconfig", f"--hostname-override={NODE}"]
    words += [f"--node-ip={place.address}", f"--root-dir={place.state('kubelet')}"]
    daemons.start("kubelet", [binary("kubelet"), *words], {"PATH": PATH})


def start_proxy(place: Place, daemons: Daemons) -> None:
    config = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": f"{place.pki}/kube-proxy.kubeconfig"},
        "mode": "iptables",
        "clusterCIDR": POD_RANGE,
        "hostnameOverride": NODE,
        "bindAddress": place.address,
        "healthzBindAddress": f"{place.address}:10256",
        "metricsBindAddress": f"{place.address}:10249",
        # The kernel's own figures stay: in a container they cannot be written.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "iptables": {"localhostNodePorts": False, "minSyncPeriod": "100ms"},
    }
    file = place.written("kube-proxy.json", json.dumps(config))
    daemons.start("kube-proxy", [binary("kube-proxy"), f"--config={file}"], {"PATH": PATH})


def start_dns(place: Place, daemons: Daemons) -> None:
    """CoreDNS on the node's address.  A name that is not the cluster's does not exist: nothing is forwarded."""
    # Two blocks, because within one `template` comes first, whatever the order here.
    corefile = f"""{DOMAIN} in-addr.arpa {{
  bind {place.address}
  errors
  kubernetes {DOMAIN} in-addr.arpa {{
    kubeconfig {place.pki}/coredns.kubeconfig
    ttl 5
  }}
}}
. {{
  bind {place.address}
  errors
  template ANY ANY {{
    rcode NXDOMAIN
  }}
}}
"""
    file = place.written("Corefile", corefile)
    daemons.start("coredns", [binary("coredns"), "-conf", file])


def node_is_ready(place: Place) -> bool:
    """Whether the kubelet has said so, and the controller manager has taken back its taint."""
    try:
        node = json.loads(ask(place, f"/api/v1/nodes/{NODE}"))
    except OSError:
        return False
    ready = [known["status"] for known in node["status"].get("conditions", []) if known["type"] == "Ready"]
    return bool(ready == ["True"] and not node["spec"].get("taints"))


def resolves(server: str) -> bool:
    """Whether the DNS at *server* knows the API server (a query as in RFC 1035, section 4.1)."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in f"kubernetes.default.svc.{DOMAIN}".split("."))
    query = struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.5)
        try:
            asking.sendto(query, (server, 53))
            answer = asking.recv(512)
        except OSError:
            return False
    _, flags, _, answers, _, _ = struct.unpack(">6H", answer[:12])
    return bool(flags & 0xF == 0 and answers > 0)


def _tool(name: str) -> str:
    found = shutil.which(name, path=PATH)
    if not found:
        raise Unavailable(f"{name} is missing: {HOW}")
    return found


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0
