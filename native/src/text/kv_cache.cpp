#include "text/kv_cache.h"

namespace ga {

// No machine has more.
static constexpr double kMostBytes = 1e14;

KvCache::KvCache(const TextModel & model, Backend & backend, ggml_type type, int n_ctx, int n_seq, bool zeroed)
    : n_ctx_(n_ctx), lengths_((size_t)n_seq, 0),
      device_tensors_(backend.device_place(), (size_t)model.n_layer_kv * 2 + 1),
      cpu_tensors_(backend.cpu_place(), (size_t)model.n_layer_kv * 2 + 1) {
    double n_bytes = 0; // in whole numbers it would overflow for the largest caches that can be asked for
    for (int il = 0; il < model.n_layer_kv; il++) {
        const TextLayer & layer = model.layers[(size_t)il];
        if (layer.head_dim % ggml_blck_size(type) != 0) {
            fail(GA_ERROR_INVALID_ARGUMENT, "the K/V type %s needs heads of a multiple of %lld, this model's are %d",
                 ggml_type_name(type), (long long)ggml_blck_size(type), layer.head_dim);
        }
        n_bytes += 2.0 * (double)ggml_row_size(type, layer.head_dim) * layer.n_head_kv * n_ctx * n_seq;
        for (auto * list : {&k_, &v_}) {
            const std::string name = format("cache_%c.%d", list == &k_ ? 'k' : 'v', il);
            DeviceTensors & tensors = model.on_device(il) ? device_tensors_ : cpu_tensors_;
            list->push_back(tensors.add(type, layer.head_dim, n_ctx, layer.n_head_kv, n_seq, name.c_str()));
        }
    }
    if (n_bytes > kMostBytes) {
        fail(GA_ERROR_OUT_OF_MEMORY, "no memory for a K/V cache of %.0f GB", n_bytes / 1e9);
    }
    device_tensors_.allocate(zeroed);
    cpu_tensors_.allocate(zeroed);
}

void KvCache::copy(int from, int to, int n) {
    if (from != to) {
        std::vector<uint8_t> rows; // through the host: prompts' beginnings are short, and every device can do it
        for (const auto * list : {&k_, &v_}) {
            for (ggml_tensor * cache : *list) {
                rows.resize((size_t)n * cache->nb[1]);
                for (int64_t head = 0; head < cache->ne[2] && n > 0; head++) {
                    const size_t offset = (size_t)head * cache->nb[2];
                    ggml_backend_tensor_get(cache, rows.data(), offset + (size_t)from * cache->nb[3], rows.size());
                    ggml_backend_tensor_set(cache, rows.data(), offset + (size_t)to * cache->nb[3], rows.size());
                }
            }
        }
    }
    lengths_[(size_t)to] = n;
}

ggml_tensor * KvCache::sequence(ggml_context * ctx, ggml_tensor * cache, int seq) {
    return ggml_view_3d(ctx, cache, cache->ne[0], cache->ne[1], cache->ne[2], cache->nb[1], cache->nb[2],
                        (size_t)seq * cache->nb[3]);
}

} // namespace ga
