"""Wheels that bring ggml: their metadata, and that what builds them agrees with the package."""

from __future__ import annotations

import base64
import csv
import hashlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle import finish, ggml
from gemma_audio_cli.backends import amx
from gemma_audio_cli.engine import _llama

ROOT = Path(__file__).resolve().parents[2]
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")

_NAMES = st.from_regex(r"(?!inner$)[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,8})?", fullmatch=True)


@given(others=st.lists(_NAMES), where=st.integers(0, 20), body=st.text(max_size=80))
def test_only_the_one_requirement_goes(others, where, body):
    lines = ["Metadata-Version: 2.4", "Name: outer", *(f"Requires-Dist: {name}>=1" for name in others)]
    place = min(where, len(lines))
    with_it = [*lines[:place], "Requires-Dist: inner==0.3.36", *lines[place:]]
    text = "\n".join(with_it) + "\n\n" + body
    assert finish.drop_requirement(text, "inner") == "\n".join(lines) + "\n\n" + body


@pytest.mark.parametrize(
    "header",
    ["Name: x", "Name: x\nRequires-Dist: inner-tube>=1", "Requires-Dist: inner==1\nRequires-Dist: inner==2"],
)
def test_a_requirement_that_is_not_there_once_is_an_error(header):
    with pytest.raises(SystemExit, match="once was expected"):
        finish.drop_requirement(f"{header}\n\nRequires-Dist: inner", "inner")


def test_a_wheel_without_its_requirement_is_whole(tmp_path):
    pytest.importorskip("wheel")
    wheel = tmp_path / "outer-1.0-py3-none-any.whl"
    metadata = (
        "Metadata-Version: 2.1\nName: outer\nVersion: 1.0\n"
        "Requires-Dist: numpy\nRequires-Dist: llama-cpp-python==0.3.36\n\nText: ä\n"
    )
    files = {
        "outer/__init__.py": "x = 1\n",
        "outer-1.0.dist-info/METADATA": metadata,
        "outer-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [[name, _digest(text.encode()), str(len(text.encode()))] for name, text in files.items()]
    record.append(["outer-1.0.dist-info/RECORD", "", ""])
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr("outer-1.0.dist-info/RECORD", "\n".join(",".join(row) for row in record) + "\n")

    done = finish.without_requirement(wheel, finish.INSIDE, tmp_path / "ready")

    assert done.name == wheel.name
    with zipfile.ZipFile(done) as archive:
        text = archive.read("outer-1.0.dist-info/METADATA").decode("utf-8")
        assert text == metadata.replace("Requires-Dist: llama-cpp-python==0.3.36\n", "")
        rows = list(csv.reader(archive.read("outer-1.0.dist-info/RECORD").decode().splitlines()))
        assert {name for name, _, _ in rows} == set(archive.namelist())
        for name, digest, size in rows:
            if not name.endswith("RECORD"):
                assert (digest, int(size)) == (_digest(archive.read(name)), len(archive.read(name)))


def _digest(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def test_one_release_of_ggml_is_meant_everywhere():
    assert ggml.release() == _llama.RELEASE


def test_an_installation_from_source_says_which_ggml_it_has():
    from importlib import metadata

    assert not _llama.is_bundled()
    assert _llama.release() == metadata.version("llama-cpp-python")


@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_ggml_is_built_for_any_processor(system):
    options = ggml.options(system)
    assert {"-DGGML_NATIVE=OFF", "-DGGML_BACKEND_DL=ON", "-DGGML_CPU_ALL_VARIANTS=ON"} <= set(options)
    assert len({option.split("=")[0] for option in options}) == len(options)


def test_what_amx_needs_reaches_the_compiler():
    options = ggml.options("linux", amx.Remedy("", ("-fno-tree-dse", "-fno-dse"), ("clang", "clang++")))
    for language in ("C", "CXX"):
        (flags,) = [option for option in options if option.startswith(f"-DCMAKE_{language}_FLAGS=")]
        assert flags.endswith(" -fno-tree-dse -fno-dse")
    assert "-DCMAKE_CXX_COMPILER=clang++" in options


def test_the_tools_have_what_the_build_requires():
    requirements = (ROOT / "requirements" / "wheel.in").read_text(encoding="utf-8").splitlines()
    (required,) = re.findall(r"^requires = \[(.*?)\]$", PROJECT, re.M | re.S)
    for requirement in re.findall(r'"([^"]+)"', required):
        assert requirement in requirements or requirement.startswith(finish.INSIDE)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="reads TOML")
def test_cibuildwheel_runs_what_is_there():
    import tomllib

    table = tomllib.loads(PROJECT)["tool"]["cibuildwheel"]
    commands = [*table["before-build"], table["repair-wheel-command"], table["test-command"]]
    scripts = [path for command in commands for path in re.findall(r"\{project\}/(\S+)", command)]
    assert scripts
    for path in scripts:
        assert (ROOT / path).is_file(), path
    parts = re.findall(r"build_wheel\.py (\w+)", " ".join(commands))
    assert parts == ["ggml", "finish", "check"]
    for part in parts:
        command = [sys.executable, str(ROOT / "scripts" / "build_wheel.py"), part, "--help"]
        assert subprocess.run(command, capture_output=True).returncode == 0, part
