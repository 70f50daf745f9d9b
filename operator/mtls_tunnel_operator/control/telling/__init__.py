"""What was found is told: conditions with remedies, counts, events on transitions, numbers.

picture (one look, as values) -> verdicts, pod_verdict -> status (PURE) -> reporting (written where it differs)
"""
