// A look at a GGUF header before ggml's reader, which ends the process on a few malformed ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace ga {

// Walks over all keys and values. Throws GA_ERROR_FORMAT naming the file.
void scan_header(const uint8_t * data, size_t size, const std::string & path);

} // namespace ga
