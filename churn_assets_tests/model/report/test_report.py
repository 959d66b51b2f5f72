import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np

from churn_assets.model.gate.gate import Decision
from churn_assets.model.metrics import curves
from churn_assets.model.metrics.evaluation import DEFAULT_COSTS
from churn_assets.model.report import plots, report
from churn_assets.model.report.report import ReportContent
from churn_assets_tests.model.report.conftest import EVIL

VOID = {"meta", "br", "img", "hr"}


class Page(HTMLParser):
    """The page's text, its elements, and whether each is closed in its turn."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.scopes: list[str | None] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("href", "src") and value]
        if tag == "th":
            self.scopes.append(dict(attrs).get("scope"))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)


def refused(**about: object) -> ReportContent:
    """What is known of a training in which nothing could be judged."""
    return ReportContent(
        title="Churn model",
        created_at=dt.datetime(2026, 11, 23, tzinfo=dt.UTC),
        decision=Decision(promoted=False, reasons=("The holdout has no row.",), against="recency"),
        costs=DEFAULT_COSTS,
        **about,  # type: ignore[arg-type]  # fields of the class, named by each test
    )


def test_the_surest_that_a_probability_can_be_is_said(html: str) -> None:
    assert re.search(r"No user gets less than 0\.0021 or more than\s+0\.9876", html)


def test_the_decision_and_its_reasons_come_before_everything_else(content: ReportContent, html: str):
    text = Page(html).text

    assert content.decision.promoted
    headline = text.index("Version 5 is promoted: it replaces version 4")
    assert headline < text.index(content.decision.reasons[0]) < text.index("Key figures on the holdout")


def test_the_page_is_whole_and_asks_no_server(html: str):
    page = Page(html)

    assert [link for link in page.links if not link.startswith("#")] == []
    assert not {"script", "link", "iframe", "img", "object"} & set(page.tags)
    assert re.findall(r"@import|url\((?!#)", html) == []
    assert page.tags.count("figure") == page.tags.count("svg") == 7
    assert len(html) < 1_000_000


def test_every_link_within_the_page_leads_somewhere(html: str):
    ids = set(re.findall(r'\bid="([^"]+)"', html))

    assert {link.removeprefix("#") for link in Page(html).links} <= ids


def test_a_country_that_is_a_script_is_shown_and_not_run(content: ReportContent, html: str):
    assert f"country={EVIL}" in [one.name for one in content.decision.slices]
    assert f"country={EVIL}" in Page(html).text
    assert EVIL not in html


def test_key_figures_stand_beside_their_difference_and_its_interval(content: ReportContent, html: str):
    brier = next(one for one in content.decision.differences if one.metric == "brier")
    row = (
        f"{brier.challenger:.4f} {brier.champion:.4f} {content.decision.formula['brier']:.4f} "
        f"{content.decision.floor['brier']:.4f} "
        f"{brier.challenger - brier.champion:+.4f} {brier.low:+.4f} to {brier.high:+.4f} better"
    )

    assert row.replace("-", "\N{MINUS SIGN}") in Page(html).text


def test_the_threshold_follows_from_the_cost_matrix_that_is_stated(html: str):
    text = Page(html).text

    assert "a contact costs 1; a saved user is worth 50; 10.0 % of the churners contacted are saved" in text
    assert "Contacting users from 0.2 on" in text


def test_a_candidate_that_failed_is_listed_with_its_error(html: str):
    text = Page(html).text

    assert "boosting the winner max_depth=4 0.15123 0.40000 0.8000 1.2" in text
    assert "broken max_depth=-1 ValueError: max_depth < 1" in text


def test_drift_is_read_by_its_thresholds_and_by_chance(html: str):
    text = Page(html).text

    assert "days_since_last_event 0.3000 0.0100 drifted" in text
    assert "account_age_days 0.2000 0.0100 grows by itself" in text
    assert "event_count_30d 0.0600 0.0100 worth a look" in text
    assert "rolling_7d_events 0.0010 0.0100 no more than chance" in text


def test_counts_and_versions_are_as_given(html: str):
    text = Page(html).text

    assert "Bronze lines 325,352 holdout dates 2026-05-01 to 2026-05-02" in text
    assert "main_catalog.gold.churn_labels 33" in text
    assert "1,200 rows of 600 users, feature_dates 2026-05-01 to 2026-05-02" in text


def test_every_heading_of_a_table_says_what_it_heads(html: str):
    assert set(Page(html).scopes) == {"col", "row"}


def test_on_a_phone_each_value_stands_beside_the_heading_of_its_column(html: str):
    stacked = re.findall(r'<table class="[^"]*stacks">(.*?)</table>', html, re.DOTALL)

    assert len(stacked) == 4
    for table in stacked:
        head, body = table.split("</thead>")
        columns = re.findall(r"<th scope=\"col\"[^>]*>([^<]*)</th>", head)[1:]
        for row in body.split("</tr>")[:-1]:
            assert re.findall(r'<td[^>]* data-label="([^"]*)"', row) == columns
            assert row.count("<td") == len(columns)


def test_groups_of_the_reliability_diagram_are_counted(content: ReportContent):
    # 700 rows of one probability stay together, where groups of 120 rows would be.
    few = replace(content, challenger=np.where(np.arange(1_200) < 700, 0.2, content.challenger))

    html = report.render(few)

    bins = curves.reliability_bins(few.label, few.challenger)
    rows = [count for _, _, count in bins]
    assert sum(rows) == 1_200
    assert len(rows) < 10
    assert max(rows) >= 700
    assert f"The challenger's {len(rows)} groups of {min(rows):,} to {max(rows):,} rows" in Page(html).text
    assert "ten groups" not in html


def test_groups_of_equal_size_are_said_to_be(html: str):
    assert "The challenger's 10 groups of 120 rows" in Page(html).text


def test_what_is_worse_and_refuses_nothing_is_said_with_the_decision(content: ReportContent):
    note = "Log loss 0.7 against 0.6 of recency alone. This refuses nothing."

    text = Page(report.render(replace(content, decision=replace(content.decision, notes=(note,))))).text

    assert (
        text.index(content.decision.reasons[-1]) < text.index(note) < text.index("Key figures on the holdout")
    )


def test_who_looks_for_users_is_sent_to_the_list(content: ReportContent):
    told = replace(content, list_table="shop.gold.retention_list", list_url="http://127.0.0.1:8080/")

    page = Page(report.render(told))

    assert "http://127.0.0.1:8080/" in page.links
    assert "why, is in shop.gold.retention_list" in page.text
    assert "churn report --at-risk" in page.text


def test_without_a_folder_the_list_is_a_table(content: ReportContent):
    page = Page(report.render(replace(content, list_table="shop.gold.retention_list")))

    assert "why, is in shop.gold.retention_list" in page.text
    assert "churn serve" not in page.text


def test_the_same_content_gives_the_same_page(content: ReportContent, html: str):
    assert report.render(content) == html


def test_a_refusal_before_there_was_a_model_has_its_report():
    content = refused(error="ModelError: gold.churn_labels <is> missing")

    page = Page(report.render(content))

    assert "The challenger is refused: nothing is in Production The holdout has no row." in page.text
    assert "ModelError: gold.churn_labels <is> missing" in page.text
    assert "There were no holdout rows to judge on." in page.text
    assert "No candidate was fitted." in page.text
    assert "svg" not in page.tags


def test_without_a_champion_two_lines_are_drawn(content: ReportContent):
    alone = replace(content, champion=None, champion_version=None)

    html = report.render(alone)

    assert "challenger, area" in html
    assert "champion, area" not in html


def test_a_champion_that_could_not_be_asked_stays_and_is_not_drawn(content: ReportContent):
    unknown = np.full(len(content.label), np.nan)
    decision = Decision(promoted=False, reasons=("The champion cannot be judged.",), against="champion")

    html = report.render(replace(content, decision=decision, champion=unknown))

    assert "Version 5 is refused: version 4 stays in Production" in html
    assert "challenger, area" in html
    assert "champion, area" not in html


def test_a_holdout_of_one_class_is_reported_without_curves(content: ReportContent):
    page = Page(report.render(replace(content, label=np.ones(1_200))))

    assert "There are no probabilities on rows of both classes to draw." in page.text
    assert page.tags.count("figure") == 1


def test_a_picture_that_cannot_be_drawn_leaves_the_others(content: ReportContent):
    page = Page(report.render(replace(content, importances={"account_age_days": object()})))  # type: ignore[dict-item]  # wrong on purpose

    assert page.tags.count("svg") == 6
    assert "Cannot be drawn:" in page.text


def test_the_template_and_the_pictures_agree_on_the_light_colours(html: str):
    light = html[html.index(":root") : html.index("@media")]

    assert {name: re.findall(rf"--{name}: (#\w+);", light) for name in plots.COLOURS} == {
        name: [colour] for name, colour in plots.COLOURS.items()
    }
