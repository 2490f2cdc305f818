"""One row of data for every backend.

The CPU's library comes with the package; the others are made by `gemma-audio backends build NAME`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fetched:
    """Packages of PyPI that a build fetches where a machine lacks what they bring (Linux)."""

    what: str
    packages: tuple[str, ...]
    root: str
    """The folder among those they install that has it."""
    flags: tuple[str, ...]
    """CMake's; {root} is that folder."""
    libraries: tuple[str, ...]
    """Patterns below that folder: libraries that are needed while running too."""


@dataclass(frozen=True)
class Need:
    """Something a build cannot do without, and the package that brings it."""

    what: str
    package: str
    programs: tuple[str, ...] = ()
    """Any of these on PATH will do."""
    files: tuple[str, ...] = ()
    """Or any of these patterns of files; $NAME is the environment's."""
    holds: str = ""
    """Text that the file has to hold, where an old one would not do."""
    fetched: Fetched | None = None
    """What to fetch in its place."""


@dataclass(frozen=True)
class Backend:
    """What there is to know about a backend without looking at the machine."""

    name: str
    title: str
    device: str
    """What ggml calls its devices, before their number."""
    numbered: bool
    flags: tuple[str, ...]
    """CMake flags for ggml."""
    needs: tuple[Need, ...]
    driver: str
    """Where the driver comes from."""
    verified: str
    """How far it was tested: "run", "compiled" or "untested", and with what."""
    systems: tuple[str, ...] = ("linux", "win32", "darwin")
    on_cpu: bool = False
    """Does it compute on the CPU too? Then no device has to be there, and it is slower than the engine's own
    products: it is used only where a person names it.
    """

    @property
    def is_default(self) -> bool:
        """Does the package bring its library?"""
        return self.name == CPU


CPU = "cpu"

_OPENCL = Need(
    "OpenCL headers and loader", "opencl-headers ocl-icd-opencl-dev",
    files=("/usr/include/CL/cl.h", "/usr/local/include/CL/cl.h"),
)  # fmt: skip

# 13.0 rather than the newest: what it compiles runs on every driver that runs CUDA 13.
_CUDA = Fetched(
    "the CUDA toolkit 13.0", ("cuda-toolkit[cccl,crt,cublas,cudart,nvcc,nvvm]==13.0.*",), "nvidia/cu13",
    # libcuda.so, which this memory pool is linked against, comes with drivers only, and not with all.
    ("-DCMAKE_CUDA_COMPILER={root}/bin/nvcc", "-DCUDAToolkit_ROOT={root}", "-DGGML_CUDA_NO_VMM=ON"),
    ("lib/libcublas.so.*", "lib/libcublasLt.so.*", "lib/libcudart.so.*"),
)  # fmt: skip

_OPENVINO = Fetched(
    "OpenVINO", ("openvino>=2026.0",), "openvino", ("-DOpenVINO_DIR={root}/cmake",), ("libs/*",)
)

COMPILER = Need("a C++ compiler", "g++ (Xcode: xcode-select --install)", ("c++", "g++", "clang++", "cl"))
"""What every build needs."""

BACKENDS: tuple[Backend, ...] = (
    Backend(
        "cuda", "NVIDIA CUDA 12.4 or 13", "CUDA", True, ("-DGGML_CUDA=ON",),
        (
            Need(
                "the CUDA compiler nvcc", "cuda-toolkit-12-4 or later: developer.nvidia.com/cuda-downloads",
                ("nvcc",), ("/usr/local/cuda/bin/nvcc", "$CUDA_PATH/bin/nvcc.exe"), fetched=_CUDA,
            ),
            Need(
                "cuBLAS headers", "libcublas-dev-12-4 or later (part of cuda-toolkit)",
                files=(
                    "/usr/local/cuda/include/cublas_v2.h", "/usr/local/cuda/targets/*/include/cublas_v2.h",
                    "/usr/include/cublas_v2.h", "$CUDA_PATH/include/cublas_v2.h",
                ),
                fetched=_CUDA,
            ),
        ),
        "NVIDIA's driver, 550 or later (CUDA 13: 580)",
        "compiled: nvcc 13.0 for sm_86, Debian 12, November 2026", ("linux", "win32"),
    ),
    Backend(
        "hip", "AMD ROCm (HIP)", "ROCm", True, ("-DGGML_HIP=ON",),
        (
            Need(
                "the HIP compiler hipcc", "rocm-hip-sdk: rocm.docs.amd.com",
                ("hipcc",), ("/opt/rocm/bin/hipcc",),
            ),
            Need(
                "hipBLAS", "hipblas-dev (part of rocm-hip-sdk)",
                files=("/opt/rocm/include/hipblas/hipblas.h", "/usr/include/hipblas/hipblas.h"),
            ),
        ),
        "ROCm 6.1 or later", "untested", ("linux",),
    ),
    Backend(
        "metal", "Apple Metal", "MTL", True, ("-DGGML_METAL=ON", "-DGGML_METAL_EMBED_LIBRARY=ON"),
        (Need("Xcode's command line tools", "xcode-select --install", ("xcrun",)),),
        "part of macOS", "untested", ("darwin",),
    ),
    Backend(
        "vulkan", "Vulkan", "Vulkan", True, ("-DGGML_VULKAN=ON",),
        (
            Need("the shader compiler glslc", "glslc (or the Vulkan SDK: vulkan.lunarg.com)", ("glslc",)),
            Need(
                "Vulkan headers of 1.3.272 or later",
                "libvulkan-dev (Debian 13, Ubuntu 24.04) or the Vulkan SDK",
                files=(
                    "$VULKAN_SDK/include/vulkan/vulkan_core.h", "/usr/local/include/vulkan/vulkan_core.h",
                    "/usr/include/vulkan/vulkan_core.h", "/opt/homebrew/include/vulkan/vulkan_core.h",
                ),
                holds="VkLayerSettingEXT",
            ),
            Need(
                "SPIR-V headers", "spirv-headers",
                files=(
                    "/usr/share/cmake/SPIRV-Headers/*.cmake", "/usr/lib/*/cmake/SPIRV-Headers/*.cmake",
                    "/usr/local/share/cmake/SPIRV-Headers/*.cmake", "/usr/lib/cmake/SPIRV-Headers/*.cmake",
                    "$VULKAN_SDK/*/cmake/SPIRV-Headers/*.cmake",
                    "/opt/homebrew/share/cmake/SPIRV-Headers/*.cmake",
                ),
            ),
        ),
        "the graphics driver (Mesa: mesa-vulkan-drivers)",
        "run: Mesa 22.3.6 lavapipe (software), Debian 12, November 2026",
    ),
    Backend(
        "openvino", "Intel OpenVINO", "OPENVINO", True, ("-DGGML_OPENVINO=ON",),
        (
            Need(
                "OpenVINO", "openvino (the archive or the apt repository)",
                files=("$INTEL_OPENVINO_DIR/runtime/cmake/OpenVINOConfig.cmake",
                       "/opt/intel/openvino*/runtime/cmake/OpenVINOConfig.cmake",
                       "/usr/lib/cmake/openvino*/OpenVINOConfig.cmake"),
                fetched=_OPENVINO,
            ),
            _OPENCL,
        ),
        "intel-opencl-icd for GPUs; none for CPUs",
        "run: OpenVINO 2026.4.1 on the CPU, Debian 12, November 2026", ("linux", "win32"), on_cpu=True,
    ),
    Backend(
        "sycl", "Intel SYCL (oneAPI)", "SYCL", True,
        ("-DGGML_SYCL=ON", "-DCMAKE_C_COMPILER=icx", "-DCMAKE_CXX_COMPILER=icpx"),
        (
            Need(
                "the oneAPI compiler icpx",
                "intel-oneapi-base-toolkit, then: . /opt/intel/oneapi/setvars.sh", ("icpx",),
            ),
        ),
        "intel-level-zero-gpu", "untested", ("linux", "win32"),
    ),
    Backend(
        "cann", "Huawei Ascend (CANN)", "CANN", True, ("-DGGML_CANN=ON",),
        (
            Need(
                "the CANN toolkit",
                "Ascend-cann-toolkit, then: . /usr/local/Ascend/ascend-toolkit/set_env.sh",
                files=("$ASCEND_TOOLKIT_HOME/include/acl/acl.h",),
            ),
            # ggml's build reads the processor's kind (910b3, 310p) from this tool.
            Need("npu-smi", "the Ascend driver package", ("npu-smi",)),
        ),
        "the Ascend driver and firmware", "untested", ("linux",),
    ),
    Backend(
        "blas", "OpenBLAS on the CPU", "BLAS", False, ("-DGGML_BLAS=ON", "-DGGML_BLAS_VENDOR=OpenBLAS"),
        (
            Need(
                "OpenBLAS", "libopenblas-dev",
                files=(
                    "/usr/include/*/cblas.h", "/usr/include/cblas.h", "/usr/include/*/openblas*/cblas.h",
                    "/usr/include/openblas/cblas.h", "/opt/homebrew/opt/openblas/include/cblas.h",
                ),
            ),
            Need("pkg-config", "pkg-config", ("pkg-config", "pkgconf")),
        ),
        "none", "run: OpenBLAS 0.3.21, Debian 12, November 2026", ("linux", "darwin"), on_cpu=True,
    ),
    Backend("cpu", "CPU", "CPU", False, (), (), "none", "run: x86-64, Debian 12, November 2026"),
)  # fmt: skip

NAMES = tuple(row.name for row in BACKENDS)


def find_backend(name: str) -> Backend:
    """The row of that name. Raises UsageError."""
    for row in BACKENDS:
        if row.name == name.lower():
            return row
    from difflib import get_close_matches

    from gemma_audio_cli.errors import UsageError

    near = get_close_matches(name.lower(), NAMES, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise UsageError(f"no backend is called {name!r}{hint}; there are {', '.join(NAMES)}")
