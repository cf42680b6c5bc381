"""What recording costs, measured against a bare Autobahn server: `python -m benchmarks`."""
