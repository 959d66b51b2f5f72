"""A bucket server, moto's, and what goes wrong between it and whoever asks it.

moto keeps S3's promises on conditional writes (``If-None-Match: *`` and ``If-Match``: 412), which
test_bucket.py shows before anything is built on them. A process of its own, as delta-rs holds Python's lock
while it waits for some answers, and a server of this process would never give them.
"""

import json
import logging
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import requests

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
REGION = "eu-central-1"
FAULTS = "/-/faults"

ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'
# As S3 answers: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
CODES = {
    403: ("403 Forbidden", "AccessDenied"),
    409: ("409 Conflict", "ConditionalRequestConflict"),
    412: ("412 Precondition Failed", "PreconditionFailed"),
    500: ("500 Internal Server Error", "InternalError"),
    503: ("503 Slow Down", "SlowDown"),
}


@dataclass
class Fault:
    """What happens to every ``every``-th request whose method and path fit, ``times`` times.

    ``status`` is answered without asking the bucket or, where ``is_lost``, after it has done what was asked;
    without a status the answer comes ``seconds`` late.
    """

    method: str
    part: str
    status: int = 0
    is_lost: bool = False
    seconds: float = 0
    times: int = 1
    every: int = 1
    seen: int = 0
    happened: int = 0

    def fits(self, method: str, path: str) -> bool:
        """Whether it happens to this request, which is counted."""
        if self.happened >= self.times or method != self.method or self.part not in path:
            return False
        self.seen += 1
        return self.seen % self.every == 0


class BucketServer:
    """The server at ``url``."""

    def __init__(self) -> None:
        command = [sys.executable, "-W", "ignore", "-m", "churn_assets_tests.buckets"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def stop(self) -> None:
        """End it, and with it all buckets."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def fail(self, *faults: Fault) -> None:
        """Let these faults happen, and no others."""
        said = requests.put(f"{self.url}{FAULTS}", json=[asdict(fault) for fault in faults], timeout=60)
        said.raise_for_status()

    def happened(self) -> list[int]:
        """Return how often each of the faults has happened."""
        return [fault["happened"] for fault in requests.get(f"{self.url}{FAULTS}", timeout=60).json()]

    def new_bucket(self, **options: Any) -> str:
        """Make a bucket, and return its URI."""
        name = f"lake-{uuid.uuid4().hex[:12]}"
        place = {"LocationConstraint": REGION}
        self.client().create_bucket(Bucket=name, CreateBucketConfiguration=place, **options)
        return f"s3://{name}"

    def keep_versions(self, uri: str) -> None:
        """Let the bucket of a URI keep what is overwritten or removed."""
        bucket = uri.removeprefix("s3://").partition("/")[0]
        self.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})

    def client(self) -> Any:
        """Return boto3's client."""
        import boto3

        keys = {name.lower(): value for name, value in CREDENTIALS.items()}
        return boto3.client("s3", endpoint_url=self.url, region_name=REGION, **keys)

    def objects(self, uri: str) -> dict[str, bytes]:
        """Return the contents of all objects below a URI, by their names within it."""
        client = self.client()
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        prefix = f"{prefix}/" if prefix else ""
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        names = [one["Key"] for page in pages for one in page.get("Contents", [])]
        return {
            name.removeprefix(prefix): client.get_object(Bucket=bucket, Key=name)["Body"].read()
            for name in names
        }

    def versions(self, uri: str) -> dict[tuple[str, str], bytes]:
        """Return the contents of all versions of all objects in a bucket, by their names and ids."""
        client, bucket = self.client(), uri.removeprefix("s3://").partition("/")[0]
        pages = client.get_paginator("list_object_versions").paginate(Bucket=bucket)
        kept = [(one["Key"], one["VersionId"]) for page in pages for one in page.get("Versions", [])]
        return {
            (name, version): client.get_object(Bucket=bucket, Key=name, VersionId=version)["Body"].read()
            for name, version in kept
        }

    def marks(self, uri: str) -> list[str]:
        """Return the names of objects of which a bucket keeps that they were deleted."""
        client, bucket = self.client(), uri.removeprefix("s3://").partition("/")[0]
        pages = client.get_paginator("list_object_versions").paginate(Bucket=bucket)
        return [one["Key"] for page in pages for one in page.get("DeleteMarkers", [])]

    def uploads(self, uri: str) -> list[str]:
        """Return the names of objects of which a bucket has an unfinished upload."""
        found = self.client().list_multipart_uploads(Bucket=uri.removeprefix("s3://").partition("/")[0])
        return [one["Key"] for one in found.get("Uploads", [])]

    def begin_upload(self, uri: str, content: bytes) -> None:
        """Upload a part of an object, and leave it at that."""
        client = self.client()
        bucket, _, name = uri.removeprefix("s3://").partition("/")
        upload = client.create_multipart_upload(Bucket=bucket, Key=name)["UploadId"]
        client.upload_part(Bucket=bucket, Key=name, PartNumber=1, UploadId=upload, Body=content)

    def copy(self, uri: str, to: str) -> None:
        """Copy all objects below a URI to another."""
        client = self.client()
        target, _, prefix = to.removeprefix("s3://").partition("/")
        for name, body in self.objects(uri).items():
            client.put_object(Bucket=target, Key=f"{prefix}/{name}", Body=body)

    def environment(self) -> dict[str, str]:
        """Return what tells every library where the bucket is."""
        return {"AWS_ENDPOINT_URL": self.url, "AWS_REGION": REGION, "AWS_ALLOW_HTTP": "true", **CREDENTIALS}


class Application:
    """moto's application with the faults in front of it."""

    def __init__(self, moto: Any) -> None:
        self._moto = moto
        self._faults: list[Fault] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if path == FAULTS:
            return self._control(method, environ, start_response)
        fault = next((one for one in self._faults if one.fits(method, path)), None)
        if fault is None:
            return self._moto(environ, start_response)
        fault.happened += 1
        time.sleep(fault.seconds)
        if not fault.status:
            return self._moto(environ, start_response)
        if fault.is_lost:
            list(self._moto(environ, lambda *_: None))
        else:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        status, code = CODES[fault.status]
        start_response(status, [("Content-Type", "application/xml")])
        return [ERROR.format(code=code).encode()]

    def _control(
        self, method: str, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        if method == "PUT":
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            self._faults = [Fault(**fault) for fault in json.loads(body)]
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps([asdict(fault) for fault in self._faults]).encode()]


def main() -> None:
    """Serve until killed, and print the address."""
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    application = Application(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=MotoRequestHandler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
