// Which classes of processors may be used: what the processor at hand has, capped by GEMMA_AUDIO_CPU_CLASS.
#pragma once

#include <string>

namespace ga {

constexpr const char * kCpuClassVariable = "GEMMA_AUDIO_CPU_CLASS";

// The variable's value, or nothing.
std::string cpu_class_cap();

// For kernels that come in two classes only. The cap avxvnni allows AVX2, and so does a cap that is none.
bool may_use_avx2();       // AVX2, FMA, F16C
bool may_use_avx512();     // F, BW, DQ, VL, and AVX2
bool may_use_avx512bf16(); // the same, with BF16 dot products

} // namespace ga
