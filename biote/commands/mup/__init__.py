"""Commands on maximal-update parametrisation (muP): `biote mup ...`."""
