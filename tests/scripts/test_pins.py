"""requirements/*.txt hold all that an installation takes, with hashes, and are what was installed."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import pin_requirements

FILES = sorted((ROOT / "requirements").glob("*.txt"))
PLAN = {pins.name: pins for pins in pin_requirements.plan()}
PYTHONS = ("3.10", "3.11", "3.12", "3.13")


def entries(path: Path) -> list[tuple[Requirement, list[str]]]:
    """(requirement, hashes) of each."""
    text = re.sub(r"\\\n\s*", " ", path.read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = []
    for line in lines:
        requirement, *hashes = re.split(r"\s+--hash=", line)
        found.append((Requirement(requirement), hashes))
    return found


def taken(path: Path, python: str, platform: str = "linux") -> dict[str, str]:
    """Releases by name, on one system."""
    machine = {"sys_platform": platform, "platform_machine": "x86_64", "implementation_name": "cpython"}
    machine |= {"python_version": python, "python_full_version": f"{python}.9"}
    rows = [r for r, _ in entries(path) if r.marker is None or r.marker.evaluate(machine)]
    names = [canonicalize_name(r.name) for r in rows]
    assert len(names) == len(set(names)), f"{path.name} takes a package twice"
    return {name: str(r.specifier).removeprefix("==") for name, r in zip(names, rows, strict=True)}


def test_every_file_is_planned():
    assert {path.stem for path in FILES} == set(PLAN)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_all_is_pinned_with_hashes_and_names_no_host(path):
    rows = entries(path)
    assert rows
    for requirement, hashes in rows:
        assert re.fullmatch(r"==[\w.+!]+", str(requirement.specifier)), requirement
        assert requirement.url is None
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in hashes)
    assert not re.search(r"https?:|index|find-links", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", sorted(PLAN))
def test_what_is_asked_for_is_there(name, python):
    pins = PLAN[name]
    releases = taken(ROOT / "requirements" / f"{name}.txt", python)
    for line in pins.wanted:
        wanted = Requirement(line)
        if wanted.marker and not wanted.marker.evaluate({"python_version": python, "sys_platform": "linux"}):
            continue
        package = canonicalize_name(wanted.name)
        if package in pins.without:
            assert package not in releases
        else:
            assert wanted.specifier.contains(releases[package], prereleases=True), f"{name}.txt: {line}"


@pytest.mark.parametrize("python", PYTHONS)
def test_levels_agree(python):
    """A higher level must not replace what a lower one installed."""
    files = {name: taken(ROOT / "requirements" / f"{name}.txt", python) for name in PLAN}
    for name, pins in PLAN.items():
        if pins.like:
            common = files[pins.like].keys() & files[name].keys()
            assert {k: files[name][k] for k in common} == {k: files[pins.like][k] for k in common}
    assert files["base"].keys() <= files["test"].keys()


def test_the_tests_run_with_what_is_pinned():
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    wrong = {}
    for name, release in taken(ROOT / "requirements" / "test.txt", python, sys.platform).items():
        installed = metadata.version(name)
        if installed != release:
            wrong[name] = (installed, release)
    assert not wrong
