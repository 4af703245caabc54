"""Commands on attention probes: `biote probe ...`."""
