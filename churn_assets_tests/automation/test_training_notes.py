import dagster as dg

from churn_assets.automation.runs.stages import about_constant_features


def test_a_training_that_met_constant_features_leaves_a_line_with_their_names() -> None:
    metadata = {"constant_features": dg.MetadataValue.text("purchase_count_30d, account_age_days")}

    (line,) = about_constant_features(metadata)

    assert line.endswith("so the model cannot learn from it: purchase_count_30d, account_age_days.")
    assert about_constant_features({}) == []
