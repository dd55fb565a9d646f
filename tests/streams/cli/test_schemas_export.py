"""`headwater schemas export`: the documents as files, or on stdout."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from schemas.topics import TOPICS
from streams.cli import schemas


@pytest.fixture
def run():
    app = typer.Typer()
    schemas.register(app)

    # a second command, as in the whole program: with a single one Typer drops its name
    @app.command()
    def other() -> None:
        """Nothing."""

    return lambda *words: CliRunner().invoke(app, ["schemas", "export", *words])


def test_a_file_for_each_json_topic_and_one_for_all(run, tmp_path):
    result = run("--out", str(tmp_path / "new" / "folder"), "--json")
    assert result.exit_code == 0
    written = json.loads(result.stdout)
    names = {path.rsplit("/", 1)[-1] for path in written}
    assert names == {f"{t.name}.v1.schema.json" for t in TOPICS.values() if t.record is not None} | {"asyncapi.json"}
    for path in written:
        with open(path, encoding="utf-8") as file:
            assert json.load(file)


def test_without_a_folder_everything_is_one_json_document_on_stdout(run):
    result = run()
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["asyncapi"]["channels"].keys() == TOPICS.keys()
    assert document["schemas"]["events.v1"]["$schema"]


def test_a_folder_that_cannot_be_written_is_an_error_that_says_so(run, tmp_path):
    (tmp_path / "file").write_text("")
    result = run("--out", str(tmp_path / "file" / "x"))
    assert result.exit_code == 1
    assert "--out" in result.stderr
    assert result.stdout == ""
