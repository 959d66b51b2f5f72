"""Who gets a cookie, and which cookies are taken."""

import pytest

from churn_assets.serving.server.sessions import SESSION_SECONDS, Sessions


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def begun(sessions: Sessions, token: str = "score") -> str:
    cookie = sessions.begin(token)
    assert cookie is not None
    return cookie


def test_either_token_opens_a_session_and_nothing_else_does(clock: Clock) -> None:
    sessions = Sessions("score", "manage", clock)

    assert sessions.is_valid(begun(sessions, "score"))
    assert sessions.is_valid(begun(sessions, " manage\n"))
    for given in ("", "scor", "scores", "SCORE", "scoremanage", "£"):
        assert sessions.begin(given) is None


def test_a_cookie_says_nothing_of_the_token_and_no_two_are_the_same(clock: Clock) -> None:
    sessions = Sessions("score", "manage", clock)
    first, second = begun(sessions), begun(sessions)

    assert first != second
    assert "score" not in first


def test_a_session_ends_by_itself(clock: Clock) -> None:
    sessions = Sessions("score", "manage", clock)
    cookie = begun(sessions)

    clock.now += SESSION_SECONDS - 1
    assert sessions.is_valid(cookie)
    clock.now += 1
    assert not sessions.is_valid(cookie)


def test_a_later_end_or_any_other_change_makes_a_cookie_worthless(clock: Clock) -> None:
    sessions = Sessions("score", "manage", clock)
    cookie = begun(sessions)
    ends, nonce, mark = cookie.split(".")

    for forged in (
        f"{int(ends) + 9_999_999}.{nonce}.{mark}",
        f"{ends}.{nonce}x.{mark}",
        f"{ends}.{nonce}.{'0' * len(mark)}",
        f"{ends}.{nonce}",
        f"{ends}.{nonce}.{mark}".replace("1", "¹"),
        f"..{mark}",
        "",
        "." * 5000,
        None,
    ):
        assert not sessions.is_valid(forged)


@pytest.mark.parametrize("tokens", [("other", "manage"), ("score", "other")])
def test_another_token_ends_all_sessions(clock: Clock, tokens: tuple[str, str]) -> None:
    cookie = begun(Sessions("score", "manage", clock))

    assert Sessions("score", "manage", clock).is_valid(cookie)
    assert not Sessions(*tokens, clock).is_valid(cookie)


def test_a_form_is_of_one_session_and_its_mark_is_no_cookie(clock: Clock) -> None:
    sessions = Sessions("score", "manage", clock)
    mine, other = begun(sessions), begun(sessions)
    mark = sessions.form_token(mine)

    assert sessions.is_own_form(mine, mark)
    assert not sessions.is_own_form(other, mark)
    assert not sessions.is_own_form(mine, "")
    assert not sessions.is_own_form(mine, "ü")
    assert not sessions.is_valid(f"{mine.rpartition('.')[0]}.{mark}")
