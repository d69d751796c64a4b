"""How good the verdicts are: simulated worlds, the engine in them, and the rules of other tools beside it."""
