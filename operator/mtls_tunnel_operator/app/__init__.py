"""argv -> one command of `tunnel-operator`; each is imported only when it is the one that was asked for.

cli        what each command is and which module runs it
run        the operator: `leading` keeps the Lease, `operator` wires the parts
injector   the admission endpoint, without kopf
inject, render   what both would do, for files and without a cluster (`inject_yaml`)
check      a cluster judged line by line (`check_cluster`, `check_webhook`, `check_tunnels`, `check_finding`)
hook       what the chart's Jobs run
logs, version
"""
