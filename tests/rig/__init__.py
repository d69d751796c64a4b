"""What the tests on a real cluster, the benches and the demo share: an operator, an application, a load."""
