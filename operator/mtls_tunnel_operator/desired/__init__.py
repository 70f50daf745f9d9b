"""What should be in the cluster for one tunnel, as manifests: a resource and what is known become a plan.

`world` (what of the cluster a plan needs), `places` (which Secrets and ConfigMaps there are), `names` (SPIFFE
IDs and DNS names), `acl` and `config` (the sidecars' files, made through `mtls_tunnel.config`), `staging` (in
which order ports open and close), `objects` and `network` (manifests), `same` (is there anything to write),
`plan` (all of it).  PURE: no I/O, no clock, no keys made here.
"""
