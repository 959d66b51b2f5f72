"""What people see at ``/``, and who does not see it, over real connections."""

import csv
import datetime as dt
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from html.parser import HTMLParser
from pathlib import Path

import pytest
import requests
import time_machine

from churn_assets.dates import ONE_DAY
from churn_assets.serving.page.store import FILE, Snapshot
from churn_assets.serving.server.pages import pages
from churn_assets.serving.server.sessions import COOKIE
from churn_assets.serving.versions import current_version
from churn_assets.tables import RETENTION_LIST
from churn_assets_tests.serving.page.stores import (
    CONTROL_USER,
    DATE,
    EVIL,
    UNLISTED_USER,
    measured,
    publish,
)
from churn_assets_tests.serving.server.pages.conftest import ADMIN_TOKEN, TOKEN, Browser, worker

SHOWN = ("/", "/user?id=1", "/trend", "/outcomes", "/list.csv")


def ranks_of(answer: requests.Response) -> list[int]:
    return [int(rank) for rank in re.findall(r'data-name="Rank">([\d,]+)<', answer.text)]


@pytest.mark.parametrize("path", SHOWN)
def test_nothing_is_shown_to_who_is_not_logged_in(stranger: Browser, path: str) -> None:
    stranger.session.cookies.set(COOKIE, "1999999999.x.y")
    answer = stranger.get(path)

    assert (answer.status_code, answer.headers["location"], answer.text) == (303, "/login", "")


@pytest.mark.parametrize("path", SHOWN)
@pytest.mark.parametrize("token", [TOKEN, ADMIN_TOKEN])
def test_programs_send_the_token_as_to_the_rest_of_the_server(
    stranger: Browser, path: str, token: str
) -> None:
    assert stranger.get(path, headers={"authorization": f"Bearer {token}"}).status_code == 200
    assert stranger.get(path, headers={"authorization": "Bearer wrong"}).status_code == 403


def test_the_token_is_given_once_for_a_cookie_that_scripts_and_other_sites_do_not_get(
    stranger: Browser,
) -> None:
    form = stranger.get("/login")
    answer = stranger.post("/login", {"token": TOKEN}, headers={"origin": stranger.url})

    assert form.status_code == 200
    assert 'type="password"' in form.text
    said = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200"} <= set(said.split("; "))
    # The browser said http; a cookie for TLS alone would never come back.
    assert "Secure" not in said
    assert TOKEN not in said
    assert stranger.get("/").status_code == 200
    assert stranger.get("/login").headers["location"] == "/"


def test_where_the_browser_speaks_tls_to_a_proxy_the_cookie_is_for_tls_alone(stranger: Browser) -> None:
    fetched = {"origin": "https://churn.example.com", "sec-fetch-site": "same-origin"}
    answer = stranger.post("/login", {"token": TOKEN}, headers=fetched)

    assert "Secure" in answer.headers["set-cookie"].split("; ")


@pytest.mark.parametrize(
    "fields",
    [
        {"token": "wrong"},
        {"token": ""},
        {"other": TOKEN},
        {},
        b"token=%FF",
        b"\xff\xfe",
        {"token": "x" * 5000},
        "&".join(["token=a"] * 50),
    ],
)
def test_whoever_has_no_token_gets_no_cookie(stranger: Browser, fields: object) -> None:
    answer = stranger.post("/login", fields)

    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert "not the token" in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example.com"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "http://127.0.0.1:1"},
    ],
)
def test_another_site_cannot_log_anybody_in(stranger: Browser, headers: dict[str, str]) -> None:
    answer = stranger.post("/login", {"token": TOKEN}, headers=headers)

    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_only_the_own_form_logs_out(browser: Browser) -> None:
    assert browser.post("/logout", {"form_token": "forged"}).status_code == 303
    assert browser.get("/").status_code == 200
    assert browser.get("/logout").status_code == 405

    [form_token] = re.findall(r'name="form_token" value="(\w+)"', browser.get("/").text)
    answer = browser.post("/logout", {"form_token": form_token})

    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert browser.get("/").headers["location"] == "/login"


@pytest.mark.parametrize("path", ["/", "/login", "/login?next=https://evil.example.com", "/logout"])
def test_no_redirect_leads_away_whatever_the_request_says(stranger: Browser, path: str) -> None:
    headers = {"host": "evil.example.com", "x-forwarded-host": "evil.example.com"}
    answers = [
        stranger.get(path, headers=headers),
        stranger.post(path, {"token": TOKEN, "next": "//evil.example.com"}, headers=headers),
    ]

    for answer in answers:
        assert answer.headers.get("location", "/login") in {"/login", "/"}
        assert "evil" not in answer.text


@pytest.mark.parametrize("path", [*SHOWN, "/login", "/page.css", "/user?id=nobody"])
def test_every_answer_forbids_scripts_frames_guesses_and_copies(browser: Browser, path: str) -> None:
    headers = browser.get(path).headers

    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "style-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == ("no-cache" if path == "/page.css" else "no-store")


class Markup(HTMLParser):
    """All elements of a page, with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


@pytest.mark.parametrize("path", ["/", "/user?id=1", "/user?id=5", "/trend", "/outcomes", f"/user?id={EVIL}"])
def test_what_users_are_called_is_text_and_no_page_has_a_script_a_style_or_a_foreign_address(
    browser: Browser, path: str
) -> None:
    text = browser.get(path).text

    assert EVIL not in text
    for tag, attributes in Markup(text).elements:
        assert tag not in {"script", "style", "img", "iframe", "object"}
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
        for name in ("href", "src", "action"):
            assert (attributes.get(name) or "/").startswith(("/", "#"))


def test_the_list_shows_rank_user_reasons_and_what_it_comes_to(browser: Browser) -> None:
    answer = browser.get("/")

    assert ranks_of(answer) == list(range(1, 51))
    assert "22 November 2026" in answer.text
    assert "Users to contact, 1 to 50 of 120" in answer.text
    assert "&lt;script&gt;alert(&#39;id&#39;)&lt;/script&gt;" in answer.text
    assert "Quiet for 22 days" in answer.text
    assert "Page 1 of 3" in answer.text
    assert "240.00" in answer.text
    assert "save rate 0.1 assumed (CHURN_SAVE_RATE)" in answer.text


def test_pages_follow_one_another_and_end(browser: Browser) -> None:
    assert ranks_of(browser.get("/?page=3")) == list(range(101, 121))
    assert ranks_of(browser.get("/?page=99")) == list(range(101, 121))
    for odd in ("0", "-1", "x", "²", "9" * 30, ""):
        assert ranks_of(browser.get(f"/?page={odd}")) == list(range(1, 51))
    assert 'rel="next" href="/?page=2"' in browser.get("/").text
    assert 'rel="prev" href="/?band=medium"' in browser.get("/?band=medium&page=2").text


def test_filters_stay_in_links_and_form_and_odd_ones_are_left_out(browser: Browser) -> None:
    filtered = browser.get("/?country=FR&band=high&value=900.5&new=1")

    assert ranks_of(filtered) == [20]
    assert '<option value="FR" selected>FR (30)</option>' in filtered.text
    assert "<option selected>high</option>" in filtered.text
    assert 'value="900.5"' in filtered.text
    assert 'href="/list.csv?country=FR&amp;band=high&amp;value=900.5&amp;new=1"' in filtered.text
    assert ranks_of(browser.get("/?country=unknown")) == [3]
    assert "Nobody on the list passes this filter" in browser.get("/?country=XX").text
    for odd in ("band=x", "value=nan", "value=-1", "value=inf", "new=yes", "band=high%00", "country=&band="):
        assert len(ranks_of(browser.get(f"/?{odd}"))) == 50


def test_the_csv_has_all_that_pass_the_filter_and_is_safe_for_spreadsheets(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "CSV_ROWS_AT_ONCE", 7)
    answer = browser.get("/list.csv?band=high")

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="retention_list-{DATE}.csv"'
    rows = list(csv.DictReader(answer.content.decode().splitlines()))
    assert list(rows[0]) == RETENTION_LIST.column_names
    assert [int(row["rank"]) for row in rows] == list(range(1, 21))
    assert {row["assigned_group"] for row in rows} == {"contact"}
    assert rows[1]["source_user_id"] == "'=1+1"
    assert rows[1]["probability_change"] == ""


def test_a_user_is_shown_with_reasons_history_and_place(browser: Browser) -> None:
    text = browser.get("/user?id=4").text
    other = browser.get("/user?id=user-4@example.com").text

    assert "User user-4@example.com" in text
    assert text.replace("id=4", "") == other.replace("id=user-4%40example.com", "")
    assert "To be contacted: rank 4" in text
    assert "Probability of churn over time" in text
    assert '>2026-11-22</th><td class="number">7<' in text
    assert "raises the risk" in browser.get("/user?id=1").text
    assert "lowers the risk" in browser.get("/user?id=1").text


def test_who_is_not_to_be_contacted_is_said_to_be_so(browser: Browser) -> None:
    assert "Not to be contacted" in browser.get(f"/user?id={CONTROL_USER}").text
    assert "Not on the list of 22 November 2026" in browser.get(f"/user?id={UNLISTED_USER}").text
    nobody = browser.get("/user?id=nobody")
    assert nobody.status_code == 404
    assert "neither user_id nor source_user_id" in nobody.text


def test_trend_retention_and_survival_are_pictures_with_tables(browser: Browser) -> None:
    text = browser.get("/trend").text

    assert text.count('role="img"') == 3
    assert '<td class="number">240</td>' in text
    assert 'heat-7">75 %' in text
    assert "half are gone after 11 days" in text


def test_what_contacting_brought_is_said_or_how_it_can_be_known(tmp_path: Path, browser: Browser) -> None:
    assert "churn import --treatments FILE" in browser.get("/outcomes").text

    publish(tmp_path / "page", outcomes=measured())
    with worker(tmp_path) as url, requests.Session() as session:
        text = Browser(url, session).logged_in().get("/outcomes").text
    assert (
        "In force: save rate 0.25 measured. Lists are ranked by risk x value, as uplift is not known" in text
    )
    assert "10 % to 40 %" in text
    assert "only 9 users contacted by phone" in text
    assert 'role="img"' in text


@pytest.fixture
def new(tmp_path: Path) -> Iterator[Browser]:
    """A worker whose lake has published nothing yet."""
    with worker(tmp_path) as url, requests.Session() as session:
        yield Browser(url, session).logged_in()


def test_before_the_first_list_the_page_says_so_and_afterwards_shows_it(new: Browser, tmp_path: Path) -> None:
    for path in ("/", "/user?id=1", "/trend", "/outcomes"):
        assert "No list yet" in new.get(path).text
    assert new.get("/list.csv").headers["location"] == "/"

    publish(tmp_path / "page", contacts=0, trend_days=1)
    assert "Nobody is on this list" in new.get("/").text
    assert "There is one date so far" in new.get("/trend").text
    assert new.get("/list.csv").text.splitlines() == [",".join(RETENTION_LIST.column_names)]

    publish(tmp_path / "page", "v2")
    assert len(ranks_of(new.get("/"))) == 50


def test_what_is_damaged_is_said_in_one_line(new: Browser, tmp_path: Path) -> None:
    folder = tmp_path / "page"
    publish(folder)
    (folder / current_version(folder) / FILE).write_bytes(b"no database")

    for path in ("/", "/list.csv"):
        answer = new.get(path)
        assert answer.status_code == 503
        assert "churn repair page" in answer.text
        assert "Traceback" not in answer.text


@pytest.mark.parametrize(("days", "is_old"), [(1, False), (2, False), (3, True)])
def test_a_list_that_is_not_todays_says_so(browser: Browser, days: int, is_old: bool) -> None:
    # A list of a day is there on the next.
    now = dt.datetime.combine(DATE + days * ONE_DAY, dt.time(12), dt.UTC)
    with time_machine.travel(now, tick=True):
        text = browser.logged_in().get("/").text

    assert ("This is not today" in text) is is_old


def test_more_pages_than_can_wait_are_refused_and_scoring_is_answered_meanwhile(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MOST_WAITING", 3)
    held, entered = threading.Event(), threading.Event()
    rows = Snapshot.rows

    def slow(*given: object) -> object:
        entered.set()
        held.wait(30)
        return rows(*given)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(Snapshot, "rows", slow)
    cookies = browser.session.cookies

    def get() -> int:
        return requests.get(browser.url + "/", cookies=cookies, timeout=60).status_code

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(get)
        assert entered.wait(30)
        others = [pool.submit(get) for _ in range(3)]
        # Two of them wait, and the third is refused while nothing of a page can be made.
        refused = next(as_completed(others, timeout=30)).result()
        assert requests.get(f"{browser.url}/ping", timeout=5).status_code == 200
        held.set()
        statuses = [first.result(60), *(one.result(60) for one in others)]

    assert refused == 503
    assert sorted(statuses) == [200, 200, 200, 503]


def test_the_stylesheet_is_asked_for_once(browser: Browser) -> None:
    first = browser.get("/page.css")
    again = browser.get("/page.css", headers={"if-none-match": first.headers["etag"]})

    assert first.headers["content-type"] == "text/css; charset=utf-8"
    assert (again.status_code, again.content) == (304, b"")
