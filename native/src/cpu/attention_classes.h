// attention.h for each class of processors. Only for x86; callers ask first what the processor has.
#pragma once

#include "cpu/attention.h"

namespace ga {

void attend_avx2(const CacheAttention & args, int64_t first_unit, int64_t n_units);
void attend_avx512(const CacheAttention & args, int64_t first_unit, int64_t n_units);

} // namespace ga
