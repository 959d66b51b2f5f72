"""Scoring without scikit-learn: a fitted estimator as flat arrays, and the compiled loops that read them."""
