"""A real Kubernetes cluster for the tests and the demo, on a machine with or without Docker.

A claim of safety is worth what it was tested against: here that is the real API server, kubelet, container
runtime, service proxy, router and Prometheus. `python -m tests.cluster up` brings them up.
"""
