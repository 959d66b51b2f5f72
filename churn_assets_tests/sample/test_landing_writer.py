"""A reader of the landing zone sees all of a file or nothing, in a folder and on S3."""

import uuid
from pathlib import Path

import pyarrow.fs as pafs
import pytest
from moto.server import ThreadedMotoServer

from churn_assets.errors import LandingError
from churn_assets.sample.landing_writer import LandingWriter


@pytest.fixture(scope="module")
def s3_endpoint():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_landing(s3_endpoint, monkeypatch) -> str:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    bucket = f"churn-{uuid.uuid4()}"
    # Unlike from_uri, the constructor does not look at AWS_ENDPOINT_URL.
    pafs.S3FileSystem(allow_bucket_creation=True, endpoint_override=s3_endpoint).create_dir(bucket)
    return f"s3://{bucket}/landing/events"


@pytest.fixture(params=["folder", "s3"])
def landing(request, tmp_path) -> str:
    return str(tmp_path / "landing") if request.param == "folder" else request.getfixturevalue("s3_landing")


def names_in(landing: str) -> list[str]:
    """All names, hidden ones too."""
    files, root = pafs.FileSystem.from_uri(landing if "://" in landing else f"file://{landing}")
    return sorted(
        info.base_name for info in files.get_file_info(pafs.FileSelector(root, allow_not_found=True))
    )


def content_of(landing: str, name: str) -> bytes:
    files, root = pafs.FileSystem.from_uri(landing if "://" in landing else f"file://{landing}")
    with files.open_input_stream(f"{root}/{name}") as file:
        return file.read()


def test_a_file_lands_under_its_own_name(landing):
    writer = LandingWriter(landing)
    assert not writer.exists("a.json")
    assert writer.put("a.json", b"{}\n")
    assert writer.exists("a.json")
    assert (names_in(landing), content_of(landing, "a.json")) == (["a.json"], b"{}\n")


def test_a_file_is_not_seen_before_it_is_complete(landing):
    writer = LandingWriter(landing)
    with writer.create("a.json") as file:
        file.write(b"half")
        file.flush()
        assert [name for name in names_in(landing) if not name.startswith(".")] == []
    assert names_in(landing) == ["a.json"]


def test_nothing_is_left_of_a_file_whose_writer_failed(landing):
    def write_half() -> None:
        with LandingWriter(landing).create("a.json") as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert names_in(landing) == []


def test_the_same_content_again_is_left_alone(landing):
    writer = LandingWriter(landing)
    writer.put("a.json", b"{}\n")
    assert writer.put("a.json", b"{}\n") is False


def test_other_content_under_the_same_name_is_refused(landing):
    writer = LandingWriter(landing)
    writer.put("a.json", b"first\n")
    with pytest.raises(LandingError, match=r"a\.json is there already with other content\. Remove it"):
        writer.put("a.json", b"second\n")
    assert content_of(landing, "a.json") == b"first\n"


def test_a_landed_file_can_be_read_by_others(tmp_path):
    LandingWriter(str(tmp_path)).put("a.json", b"{}\n")
    plain = tmp_path / "b.json"
    plain.touch()
    assert (tmp_path / "a.json").stat().st_mode == plain.stat().st_mode


def test_a_folder_that_cannot_be_made_is_an_error_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LandingError, match="cannot be written to") as caught:
        LandingWriter(str(tmp_path / "file" / "landing"))
    assert "\n" not in str(caught.value)


def test_a_bucket_that_is_missing_is_an_error_in_one_line(s3_landing):
    with pytest.raises(LandingError, match=r"a\.json cannot be written") as caught:
        LandingWriter("s3://no-such-bucket/events").put("a.json", b"{}\n")
    assert "\n" not in str(caught.value)


def test_an_unknown_scheme_is_an_error_in_one_line():
    with pytest.raises(LandingError, match="ftp://somewhere/events cannot be written to"):
        LandingWriter("ftp://somewhere/events")


def test_a_landing_zone_may_be_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    LandingWriter("some/folder").put("a.json", b"{}\n")
    assert Path("some/folder/a.json").read_bytes() == b"{}\n"
