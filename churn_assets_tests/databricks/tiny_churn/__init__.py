"""A package as small as a step launcher can be tested with: staged in place of churn_assets."""
