// GEMMA_AUDIO_CPU_CLASS outside of the quantised products: a class without AVX-512 keeps the whole engine from it.
#pragma once

namespace ga {

// False where the environment caps the processor's class below AVX-512. Read once.
bool avx512_is_allowed();

} // namespace ga
