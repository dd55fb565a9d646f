"""The data folder is opened by one process at a time, by the version that wrote it, with room to write."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from streams.embedded.errors import DiskFull, FolderInUse, FolderVersion, ServiceError
from streams.embedded.folder import DataFolder


def test_a_folder_can_be_opened_again_once_it_is_closed(tmp_path):
    with DataFolder(tmp_path / "data") as first:
        assert first.is_dir()
    with DataFolder(tmp_path / "data") as second:
        assert second == first


def test_a_folder_that_is_open_is_refused_with_the_pid_of_its_holder(tmp_path):
    with DataFolder(tmp_path / "data"), pytest.raises(FolderInUse) as caught, DataFolder(tmp_path / "data"):
        pass
    assert f"pid {os.getpid()}" in caught.value.problem
    assert "HEADWATER_DATA_DIR" in caught.value.remedy


def test_the_lock_of_a_killed_process_is_gone(tmp_path):
    hold = (
        "import os, sys, pathlib\n"
        "from streams.embedded.folder import DataFolder\n"
        "DataFolder(pathlib.Path(sys.argv[1])).__enter__()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", hold, str(tmp_path / "data")], check=False)
    assert (tmp_path / "data" / "lock").read_text() != ""
    with DataFolder(tmp_path / "data"):
        pass


@pytest.mark.parametrize(
    "written", ['{"layout": 99, "kafka": "4.1.2"}', '{"layout": 1, "kafka": "99.0"}', "not json", "[]"]
)
def test_a_folder_of_another_version_is_refused_and_left_as_it_is(tmp_path, written):
    (tmp_path / "version.json").write_text(written)
    with pytest.raises(FolderVersion), DataFolder(tmp_path):
        pass
    assert (tmp_path / "version.json").read_text() == written


def test_a_folder_of_an_older_kafka_is_taken_over(tmp_path):
    (tmp_path / "version.json").write_text('{"layout": 1, "kafka": "4.0.0"}')
    with DataFolder(tmp_path):
        assert json.loads((tmp_path / "version.json").read_text())["kafka"] != "4.0.0"


def test_too_little_room_is_told_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10 << 30, 10 << 30, 5 << 20))
    with pytest.raises(DiskFull) as caught, DataFolder(tmp_path):
        pass
    assert "5 MB" in caught.value.problem


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError) as caught, DataFolder(tmp_path / "file" / "data"):
        pass
    assert str(tmp_path / "file" / "data") in caught.value.problem
    assert "HEADWATER_DATA_DIR" in caught.value.remedy


def test_a_refused_folder_is_not_kept_locked(tmp_path):
    (tmp_path / "version.json").write_text("not json")
    with pytest.raises(FolderVersion), DataFolder(tmp_path):
        pass
    (tmp_path / "version.json").unlink()
    with DataFolder(tmp_path) as path:
        assert isinstance(path, Path)
