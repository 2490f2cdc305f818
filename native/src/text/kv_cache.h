// Keys and values of several sequences, for the layers that own them, each beside its layer's weights.
//
//   per owning layer: K, V [head_dim, n_ctx, n_head_kv, n_seq]
//
// A sequence's length is the number of its valid positions; rewinding is setting the length. What lies beyond it
// is never seen: every attention looks at [.., length), or hides the rest.
#pragma once

#include "text/text_model.h"

#include <vector>

namespace ga {

class KvCache {
  public:
    // type: GGML_TYPE_F16, Q8_0 or F32. zeroed: for attention that reads beyond a sequence's length and hides what it finds, which
    // must be numbers. Throws GA_ERROR_INVALID_ARGUMENT or _OUT_OF_MEMORY.
    KvCache(const TextModel & model, Backend & backend, ggml_type type, int n_ctx, int n_seq, bool zeroed);

    int n_ctx() const { return n_ctx_; }
    int n_seq() const { return (int)lengths_.size(); }
    int length(int seq) const { return lengths_[(size_t)seq]; }
    void set_length(int seq, int length) { lengths_[(size_t)seq] = length; }
    // Sequence `to` becomes the first n positions of sequence `from`; n <= length(from).
    void copy(int from, int to, int n);
    size_t n_bytes() const { return device_tensors_.n_bytes() + cpu_tensors_.n_bytes(); }

    // One sequence's whole cache of one layer: [head_dim, n_ctx, n_head_kv].
    ggml_tensor * k(ggml_context * ctx, int layer, int seq) const { return sequence(ctx, k_[(size_t)layer], seq); }
    ggml_tensor * v(ggml_context * ctx, int layer, int seq) const { return sequence(ctx, v_[(size_t)layer], seq); }

  private:
    static ggml_tensor * sequence(ggml_context * ctx, ggml_tensor * cache, int seq);

    int n_ctx_;
    std::vector<int> lengths_;
    DeviceTensors device_tensors_;
    DeviceTensors cpu_tensors_;
    std::vector<ggml_tensor *> k_;
    std::vector<ggml_tensor *> v_;
};

} // namespace ga
