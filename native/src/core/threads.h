// How many threads compute, and whether the system gives them.
#pragma once

namespace ga {

// ggml has room for no more.
constexpr int kMaxThreads = 512;

// One physical core each, within the process's CPU affinity. At least 1.
int default_thread_count();

// Throws GA_ERROR_BACKEND where n is not in [1, kMaxThreads], GA_ERROR_OUT_OF_MEMORY where the system does not give this process
// so many threads (limits on processes or memory). GCC's OpenMP, which starts them for ggml, ends the process in that case; so
// they are asked for first, once in each thread that computes.
void require_threads(int n);

// Throws GA_ERROR_OUT_OF_MEMORY where this process has so little address space left that what the C library and ggml take in
// passing, and end the process without, may not be there.
void require_headroom();

} // namespace ga
