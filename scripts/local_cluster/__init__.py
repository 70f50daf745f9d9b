"""What `scripts/cluster.py` is made of: Kubernetes on this machine, in kind or built from source.

place, pki and build say where everything lies; plane, net and node start it, daemons ends it; system is what every
cluster has (DNS, roles), fake are nodes that only pretend, images and kind bring container images in.
"""
