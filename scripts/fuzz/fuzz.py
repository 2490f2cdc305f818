"""Builds and runs the fuzz harnesses; see scripts/fuzz/run.

    native/tests/fuzz/fuzz_NAME.cpp ──clang──► build/fuzz/fuzz_NAME ◄── tests/fuzz/NAME, build/fuzz/NAME
    scripts/fuzz/media.py           ──Python─► the decoders

A line for each tells how many inputs it ran in how many seconds, how many edges of the code they reach, and
how many findings there were.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "fuzz"
SEEDS = ROOT / "tests" / "fuzz"
NATIVE = ("model", "calls")
MEDIA = Path(__file__).with_name("media.py")
LARGEST_SEED = 4096
"""Bytes; a finding larger than that stays in the build folder."""


def build() -> bool:
    """The harnesses with clang; False where there is none."""
    clang = shutil.which("clang++")
    if clang is None or not _links(clang):
        print(
            "clang++ with libFuzzer is not here: model and calls are left out "
            "(Debian: apt-get install clang libclang-rt-dev)"
        )
        return False
    tools = ROOT / ".venv" / "bin"
    configure = [
        tools / "cmake", "-S", ROOT / "native", "-B", BUILD, "-G", "Ninja",
        f"-DCMAKE_MAKE_PROGRAM={tools / 'ninja'}",
        f"-DCMAKE_CXX_COMPILER={clang}", f"-DCMAKE_C_COMPILER={shutil.which('clang') or clang}",
        f"-DPython_EXECUTABLE={tools / 'python'}", "-DGA_BUILD_FUZZERS=ON", "-DGA_WERROR=OFF",
        "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
    ]  # fmt: skip
    BUILD.mkdir(parents=True, exist_ok=True)
    log = BUILD / "build.log"
    targets = [f"fuzz_{name}" for name in NATIVE]
    with log.open("wb") as out:
        for command in (configure, [tools / "cmake", "--build", BUILD, "--target", *targets]):
            if subprocess.run(command, stdout=out, stderr=subprocess.STDOUT).returncode:
                out.flush()
                print("\n".join(log.read_text(errors="replace").splitlines()[-40:]))
                raise SystemExit("the harnesses do not build")
    return True


def _links(clang: str) -> bool:
    """Has this compiler libFuzzer and the sanitizers?"""
    BUILD.mkdir(parents=True, exist_ok=True)
    source, program = BUILD / "try.cpp", BUILD / "try"
    source.write_text(
        'extern "C" int LLVMFuzzerTestOneInput(const unsigned char *, unsigned long) { return 0; }\n'
    )
    command = [clang, "-fsanitize=fuzzer,address,undefined", str(source), "-o", str(program)]
    return subprocess.run(command, capture_output=True).returncode == 0


def run_native(name: str, seconds: int) -> int:
    """Runs one harness, in turn from finding to finding; how many there were."""
    corpus, found = BUILD / name, BUILD / "found" / name
    corpus.mkdir(parents=True, exist_ok=True)
    found.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "ASAN_OPTIONS": "allocator_may_return_null=1:detect_leaks=1:max_allocation_size_mb=2048",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        "GGML_NO_BACKTRACE": "1",
        "OMP_NUM_THREADS": "1",
    }
    inputs = edges = findings = 0
    begin = time.monotonic()
    while (left := seconds - (time.monotonic() - begin)) > 1 and findings < 5:
        done = subprocess.run(
            [
                BUILD / f"fuzz_{name}", corpus, SEEDS / name, f"-max_total_time={int(left)}", "-timeout=20",
                "-rss_limit_mb=4096", "-max_len=512", "-len_control=0", "-print_final_stats=1",
                f"-artifact_prefix={found}/",
            ],
            cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        (BUILD / f"{name}.log").write_text(done.stdout)
        inputs += int((re.findall(r"number_of_executed_units: (\d+)", done.stdout) or ["0"])[-1])
        edges = max(edges, int((re.findall(r" cov: (\d+) ", done.stdout) or ["0"])[-1]))
        if done.returncode == 0:
            break
        findings += 1
        keep(name, done.stdout)
    print(
        f"{name}: {inputs} inputs in {time.monotonic() - begin:.0f} s, {edges} edges, {findings} findings",
        flush=True,
    )
    return findings


def keep(name: str, log: str) -> None:
    """A finding becomes a seed; what its end looked like is printed."""
    print("\n".join(log.splitlines()[-60:]))
    for path in re.findall(r"Test unit written to (\S+)", log):
        finding = Path(path)
        if finding.is_file() and finding.stat().st_size <= LARGEST_SEED:
            shutil.copyfile(finding, SEEDS / name / f"found-{finding.name[-12:]}")


def run_media(seconds: int) -> int:
    """The media fuzzer, which prints its own line; 1 where it found something."""
    if not MEDIA.is_file():
        return 0
    command = [sys.executable, str(MEDIA), "--seconds", str(seconds)]
    return int(subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL).returncode != 0)


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs the fuzz harnesses.")
    parser.add_argument("--seconds", type=int, default=60, help="for each of them")
    parser.add_argument("--only", nargs="+", choices=(*NATIVE, "media"), default=[*NATIVE, "media"])
    args = parser.parse_args()
    findings = 0
    native = [name for name in NATIVE if name in args.only]
    if native and build():
        findings += sum(run_native(name, args.seconds) for name in native)
    if "media" in args.only:
        findings += run_media(args.seconds)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
