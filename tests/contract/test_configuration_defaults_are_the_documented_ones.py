"""Every key of the configuration, written with its documented default, changes nothing; every pattern that is
accepted is one that the policy can judge by."""

from hypothesis import given, settings
from hypothesis import strategies as st

from mtls_tunnel.config.load import Source, load
from mtls_tunnel.config.schema import Acl, Rules
from mtls_tunnel.trust.policy import Policy
from support.configs import MINIMAL, ROLES, acls

DOCUMENTED = """\
mode: server
listen: "0.0.0.0:8443"
target: "127.0.0.1:8080"
tls:
  cert: server.pem
  key: server-key.pem
  ca: ca.pem
  client_auth: required
  server_name: ""
  min_version: TLS1.2
  server_uri: ""
  trust: []
  require_close_notify: false
  crl: ""
  crl_check: leaf
  reload_interval: 30s
outbound: {}
strict: false
acl:
  default: allow
  allow_cn: []
  allow_org: []
  allow_ou: []
  allow_dns: []
  allow_ip: []
  allow_email: []
  allow_uri: []
  allow_fingerprint: []
  allow_role: []
  deny_cn: []
  deny_org: []
  deny_ou: []
  deny_dns: []
  deny_ip: []
  deny_email: []
  deny_uri: []
  deny_fingerprint: []
  deny_role: []
  mode: enforce
  reauthorize: close
  on_expiry: log
  on_ca_removed: close
roles: {}
proxy:
  dial_timeout: 10s
  idle_timeout: 90s
  max_connections: 1000
  handshake_timeout: ""
  half_close_timeout: 60s
  max_lifetime: 0s
  shutdown_timeout: 0s
health:  {enabled: false, listen: "127.0.0.1:9000"}
metrics: {enabled: false, listen: "127.0.0.1:9001", prefix: mtlsd}
logging: {level: info, format: text, access: denied}
expiry:  {warn_days: 30, critical_days: 7}
tunnels: []
"""


def test_the_documented_defaults_are_what_is_left_out() -> None:
    assert load([Source("f.yaml", DOCUMENTED)]) == load([Source("f.yaml", MINIMAL)])


def test_the_handshake_may_take_as_long_as_the_dial() -> None:
    proxy = load([Source("f.yaml", MINIMAL + "proxy: {dial_timeout: 3s}\n")]).config.tunnels[0].proxy

    assert (proxy.dial_timeout_seconds, proxy.handshake_timeout_seconds) == (3.0, 3.0)


@settings(max_examples=50)
@given(st.data())
def test_the_policy_takes_every_rule_that_the_configuration_takes(data: st.DataObject) -> None:
    roles: tuple[tuple[str, Rules], ...] = data.draw(ROLES)
    acl: Acl = data.draw(acls(tuple(name for name, _ in roles)))

    assert Policy.of(acl, roles).decide(None).rule
