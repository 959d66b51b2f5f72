"""How good probabilities are, with intervals."""
