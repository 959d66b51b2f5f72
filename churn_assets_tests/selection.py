"""Which tests run always, which at full size only, which on Apache Spark as well, each with the reason."""

from collections.abc import Collection
from itertools import chain
from pathlib import Path

import pytest

from churn_assets.tables import TABLES, WINDOW_FEATURES

HERE = Path(__file__).parent

# Tables are given here, or made by what other tests run on both engines, and what is under test reads
# Delta's log, Parquet files, MLflow or Dagster's history: no answer is the engine's. On Apache Spark they
# take minutes.
SAIL_SUFFICES = (
    # What an asset adds to its transform, whose own tests run on both; on Spark test_pipeline.py's run has
    # computed and checked every one of them.
    "assets/test_conservation.py",
    "assets/test_contract_checks.py",
    "assets/test_drift.py",
    "assets/test_outcomes.py",
    "assets/test_promotions.py",
    "assets/test_reasons.py",
    "assets/test_retention.py",
    "assets/test_treatments.py",
    "automation/runs/test_measured_treatments.py",
    "test_treatments_command.py",
    # Columns that are added: test_lake.py's.
    "automation/staleness/test_migration.py",
    "test_migrate_command.py",
    # Lists that are given, read and handed over.
    "retention/test_deliveries.py",
    "retention/test_formats.py",
    "retention/test_save_rate.py",
    "retention/test_targets.py",
    "test_export_command.py",
    # The page as a file: what the engine answers for it is serving/page/test_publish.py's.
    "test_report_command.py",
    # What files hold, which Arrow reads, and which of them land. What the engine makes of their values is
    # test_event_mapping.py's, and of treatments transforms/test_treatments.py's.
    "sample/test_importer.py",
    "sample/test_import_hard_cases.py",
    "sample/test_treatment_import.py",
    # Files that are written anew without the engine.
    "erasure/test_bucket_log.py",
    "erasure/test_delta_log.py",
    # What is said of settings, accounts and folders.
    "test_doctor.py",
    # Each is several runs, or commands that would each start a Spark of its own.
    "end_to_end/test_backfill.py",
    "end_to_end/test_bucket.py",
    "end_to_end/test_forget.py",
    "end_to_end/test_forget_in_bucket.py",
    "end_to_end/test_barrier.py",
    "end_to_end/test_daily_job.py",
    "end_to_end/test_damage.py",
    "end_to_end/test_databricks.py",
    "end_to_end/test_churn_definition.py",
    "end_to_end/test_kill.py",
    "end_to_end/test_late_data.py",
    "end_to_end/test_online_retail.py",
    "end_to_end/test_outage.py",
    "end_to_end/test_postgres.py",
    "end_to_end/test_releases.py",
    "end_to_end/test_task_pipeline.py",
    "end_to_end/test_unsynced.py",
    "end_to_end/test_workflow.py",
    # Files that are listed, noted and taken in once, and what a death leaves: the ledger's, which delta-rs
    # writes. How an ingestion reads and commits, the two that are named below show.
    "lakehouse/test_ingestion.py",
    # What a store answers to delta-rs, which commits for both engines (ADR 0060).
    "lakehouse/test_bucket_lake.py",
    # What the ledger notes and believes, and which dates follow.
    "lakehouse/test_computed_dates.py",
    "lakehouse/test_newest_ingestion.py",
    # Sums and joins of tables in plain SQL, which each run that publishes a page asks there too.
    "serving/page/test_publish.py",
    # What is covered and due, by row counts of the log.
    "automation/triggers/test_date_watch.py",
    "automation/staleness/test_freshness.py",
    "automation/staleness/test_plan.py",
    # What delta-rs commits, removes and merges.
    "lakehouse/test_arrow_writes.py",
    "lakehouse/test_maintenance.py",
    "lakehouse/test_preview.py",
    "test_status.py",
    # What follows once test_dataset.py's rows are in this process, and time travel is test_lake.py's.
    "model/test_reproduce.py",
    "model/test_training.py",
    "test_model_commands.py",
    # How ids are made of rows that the engine has mapped, which test_event_mapping.py looks at.
    "sample/test_import_again.py",
    # Servers. A run on Apache Spark with its endpoint is test_pipeline.py's.
    "serving/test_endpoint_asset.py",
    "serving/test_endpoint_pipeline.py",
)

# Of those modules, these ask the engine to go on with what it finds.
BUT_ON_SPARK_TOO = (
    "test_new_files_join_the_old_ones_in_one_commit",
    "test_a_death_before_the_commit_leaves_nothing_and_the_next_ingestion_has_it_all",
    "test_tables_are_appended_to_replaced_and_merged_as_in_a_folder",
    "test_a_table_without_partitions_is_merged_on_its_key",
    "test_many_small_files_of_a_date_become_one_and_the_table_goes_on",
    "test_readers_find_a_checkpoint_of_the_log",
    "test_the_next_write_goes_on_from_there",
    "test_a_table_with_a_checkpoint_and_without_older_commits_is_erased_too",
    "test_where_all_is_well_nothing_is_to_be_mended",
    "test_a_row_becomes_one_json_line_with_the_fields_it_has",
    "test_files_with_other_columns_and_types_go_together",
    "test_the_function_that_is_named_instead_works_on_text_and_numbers",
    "test_an_epoch_number_is_recognised_as_text_and_as_any_number[1787848445922-milliseconds]",
    # Which files a filter of dates leaves out is the engine's answer.
    "test_dates_that_it_did_not_bring_are_not_read",
)

# What each rule of cleaning is, on lines that a reader can follow: each plans the whole of it, ten seconds
# there. That Apache Spark cleans by the same rules, transforms/test_pipeline.py and test_cleaning_writes.py
# show on lines of all kinds, against a second calculation, and the others of these modules what those do not
# have: types, amounts that differ, blank sources, several ingestions at once.
RULES_OF_CLEANING = (
    "test_an_event_keeps_the_amount_of_its_first_ingestion_and_none_goes_with_any",
    "test_cleaning_a_batch_again_gives_the_same_quarantine_and_no_events",
    "test_of_two_source_ids_with_one_user_id_the_first_to_arrive_stays",
    "test_of_two_in_one_ingestion_the_smaller_stays_in_any_order[False]",
    "test_an_id_that_comes_again_with_other_content_is_in_conflict_on_any_date[compared here]",
    "test_the_rows_without_a_reason_become_events_and_the_others_quarantined",
    "test_an_event_is_typed_and_keeps_its_id_as_it_landed_rows",
    "test_equal_events_are_one_event_however_they_are_spelled",
    "test_an_event_that_silver_holds_is_not_new",
    "test_an_amount_that_is_no_number_costs_the_event_only_its_amount",
    "test_two_amounts_are_two_events_and_however_spelled_one_amount_is_one",
    "test_of_different_events_in_one_ingestion_the_smallest_stays[False]",
    "test_of_different_events_in_one_ingestion_the_smallest_stays[True]",
    "test_an_event_too_early_for_its_first_delivery_counts_from_the_second",
    "test_identical_lines_of_a_file_are_numbered_and_share_their_verdict",
    "test_lines_from_before_the_clock_was_kept_are_judged_by_their_ingestion",
    "test_of_two_in_one_ingestion_the_smaller_stays_in_any_order[True]",
    "test_a_line_delivered_again_with_a_source_id_is_an_exact_duplicate",
    "test_a_line_that_is_refused_for_another_reason_claims_no_user",
    "test_a_refused_line_leaves_its_event_to_another_delivery",
)

# What a write refuses, by names and types of columns, before the engine is asked for a row.
REFUSALS = (
    "test_an_unknown_column_is_refused[folders]",
    "test_a_missing_column_and_a_wrong_type_are_refused[folders]",
    "test_a_table_on_disk_with_other_columns_is_named_and_left_alone[folders]",
    "test_a_table_that_is_replaced_by_dates_is_not_replaced_without_any[folders]",
    *(
        f"test_any_other_difference_is_refused_in_one_line_and_nothing_is_changed[folders-{difference}]"
        for difference in ("renamed", "removed", "not null", "retyped")
    ),
)

# Writes that differ from those that are left by what is replaced, gained or found there already, which is
# decided by the contract and the log; rows of all of them, test_bucket_lake.py writes on both engines.
WRITES_OF_ONE_KIND = tuple(
    f"test_{name}[folders]"
    for name in (
        "where_rows_are_replaced_a_column_without_gaps_comes_with_gaps_until_they_are",
        "a_column_that_a_release_lets_be_null_may_be_null_in_the_table_that_is_there",
        "replacing_a_date_with_nothing_empties_it",
        "a_gap_in_a_column_that_came_later_is_refused_though_the_table_would_take_it",
        "gaining_a_column_is_no_row_for_who_asks_what_a_merge_wrote",
        "a_merge_of_nothing_new_leaves_the_version",
        "who_only_looks_learns_what_a_table_has_to_gain_and_changes_nothing",
        "the_order_of_columns_does_not_matter",
        "nothing_replaced_by_nothing_says_so_of_each_date",
        "no_new_rows_leave_the_version",
        "two_lakes_in_one_process_do_not_mix",
    )
)

# What a rule gives on rows that a reader can follow, where a test that is left has the rule's functions and
# joins on others, or compares all of it with a second calculation.
RULES_ON_A_FEW_ROWS = (
    # test_the_engine_and_numpy_agree_to_nine_digits has bins, edges, shares and PSI.
    "test_psi_is_the_sum_over_bins_of_the_difference_times_the_logarithm_of_the_ratio",
    "test_a_column_that_becomes_null_is_noticed_though_it_never_was_before",
    "test_a_version_from_before_a_feature_came_says_nothing_of_it",
    "test_without_any_reference_there_are_no_rows",
    "test_a_value_on_an_edge_belongs_to_the_bin_below",
    "test_each_date_is_compared_with_the_version_that_scored_it_and_others_have_no_row",
    "test_a_bin_without_a_user_counts_as_half_a_user",
    "test_equal_shares_and_a_feature_of_one_bin_have_no_drift",
    "test_only_users_who_were_scored_count",
    # One table that keeps its contract and one value out of a range are left.
    *(
        f"test_a_value_out_of_its_range_is_counted_under_its_rule[{case}]"
        for case in (
            "2-0-event_count_30d >= 1",
            "6-None-not null: account_age_days",
            "7-11-rolling_7d_events <= event_count_30d",
            "5--1-purchase_count_30d >= 0",
            "4--1-days_since_last_event >= 0",
            "4-30-days_since_last_event <= 29",
        )
    ),
    # Whom a list names, in which order and with which reasons: four tests of it are left.
    "test_without_a_budget_of_contacts_nobody_is_listed_and_none_is_no_limit",
    "test_where_no_event_brings_an_amount_everybody_is_worth_what_is_assumed",
    "test_control_users_are_ranked_beside_the_others_and_cost_no_budget",
    "test_by_uplift_those_whom_a_contact_saves_come_first_and_others_not_at_all",
    "test_the_greatest_gain_comes_first_and_equal_ones_by_user",
    "test_bands_begin_where_a_contact_pays_and_half_way_from_there_to_certainty",
    "test_where_an_ordinary_contact_never_pays_all_but_certain_risks_are_low",
    # Of reasons, who is asked, which are the strongest and one in words.
    *(
        f"test_the_history_has_its_words_too_and_some_for_what_is_missing[{case}]"
        for case in ("overdue_ratio-raising8-lowering8", "days_since_last_purchase-raising9-lowering9")
    ),
    "test_a_feature_that_is_in_no_contract_any_more_is_named_with_its_value",
    "test_a_version_from_before_a_feature_came_is_asked_with_its_own",
    # Of treatments, which rows are any and when a contact counts.
    "test_of_several_contacts_the_first_says_the_channel",
    "test_treatments_are_counted_by_what_they_are_good_for",
    "test_a_user_of_several_lists_counts_once_on_the_first",
    "test_who_has_no_label_yet_does_not_count",
    # Days in months: two places of the month's end are left.
    *(
        f"test_days_that_are_read_in_their_months_count_as_they_do_one_by_one[{days}]"
        for days in (-5, 19, 20)
    ),
    # One process or many: the registry's other test has the probabilities there.
    "test_many_partitions_at_once_may_score_with_a_model_that_no_worker_has_seen",
)

# What a worker makes of a file's bytes is Python; that a worker of Spark does it, the first and the longest
# line show.
LINES_OF_FILES = (
    "test_a_last_line_without_newline_and_blank_lines_are_lines",
    "test_bytes_that_are_not_utf8_are_replaced_and_the_file_goes_on",
    "test_lines_longer_than_a_block_and_blocks_that_end_in_a_line_stay_whole",
    "test_a_cut_off_gzip_gives_its_lines_and_one_that_says_so",
    "test_a_file_that_is_no_gzip_gives_one_line_that_says_so",
)

# Of all other modules, these: what is large, and what another test shows there.
BUT_NOT_ON_SPARK = (
    *RULES_OF_CLEANING,
    *REFUSALS,
    *WRITES_OF_ONE_KIND,
    *RULES_ON_A_FEW_ROWS,
    *LINES_OF_FILES,
    # One draw of each case.
    *(
        f"test_users_brought_up_to_date_are_those_of_all_events[{since}-{first_day}-{seed}]"
        for since in ("since0", "since1")
        for first_day in ("None", "first_day1")
        for seed in range(1, 5)
    ),
    # Rules without rows; test_pipeline.py's run has checked each table there.
    *(f"test_a_table_without_rows_breaks_nothing[{table}]" for table in TABLES),
    # Words of whole numbers, which one expression makes of all of them.
    *(
        "test_a_reason_says_what_the_user_did_and_only_where_that_counts_against_him"
        f"[{feature}-raising{place}-lowering{place}]"
        for place, feature in enumerate(WINDOW_FEATURES)
        if feature != "event_count_30d"
    ),
    *(
        f"test_the_history_has_its_words_too_and_some_for_what_is_missing[{case}]"
        for case in (
            "active_days_90d-raising0-lowering0",
            "active_days_365d-raising1-lowering1",
            "active_days_total-raising2-lowering2",
            "event_count_total-raising3-lowering3",
            "purchase_count_total-raising4-lowering4",
        )
    ),
    # Which rows are taken follows from counts, and from hashes of which test_every_engine_… name the users.
    "test_rows_are_counted_by_date_in_the_dates_order",
    "test_all_rows_of_the_dates_come_where_the_cap_allows",
    "test_of_many_dates_every_so_manieth_is_taken_with_all_its_users",
    "test_at_least_ten_dates_are_left_however_many_rows_there_are",
    "test_a_sample_of_few_dates_is_of_whole_users_but_for_the_last",
    "test_no_user_who_calibrates_is_trained_on",
    "test_each_frame_has_its_own_dates",
    "test_only_training_is_cut_to_the_rows_asked_for",
    "test_without_a_cap_every_user_trains_or_calibrates",
    "test_training_knows_no_account_age_that_its_middle_date_could_not_show",
    "test_a_version_that_is_made_again_takes_its_own_features",
    # Which columns of a table a model is given, by name: its scores there are those of scikit-learn.
    "test_columns_may_be_given_in_the_contracts_order",
    "test_version_1_of_another_lake_is_another_model",
    "test_registering_and_scoring_say_nothing",
    "test_a_version_of_fewer_features_finds_them_by_name_in_a_table_that_has_more",
    "test_a_sampled_user_has_the_score_and_the_features_of_the_date",
    "test_a_version_from_before_a_feature_came_is_sent_its_own_features",
    "test_a_score_without_features_is_named",
    # Ids as transforms/test_values.py has them.
    *(
        f"test_any_other_user_id_is_refused_with_its_row_unless_hashed[{text}]"
        for text in ("me@example.com", "12e4", "1.5E300", "0x1F")
    ),
    # What is refused before the engine is asked.
    *(
        f"test_an_unknown_column_is_named_with_its_option_and_those_there_are[{option}]"
        for option in ("user_id", "event_ts", "event_id", "event_type", "country")
    ),
    "test_one_event_id_for_all_rows_is_refused",
    "test_no_landing_zone_and_an_empty_one_are_one_line_each",
    "test_a_file_that_cannot_be_imported_lands_nothing[ids that are no integers]",
    "test_a_file_that_cannot_be_imported_lands_nothing[a column that is not there]",
    # The same where the ids do not fit in memory, and with lines in another split or order.
    "test_every_pair_and_triple_of_verdicts_under_one_id_in_every_order[too many to hold]",
    "test_an_id_that_comes_again_with_other_content_is_in_conflict_on_any_date[too many to hold]",
    "test_the_split_into_ingestions_changes_no_row_of_silver_or_gold",
    "test_the_order_of_lines_and_their_files_change_no_event",
    # transforms/test_leakage.py has all of it at once there.
    *(f"test_an_event_after_a_feature_date_changes_no_feature_of_it[{seed}]" for seed in (1, 2)),
    *(
        f"test_nothing_that_happens_after_the_day_changes_its_features[{what}]"
        for what in (
            "the first moment of the next day",
            "all users come back",
            "somebody new",
            "a thousand purchases",
            "another country",
            "events in which others' ids return",
            "years later",
        )
    ),
    "test_of_20_000_lines_with_colliding_ids_each_is_an_event_or_quarantined_or_a_duplicate",
    # Bad lines under one id are among the pairs and triples of verdicts.
    "test_bad_lines_that_share_an_id_stop_no_write",
    # One by one and empty; test_pipeline.py looks at all of them, as its run has made them.
    *(f"test_every_table_on_disk_is_as_its_contract_says[{table}-folders]" for table in TABLES),
)

# These look at one lake that has run once, or go on with a copy of it: the first at what other processes make
# of the same files, the others at what it does next. The last of them changes it. In one process it is made
# once; all of them together would be more than half of make test-all.
SHARE_A_HOUSE = (
    tuple(f"end_to_end/test_{name}.py" for name in ("kill", "workflow", "databricks", "classic")),
    tuple(
        f"end_to_end/test_{name}.py"
        for name in (
            "damage",
            "backfill",
            "reported_through_pipes",
            "pipeline",
            "late_data",
            "postgres",
            "daily_job",
        )
    ),
    # The lake of few users that their faults meet.
    tuple(f"faults/test_{name}.py" for name in ("fuzzed_lines", "two_runs")),
)

# Whole runs of the graph that take half of all time together. What each shows at full size, others show on
# few rows: they are for make test-all, before a release and every night.
AT_FULL_SIZE = (
    # Every step or task on emulated clusters: databricks/ and workspace/ have them one by one.
    "end_to_end/test_databricks.py",
    "end_to_end/test_workflow.py",
    # Late events, outages, deaths and other definitions of churn, through many runs each: automation/ has
    # what is stale, in any order of events and deaths, lakehouse/ and transforms/ days and labels.
    "end_to_end/test_churn_definition.py",
    "end_to_end/test_daily_job.py",
    "end_to_end/test_late_data.py",
    "end_to_end/test_outage.py",
    "end_to_end/test_unsynced.py",
    # An old lake goes on with another release. One by one, lakehouse/test_lake.py has the columns that it
    # gains, automation/staleness/ what is computed again, and test_reasons.py, test_drift.py, test_parity.py
    # and serving/scoring/ a version from before a feature came.
    "end_to_end/test_releases.py",
    # lakehouse/test_bucket_lake.py has each kind of write.
    "end_to_end/test_bucket.py",
    "end_to_end/test_spark_in_bucket.py",
    # What is erased from tables, versions, pages and files one by one is erasure/'s.
    "end_to_end/test_forget_in_bucket.py",
    # Two runs at once, which faults/test_two_runs.py has as well.
    "end_to_end/test_kill.py",
    # Of history and registry one by one automation/history/ and model/registry/test_mlflow_postgres.py.
    "end_to_end/test_postgres.py",
    # A range of dates by the command: automation/staleness/ has what is stale, and automation/runs/ the rest.
    "end_to_end/test_backfill.py",
    # What the emulated workspace does and refuses. It is no part of the platform: run these when it changes.
    "workspace/test_mlflow.py",
    "workspace/test_runtime.py",
    "workspace/test_serverless.py",
    "workspace/test_tasks.py",
    "workspace/test_workflows.py",
    # Each way in which a step fails on a cluster, a worker ends and somebody logs in: databricks/steps/,
    # test_happy_path.py and workflow/ have a step that fails and is found again, and who is asked.
    "databricks/test_failures.py",
    "databricks/test_identity.py",
    "databricks/test_workers.py",
    # From features to an endpoint that serves them, again and again: test_endpoint_asset.py has each part.
    "serving/test_endpoint_pipeline.py",
    # Programs that bench.pipeline compares with: no part of the platform.
    "bench/test_pipeline.py",
)

# Of all other modules, these.
TESTS_AT_FULL_SIZE = (
    # Each is repaired as others are of which this file has one.
    "test_what_was_made_of_something_else_is_made_again_and_nothing_is_computed_twice",
    "test_models_that_are_lost_are_given_up_by_name_and_the_next_run_trains_one",
    "test_the_commands_of_the_page_on_backups_bring_a_lake_back",
    "test_bronze_is_made_of_the_landing_zone_and_no_quarantined_line_is_doubled",
    "test_a_table_that_was_put_back_is_brought_up_to_date_by_the_next_run[main_catalog.clean.users]",
    "test_a_table_that_was_put_back_is_brought_up_to_date_by_the_next_run[main_catalog.gold.user_daily_activity]",
    # What is found is shown of every damage, and what is mended in test_a_restore_… and test_a_file_that_….
    "test_a_lake_that_is_renamed_goes_on_with_its_models",
    "test_dates_of_gold_that_were_lost_are_computed_again_and_only_these",
    "test_a_table_that_was_put_back_is_brought_up_to_date_by_the_next_run[main_catalog.clean.events]",
    "test_a_last_commit_of_bronze_that_is_lost_is_found_again",
    "test_a_deep_look_runs_no_code_that_this_lake_did_not_register_and_a_repair_replaces_it",
    "test_bronze_is_left_as_it_is_where_its_files_have_left_the_landing_zone",
    # automation/test_histories.py has late events and deaths in any order, each ending as a rebuild, and
    # faults/test_kills.py kills the command.
    "test_late_events_recompute_exactly_what_reads_them_and_equal_a_rebuild",
    "test_a_death_between_two_tables_is_made_good_by_the_next_run",
    "test_a_late_event_makes_its_windows_and_horizons_stale_and_no_other_date",
    "test_what_a_death_after_the_activity_left_undone_is_found",
    "test_what_a_death_before_the_labels_left_undone_is_found",
    # The same erasure again, of several, and without the files.
    "test_the_next_run_finds_nothing_to_do_and_refuses_what_comes_again",
    "test_event_files_stay_where_they_are_only_to_be_listed",
    "test_users_of_a_file_are_forgotten_together",
    # Processes of the server that end or rest; the file has a worker that is killed, too.
    "test_a_killed_follower_comes_back_and_follows",
    "test_a_server_that_is_killed_leaves_no_process_and_a_free_port",
    "test_idle_workers_give_their_memory_back_and_the_next_request_is_answered",
    "test_a_server_that_is_stopped_answers_first_what_it_was_asked",
    # The same with another number, name or answer, by another launcher, estimator or rule.
    "test_a_serverless_step_has_no_cluster_and_reads_its_secrets_itself[pipes]",
    "test_a_range_of_days_is_one_step_that_materialises_each[pipes]",
    "test_no_task_runs_after_one_that_failed_twice[score-ran2]",
    "test_the_same_writes_give_the_same_rows_versions_and_reports_as_in_folders[dates]",
    "test_the_same_writes_give_the_same_rows_versions_and_reports_as_in_folders[whole table]",
    "test_another_estimator_can_be_configured",
    "test_whatever_fails_in_the_evaluation_leaves_the_champion[a metric that fails]",
    "test_whatever_fails_in_the_evaluation_leaves_the_champion[an empty holdout]",
    *(
        f"test_rows_that_a_kernel_does_not_know_have_no_probability[{name}]"
        for name in ("average", "gradient_boosting", "recency")
    ),
    "test_what_won_is_rebuilt_bit_by_bit_from_its_spec[sigmoid-bounded]",
    "test_what_won_is_rebuilt_bit_by_bit_from_its_spec[none-as before there were bounds]",
    "test_churn_run_does_the_rest_trains_nothing_and_fails[churn_labels]",
    "test_a_commit_whose_answer_is_lost_is_there_once[500]",
    "test_a_merge_whose_answer_is_lost_inserts_once[500]",
    "test_a_refused_commit_is_made_again[500]",
    "test_of_20_000_lines_with_colliding_ids_each_is_an_event_or_quarantined_or_a_duplicate",
    "test_the_ledger_stays_small",
    "test_version_1_of_another_lake_is_another_model",
    # What many nights, promotions, files or deaths in a row come to.
    "test_a_driver_that_dies_is_no_alert_unless_the_next_one_dies_as_well",
    "test_a_version_that_wins_and_wins_again_stays_below_the_services_50_tags",
    "test_more_files_than_a_batch_holds_are_one_report",
    "test_day_by_day_makes_the_lists_of_a_range",
    # Of a cache, the one that is written.
    "test_the_loops_are_compiled_also_where_no_cache_can_be_written",
    # A process of its own each, for rows of which the first has one kind.
    "test_a_model_of_our_own_estimators_takes_rows_with_and_without_a_history_where_this_project_is_not",
    # Trainings of which the gate's and the registry's own tests have the decision.
    "test_a_champion_that_changed_meanwhile_makes_the_decision_void",
    "test_a_feature_with_one_value_is_named_to_whoever_asks",
    "test_a_second_attempt_in_the_same_process_gets_a_run_of_its_own",
    "test_training_says_nothing",
    # Commands of which lakehouse/ and automation/ have what is said.
    "test_what_is_not_taken_in_is_named_by_run_and_status_until_it_is",
    "test_a_clock_that_jumped_once_is_said_and_events_are_judged_by_the_clock",
    "test_a_lost_bronze_is_one_line_and_doubles_nothing",
    "test_the_demo_of_a_lake_with_events_simulates_none_and_says_what_it_made_of_them",
    # Runs of which test_features.py has the age and test_task_pipeline.py its dates, test_cleaning.py the
    # reasons, test_plan.py the clock, and test_task_pipeline.py and test_cli.py the rows that are too few.
    "test_a_late_first_event_makes_a_user_older_on_every_date",
    "test_bad_events_stop_nothing_and_are_kept_with_their_reason",
    "test_one_event_of_a_broken_clock_long_before_the_start_stops_nothing",
    "test_few_rows_train_no_model_and_the_run_says_so",
    # The serverless job shows what follows, and the one on a cluster that its five tasks run and get secrets.
    "test_with_9999_rows_the_training_is_skipped_and_the_scores_are_not[cluster]",
    "test_a_failed_run_is_an_alert_and_exit_code_1_until_one_succeeds[cluster]",
)

# Begun first: the others would wait for a process that begins one of them last.
LONGEST = (
    *chain(*SHARE_A_HOUSE),
    "end_to_end/test_online_retail.py",
    "end_to_end/test_releases.py",
    "end_to_end/test_barrier.py",
    "end_to_end/test_task_pipeline.py",
    "end_to_end/test_churn_definition.py",
)

# Lists of single tests, by name.
NAMED = (BUT_ON_SPARK_TOO, BUT_NOT_ON_SPARK, TESTS_AT_FULL_SIZE)


def require_known_names(names: Collection[str]) -> None:
    """Refuse a list that names no test any more: the renamed one would run elsewhere without a word.

    Args:
        names: of all tests.

    Raises:
        pytest.UsageError: some name is of no test, or some file is not there.
    """
    unknown = [name for name in chain.from_iterable(NAMED) if name not in names]
    modules = (SAIL_SUFFICES, AT_FULL_SIZE, LONGEST, *SHARE_A_HOUSE)
    unknown += [module for module in chain.from_iterable(modules) if not (HERE / module).exists()]
    if unknown:
        raise pytest.UsageError(f"selection.py names what is no test: {', '.join(unknown)}. Name it anew.")


def place(item: pytest.Item) -> int:
    """Of its module among the longest, which are before all others; those stay as they were collected."""
    module = item.path.relative_to(HERE).as_posix()
    return LONGEST.index(module) if module in LONGEST else len(LONGEST)


def is_at_full_size(item: pytest.Item) -> bool:
    """Whether a test is for ``make test-all``."""
    module = item.path.relative_to(HERE).as_posix()
    return module in AT_FULL_SIZE or item.name in TESTS_AT_FULL_SIZE


def shows_something_on_spark(item: pytest.Item) -> bool:
    """Whether a test is for ``make test-spark``, too."""
    fixtures = getattr(item, "fixturenames", ())
    # Not left to the fixture on_sail: a lake of wider scope would be made before it skips.
    if "spark" not in fixtures or "on_sail" in fixtures:
        return False
    if item.name in BUT_NOT_ON_SPARK:
        return False
    return item.path.relative_to(HERE).as_posix() not in SAIL_SUFFICES or item.name in BUT_ON_SPARK_TOO


def house(module: str) -> str:
    """Return the name of what a module shares with others, the path of a module; empty if nothing."""
    houses = (f"house {n}" for n, modules in enumerate(SHARE_A_HOUSE) if module.endswith(modules))
    return next(houses, "")
