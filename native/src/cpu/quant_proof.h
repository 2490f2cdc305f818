// A proof that kernels compute right on the processor at hand, in a fraction of a millisecond.
#pragma once

#include "cpu/quant_kernels.h"

#include <string>

namespace ga {

// Both return what is wrong, or nothing.
std::string disproof(Quantise quantise);
std::string disproof(const QuantKernel & kernel);

} // namespace ga
