"""What the vendors' tools print becomes devices.

Really recorded, on a machine that had the tool: nvcc-13.0.txt, vulkaninfo-summary-llvmpipe.txt,
clinfo-list-empty.txt, cpuinfo-epyc.txt. All the others are written after the vendors' documentation: they
show the format, not that such a device was ever seen by this package.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemma_audio_cli.backends import parse
from gemma_audio_cli.backends.parse import Device

DATA = Path(__file__).parent / "data"
GIB, MIB = 1 << 30, 1 << 20


def recorded(name: str) -> str:
    return (DATA / name).read_text(encoding="utf-8")


def test_nvidia():
    h100, old = parse.nvidia_smi(recorded("nvidia-smi-query.csv"))
    assert h100 == Device("NVIDIA H100 80GB HBM3", 81559 * MIB, 80994 * MIB, "550.54.15", "compute 9.0")
    assert old.note == "compute 6.1"
    assert parse.nvidia_smi_cuda(recorded("nvidia-smi.txt")) == "12.4"
    assert parse.nvcc(recorded("nvcc-12.4.txt")) == "12.4"
    assert parse.nvcc(recorded("nvcc-13.0.txt")) == "13.0"


def test_a_card_that_does_not_tell_its_memory_is_still_there():
    (device,) = parse.nvidia_smi("NVIDIA GB10, [N/A], [N/A], 580.65.06, 12.1\n")
    assert (device.memory, device.free, device.note) == (None, None, "compute 12.1")


def test_amd():
    assert parse.rocminfo(recorded("rocminfo.txt")) == [
        Device("AMD Radeon RX 7900 XTX", 25149440 * 1024, note="gfx1100")
    ]
    assert parse.rocm_smi(recorded("rocm-smi.json")) == ("6.7.0", [(25753026560, 25753026560 - 27521024)])
    assert parse.hipcc(recorded("hipcc.txt")) == "6.1.40091"


def test_apple():
    (device,) = parse.system_profiler(recorded("system_profiler.json"))
    assert device == Device("Apple M2 Pro", note="19 cores")


def test_vulkan():
    (software,) = parse.vulkaninfo(recorded("vulkaninfo-summary-llvmpipe.txt"))
    assert software.name == "llvmpipe (LLVM 15.0.6, 256 bits)"
    assert software.note.startswith("software")
    card, second = parse.vulkaninfo(recorded("vulkaninfo-summary-gpus.txt"))
    assert card == Device("AMD Radeon RX 7900 XTX (RADV NAVI31)", driver="Mesa 24.0.5", note="Vulkan 1.3.274")
    assert second.note.startswith("software")


@pytest.mark.parametrize(
    ("name", "driver"), [("sycl-ls.txt", "1.3.29138"), ("sycl-ls-2023.txt", "1.3.26918")]
)
def test_sycl_counts_a_card_once(name, driver):
    assert parse.sycl_ls(recorded(name)) == [Device("Intel(R) Arc(TM) A770 Graphics", driver=driver)]
    assert parse.icpx(recorded("icpx.txt")) == "2024.2.0"


def test_openvino_takes_intel_devices_only():
    assert parse.clinfo(recorded("clinfo-list.txt")) == [Device("Intel(R) Arc(TM) A770 Graphics")]
    assert parse.clinfo(recorded("clinfo-list-empty.txt")) == []


def test_ascend():
    first, second = parse.npu_smi(recorded("npu-smi.txt"))
    assert first == Device("Ascend 910B3", 65536 * MIB, (65536 - 3384) * MIB, "24.1.rc2")
    assert second.note == "health: Warning"


def test_cpus():
    epyc = parse.cpuinfo(recorded("cpuinfo-epyc.txt"))
    assert epyc is not None
    assert epyc.name == "AMD EPYC"
    assert {"avx2", "avx512_vnni", "avx512_bf16"} <= set(epyc.features)
    arm = parse.cpuinfo(recorded("cpuinfo-arm.txt"))
    assert arm is not None
    assert (arm.name, arm.threads, arm.cores) == ("ARM part 0xd40", 2, None)
    assert {"i8mm", "sve", "asimddp"} <= set(arm.features)


READERS = [
    parse.nvidia_smi, parse.nvidia_smi_cuda, parse.nvcc, parse.rocminfo, parse.rocm_smi, parse.hipcc,
    parse.system_profiler, parse.vulkaninfo, parse.sycl_ls, parse.icpx, parse.clinfo, parse.npu_smi,
    parse.cpuinfo,
]  # fmt: skip
TEXTS = [path.read_text(encoding="utf-8") for path in sorted(DATA.iterdir())]


@pytest.mark.parametrize("reader", READERS)
@given(text=st.sampled_from(TEXTS), cut=st.integers(0, 3000), junk=st.text(max_size=20))
def test_no_output_is_an_error(reader, text, cut, junk):
    reader(text[:cut] + junk + text[cut + 7 :])
    reader(junk)
