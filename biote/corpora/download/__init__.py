"""Download public data from its official sources, from where it stopped, verified."""
