"""The OpenAPI document is made from the routes: none is missing, and each says whether it needs the token."""

from pathlib import Path
from typing import Any

import pytest
import requests
from starlette.routing import Route

from churn_assets.serving.endpoint import ENDPOINT_NAME
from churn_assets.serving.server import openapi
from churn_assets.serving.server.app import make_app
from churn_assets.serving.server.openapi import DescribedRoute
from churn_assets.serving.server.options import Options
from churn_assets_tests.serving.conftest import Client

ROUTES = make_app(
    Options(
        state=Path("missing"), online=Path("missing"), page=Path("missing"), token="any", admin_token="other"
    )
).routes
DESCRIBED = [route for route in ROUTES if isinstance(route, DescribedRoute)]
DOCUMENT = openapi.document(DESCRIBED)

# No interface of programs; pages/test_pages.py has who may see them.
PAGES = {"/", "/list.csv", "/login", "/logout", "/outcomes", "/page.css", "/trend", "/user"}

OPERATIONS = [
    (path, method, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]


def test_all_routes_but_those_of_pages_for_people_are_described():
    others = [route for route in ROUTES if not isinstance(route, DescribedRoute)]
    assert {route.path for route in others if isinstance(route, Route)} == PAGES


@pytest.mark.parametrize("route", DESCRIBED, ids=lambda route: route.path)
def test_every_route_is_in_the_document(route: DescribedRoute):
    path = route.path.replace("{name}", ENDPOINT_NAME)
    assert DOCUMENT["paths"][path].keys() == {route.method.lower()}
    assert DOCUMENT["paths"][path][route.method.lower()]["summary"] == route.operation.summary


def test_the_document_is_what_the_server_shows(client: Client):
    assert client.ask("GET", "/openapi.json").json() == DOCUMENT


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=lambda value: str(value)[:60])
def test_a_route_needs_the_token_unless_the_document_says_that_it_is_public(
    client: Client, path: str, method: str, operation: dict[str, Any]
):
    url = client.url + path.replace("{served}", "churn-prediction-model-1")

    status = requests.request(method, url, timeout=10).status_code

    assert status == (200 if operation.get("security") == [] else 401)
    assert str(status) in operation["responses"]


def test_a_scoring_request_has_exactly_one_of_the_four_formats():
    scoring = DOCUMENT["paths"][f"/serving-endpoints/{ENDPOINT_NAME}/invocations"]["post"]
    bodies = scoring["requestBody"]["content"]["application/json"]["schema"]["oneOf"]
    names = [body["$ref"].rpartition("/")[2] for body in bodies]

    required = [DOCUMENT["components"]["schemas"][name]["required"] for name in names]

    assert required == [["dataframe_records"], ["dataframe_split"], ["inputs"], ["instances"]]
