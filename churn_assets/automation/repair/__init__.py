"""How what ``churn verify`` finds is mended: rebuilt from what it was made of, or noted as not computed."""
