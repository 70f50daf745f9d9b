"""One MtlsTrustDomain: its CA is kept and rotated, and tunnels get a Signer of what is stored.

sources (where a CA comes from), store (where ours lie), holders (who holds which leaf, since when),
proofs (whose leaf that really is)
steps      what `authority.rotation` decides, taken one write at a time
reconcile  the order of it all, and the Signers that are handed out; status: what is said of it (PURE)
"""
