"""Who this process is to a Databricks workspace: decided once, for every client that it has.

The SDK takes arguments, MLflow and what it starts only the environment, which pydantic does not fill from
``.env``; and the SDK refuses two ways of logging in at once. So one is chosen here, and all are told it.
"""

import logging
import os
from functools import cache
from typing import NamedTuple

from churn_assets.errors import SettingsError
from churn_assets.runtime import runs_on_cluster
from churn_assets.settings import Settings

# What the SDK calls an argument, and the variable that it and MLflow read it from.
VARIABLES = {
    "host": "DATABRICKS_HOST",
    "token": "DATABRICKS_TOKEN",
    "client_id": "DATABRICKS_CLIENT_ID",
    "client_secret": "DATABRICKS_CLIENT_SECRET",
    "profile": "DATABRICKS_CONFIG_PROFILE",
    "auth_type": "DATABRICKS_AUTH_TYPE",
}
# Without a secret in them, and yet no other machine's: a cluster is somebody by itself.
OF_THIS_MACHINE = frozenset({"DATABRICKS_CLIENT_ID", "DATABRICKS_CONFIG_PROFILE", "DATABRICKS_AUTH_TYPE"})

# The ways that need nothing but settings, the first before the second: the SDK's name, its arguments, and
# what people call it.
COMPLETE = {
    "oauth-m2m": (("client_id", "client_secret"), "the service principal"),
    "pat": (("token",), "DATABRICKS_TOKEN"),
}

WAYS_IN = (
    "DATABRICKS_TOKEN, or DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET, or DATABRICKS_CONFIG_PROFILE, "
    "or what else Databricks' SDK finds (OIDC of a CI, Azure CLI or managed identity)"
)

log = logging.getLogger(__name__)


class Identity(NamedTuple):
    """One way of logging in.

    Attributes:
        arguments: of the SDK's ``Config``; without ``auth_type`` it looks for a way itself.
        says: the way, for people.
        unused: variables that are set as well, and not used.
    """

    arguments: dict[str, str]
    says: str
    unused: tuple[str, ...] = ()


def identity(settings: Settings) -> Identity:
    """Choose a way in: a cluster's own before all others, then the one that ``DATABRICKS_AUTH_TYPE`` names.

    Then a service principal, a token, and a profile; else what the SDK finds on this machine.

    Raises:
        SettingsError: what is set is half of a way in.
    """
    if runs_on_cluster():
        return Identity({"auth_type": "runtime"}, "the cluster's user")
    given = {name: value for name in VARIABLES if (value := getattr(settings, f"databricks_{_field(name)}"))}
    named = given.get("auth_type", "")
    for auth_type, (names, says) in COMPLETE.items():
        if named in ("", auth_type) and given.keys() >= set(names):
            return _only(given, auth_type, names, says)
    if named:
        return Identity(given, f"DATABRICKS_AUTH_TYPE={named}")
    if "client_secret" in given:
        raise _incomplete("DATABRICKS_CLIENT_ID")
    if profile := given.get("profile"):
        return Identity(given, f"the profile {profile}")
    return Identity(given, "what the SDK found")


def share(settings: Settings) -> Identity:
    """Tell the identity to all that read the environment: MLflow, and processes that this one starts.

    Raises:
        SettingsError: as ``identity``.
    """
    chosen = identity(settings)
    for name, variable in VARIABLES.items():
        if name in chosen.arguments:
            os.environ[variable] = chosen.arguments[name]
        else:
            os.environ.pop(variable, None)
    if chosen.unused:
        _say_once(f"{' and '.join(chosen.unused)} not used beside {chosen.says}.")
    return chosen


def nothing_found(settings: Settings) -> SettingsError:
    """Return the error where the SDK has found no way in."""
    if profile := settings.databricks_config_profile:
        return SettingsError(
            f"DATABRICKS_CONFIG_PROFILE={profile} is no profile of ~/.databrickscfg, or lacks host or "
            "credentials. See those that are there: databricks auth profiles"
        )
    return _incomplete(*([] if settings.databricks_host else ["DATABRICKS_HOST"]), WAYS_IN)


def _only(given: dict[str, str], auth_type: str, names: tuple[str, ...], says: str) -> Identity:
    if "host" not in given:
        raise _incomplete("DATABRICKS_HOST")
    unused = tuple(VARIABLES[name] for name in given if name not in (*names, "host", "auth_type"))
    used = {name: given[name] for name in ("host", *names)}
    return Identity({**used, "auth_type": auth_type}, says, unused)


def _field(name: str) -> str:
    return "config_profile" if name == "profile" else name


def _incomplete(*missing: str) -> SettingsError:
    return SettingsError(
        f"CHURN_DEPLOYMENT=databricks needs {' and '.join(missing)}. Set it in the environment or in .env."
    )


@cache
def _say_once(message: str) -> None:
    log.warning(message)
