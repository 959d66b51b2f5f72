"""From a request to probabilities: its rows, the model, and the reply."""
