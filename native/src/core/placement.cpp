#include "core/placement.h"

#include "text/text_model.h"

#include <algorithm>
#include <cstdio>

namespace ga {

namespace {

// Positions of K/V that room is kept for: some minutes of recording, and a few windows at a time.
constexpr uint64_t kPositions = 4096;
// Room for intermediate results: of the encoder for a clip of 30 s, and of the decoder for a batch of rows.
constexpr uint64_t kIntermediate = 384u << 20;

LayerSizes layer_sizes(const TextModel & model, const GgufFile & file) {
    LayerSizes sizes;
    sizes.layers.resize((size_t)model.n_layer);
    const bool own_output = file.find_tensor("output.weight") != nullptr;
    for (const TensorInfo & info : file.tensors()) {
        int il = -1;
        if (std::sscanf(info.name.c_str(), "blk.%d.", &il) == 1 && il >= 0 && il < model.n_layer) {
            sizes.layers[(size_t)il] += info.n_bytes;
        } else if (info.name == (own_output ? "output.weight" : "token_embd.weight")) {
            sizes.output += info.n_bytes;
        } else if (info.name != "token_embd.weight" && info.name != "per_layer_token_embd.weight") {
            sizes.shared += info.n_bytes; // those two are looked up where the file is mapped
        }
    }
    for (int il = 0; il < model.n_layer_kv; il++) {
        const TextLayer & layer = model.layers[(size_t)il];
        sizes.layers[(size_t)il] += 2 * sizeof(ggml_fp16_t) * kPositions * (uint64_t)layer.head_dim * layer.n_head_kv;
    }
    return sizes;
}

} // namespace

int layers_that_fit(const LayerSizes & sizes, uint64_t n_bytes) {
    uint64_t used = sizes.shared;
    int n = 0;
    for (const uint64_t size : sizes.layers) {
        used += size;
        if (used > n_bytes) {
            return n;
        }
        n++;
    }
    return used + sizes.output <= n_bytes ? n + 1 : n;
}

int count_gpu_layers(const TextModel & model, const GgufFile & file, const Backend & backend, int n_wanted) {
    const int all = model.n_layer + 1;
    if (n_wanted < GA_ALL_THAT_FIT) {
        fail(GA_ERROR_INVALID_ARGUMENT, "n_gpu_layers is %d, neither a number of layers nor GA_ALL_THAT_FIT", n_wanted);
    }
    if (backend.is_host()) {
        return all;
    }
    if (n_wanted != GA_ALL_THAT_FIT) {
        return std::min(n_wanted, all);
    }
    size_t n_free = 0, n_total = 0;
    backend.memory(n_free, n_total);
    if (n_total == 0) {
        return all; // the device does not say: where it has too little, opening fails
    }
    return layers_that_fit(layer_sizes(model, file), n_free > kIntermediate ? n_free - kIntermediate : 0);
}

} // namespace ga
