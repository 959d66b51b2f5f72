"""``churn open``: where report, page and UI of this lake are."""

import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from churn_assets import advice
from churn_assets.commands.current import current_settings
from churn_assets.console import err, out
from churn_assets.errors import EndpointError, EnvironmentNotReadyError, ModelError, SettingsError

if TYPE_CHECKING:
    from churn_assets.settings import Settings

What = Literal["report", "page", "ui"]

SECONDS = 2.0


def open_(
    what: Annotated[
        What | None,
        typer.Argument(
            help="The Production model's report, the scoring server's page, or Dagster's UI; "
            "without it, all three are named and none is opened."
        ),
    ] = None,
) -> None:
    """Print where report, page or UI are, and open it where there is a browser with a window."""
    settings = current_settings()
    if what is None:
        for name, place in PLACES.items():
            try:
                out.print(f"{name:<7}{place(settings)}", soft_wrap=True)
            except (EndpointError, EnvironmentNotReadyError, ModelError, SettingsError) as error:
                out.print(f"{name:<7}{error}", soft_wrap=True)
        return
    place = PLACES[what](settings)
    out.print(place, soft_wrap=True)
    if what == "page":
        from churn_assets.serving.endpoint import state_folder

        given = settings.endpoint_token and "CHURN_ENDPOINT_TOKEN"
        err.print(f"It asks for the token: {given or state_folder(settings) / 'token'}", soft_wrap=True)
    _open(place)


def _report(settings: "Settings") -> str:
    from churn_assets.model.registry import registry
    from churn_assets.model.report import location

    found = registry.production(settings)
    if found is None:
        raise ModelError("No model is Production yet, so there is no report. Train one: churn run")
    place = location.report_location(settings, found.version, found.run_id)
    if not place:
        raise ModelError(f"Version {found.version} was made without a report. Train another: churn run")
    return place


def _page(settings: "Settings") -> str:
    from churn_assets.serving.rollout.address import is_running

    if settings.deployment == "databricks":
        raise SettingsError(
            "The page is that of churn serve, for the deployments local and spark; CHURN_DEPLOYMENT is "
            "databricks. Whom to contact: churn export --at-risk"
        )
    url = settings.endpoint_url
    if not is_running(settings):
        raise EndpointError(f"Nobody answers at {url}. Start the server: {advice.start('serve')}")
    return f"{url}/"


def _ui(settings: "Settings") -> str:
    import requests

    url = settings.dagster_url
    with suppress(requests.RequestException, ValueError, KeyError, TypeError):
        # Dagster's webserver says its versions there.
        requests.get(f"{url}/server_info", timeout=SECONDS).json()["dagster_webserver_version"]
        return url
    raise EnvironmentNotReadyError(
        f"No Dagster UI answers at {url}. Start it: {advice.start('dev')}; "
        "if it listens elsewhere, set CHURN_DAGSTER_URL to that."
    )


PLACES = {"report": _report, "page": _page, "ui": _ui}


def _open(place: str) -> None:
    """Show it in a browser that has a window of its own; one for terminals would take this one over."""
    with suppress(webbrowser.Error):
        browser = webbrowser.get()
        if isinstance(browser, webbrowser.GenericBrowser) and not isinstance(
            browser, webbrowser.BackgroundBrowser
        ):
            return
        browser.open(Path(place).absolute().as_uri() if Path(place).is_file() else place)
