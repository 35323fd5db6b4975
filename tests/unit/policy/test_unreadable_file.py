"""What a path is told that no policy can be read from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from weighbridge.errors import PolicyError, PolicyNotFoundError
from weighbridge.policy import read_policy
from weighbridge.policy.file import MAX_BYTES

SCHEMA = "schema = 1\n"
OTHERWISE = '[otherwise]\nlane = "in_process"\n'


def test_a_missing_file_is_named_with_one_of_a_like_name(tmp_path: Path) -> None:
    (tmp_path / "by-night.toml").write_text(SCHEMA + OTHERWISE, encoding="utf-8")
    path = tmp_path / "by-nigth.toml"
    with pytest.raises(PolicyNotFoundError) as caught:
        read_policy(path)
    assert str(caught.value) == (f"policy {path}: there is no such file; did you mean {tmp_path / 'by-night.toml'}?")


def test_a_missing_file_is_named_with_the_folder_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PolicyNotFoundError) as caught:
        read_policy("mine.toml")
    assert str(caught.value) == f"policy mine.toml: there is no such file; looked in {tmp_path}"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "policies" / "mine.toml"
    with pytest.raises(PolicyNotFoundError, match=r"there is no such file; there is no folder .*policies either"):
        read_policy(path)


def test_a_directory_is_refused_with_the_files_in_it(tmp_path: Path) -> None:
    for name in ("b.toml", "a.toml", "c.txt"):
        (tmp_path / name).touch()
    with pytest.raises(PolicyError) as caught:
        read_policy(tmp_path)
    assert str(caught.value) == f"policy {tmp_path}: it is a directory; name a file in it: a.toml, b.toml"


def test_a_pipe_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "pipe.toml"
    os.mkfifo(path)
    with pytest.raises(PolicyError) as caught:
        read_policy(path)
    assert str(caught.value) == f"policy {path}: it is not a regular file; name a TOML file"


def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    path = tmp_path / f"{'x' * 300}.toml"
    with pytest.raises(PolicyError, match=r"it cannot be read \(File name too long\); make it readable"):
        read_policy(path)


def test_a_file_that_is_not_utf_8_is_refused_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes(SCHEMA.encode() + b"# caf\xe9\n")
    with pytest.raises(PolicyError) as caught:
        read_policy(path)
    assert str(caught.value) == (
        f"policy {path}, line 2: it is not UTF-8 (the byte 0xe9)\n    # caf\ufffd\n         ^\nsave it as UTF-8"
    )


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge.toml"
    path.write_text("#" * (MAX_BYTES + 1), encoding="utf-8")
    with pytest.raises(PolicyError, match="it has more than 262_144 bytes"):
        read_policy(path)


def test_the_place_in_a_file_with_the_line_ends_of_windows_is_right(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"schema = 1\r\n# a\r\nlane = queue\r\n")
    with pytest.raises(PolicyError) as caught:
        read_policy(path)
    assert caught.value.where == "line 3, column 8"
    assert caught.value.excerpt == "    lane = queue\n           ^"
