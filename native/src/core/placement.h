// How many of a text model's layers lie on a device whose memory may not hold all of them.
//
// The first ones do: every row of a prompt passes the layers that own K/V, which come first, and most rows none of the
// others; and a layer that shares K/V reads those of an earlier one.
#pragma once

#include "core/backend.h"
#include "core/gguf_file.h"

#include <cstdint>
#include <vector>

namespace ga {

class TextModel;

// Bytes on the device.
struct LayerSizes {
    uint64_t shared = 0;          // what every layer needs
    std::vector<uint64_t> layers; // weights, and K/V where a layer owns them
    uint64_t output = 0;          // the output matrix
};

// As many layers as fit into so many bytes, the output matrix last: 0 to layers.size() + 1.
int layers_that_fit(const LayerSizes & sizes, uint64_t n_bytes);

// The number for ga_engine_options.n_gpu_layers of a model whose numbers are read. Throws GA_ERROR_INVALID_ARGUMENT.
int count_gpu_layers(const TextModel & model, const GgufFile & file, const Backend & backend, int n_wanted);

} // namespace ga
