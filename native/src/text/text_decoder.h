// Runs the Gemma 4 text model over new positions of one or several sequences, and only as much of it as is wanted.
//
//   spans (seq, position, n rows, the last n_logits of them wanted)
//     all rows:     layers 0 .. n_layer_kv - 2, and the K/V of layer n_layer_kv - 1
//     wanted rows:  the attention of layer n_layer_kv - 1, everything above it, the output matrix
//
// A row whose logits nobody reads has done its work once the last K/V-owning layer has its key and value: the layers
// above only read those. In E2B they are 20 of 35 layers and 70 % of the weights.
#pragma once

#include "cpu/attention.h"
#include "cpu/quant_ops.h"
#include "text/kv_cache.h"

#include <optional>
#include <vector>

namespace ga {

// New consecutive positions of one sequence. Exactly one of tokens and embeddings is set.
struct Span {
    int seq = 0;
    int pos = 0; // position of the first row: what the sequence holds before it
    int n = 0;
    const int32_t * tokens = nullptr;   // [n]
    const float * embeddings = nullptr; // [n][width], audio: used as they are
    int n_logits = 0;                   // the last n_logits rows are wanted
};

class TextDecoder {
  public:
    TextDecoder(const TextModel & model, Backend & backend, KvCache & cache, bool skip_rows, int max_spans);

    // One graph over all spans. Appends the wanted rows' logits, in order, to logits ([n_vocab] each). K/V are written;
    // the cache's lengths are the caller's to set. A sequence may stand in several spans if they follow each other.
    void forward(const std::vector<Span> & spans, std::vector<float> & logits);

  private:
    // The rows of one span within the rows that take part in a layer.
    struct Part {
        int seq = 0;
        int row = 0; // first row
        int n = 0;
        int pos = 0; // position of the first row
        ggml_tensor * mask[2] = {nullptr,
                                 nullptr}; // [kv, n] f16 for global and sliding layers; null: sees all of its view
        ggml_tensor * kv_index = nullptr;  // [n] i64 positions, where K/V are written
    };
    struct Rows {
        int n = 0;
        ggml_tensor * pos = nullptr; // [n] i32
        ggml_tensor * ple = nullptr; // [n_ple, n layers, n]
        int ple_first_layer = 0;
        std::vector<Part> parts;
    };

    Rows make_rows(const std::vector<Span> & spans, bool wanted_only);
    ggml_tensor * attention_mask(const Part & part, bool sliding);
    int first_visible(int pos, bool sliding) const;
    ggml_tensor * embed(const std::vector<Span> & spans, int n_rows);
    ggml_tensor * embed_ple(const std::vector<Span> & spans, bool wanted_only, ggml_tensor * x, int n_rows,
                            ggml_tensor * proj, int first_layer, int n_layers);
    ggml_tensor * multiply(ggml_tensor * weight, ggml_tensor * x);
    bool runs_on_cpu(int il, int n_rows) const;
    ggml_tensor * norm(ggml_tensor * x, ggml_tensor * weight);
    ggml_tensor * rope(ggml_tensor * x, ggml_tensor * pos, const TextLayer & layer);
    void store_kv(int il, ggml_tensor * normed, const Rows & rows);
    ggml_tensor * attend(const TextLayer & layer, ggml_tensor * normed, const Rows & rows);
    bool attends_own(const TextLayer & layer, const Part & part) const;
    ggml_tensor * attend_many(const TextLayer & layer, ggml_tensor * q, const Part & part);
    ggml_tensor * attend_few(const TextLayer & layer, ggml_tensor * q, const Part & part);
    ggml_tensor * layer_after_norm(int il, ggml_tensor * x, ggml_tensor * normed, const Rows & rows);

    const TextModel & model_;
    Backend & backend_;
    KvCache & cache_;
    bool skip_rows_;
    GraphRunner runner_;
    std::optional<WorkNodes> nodes_; // of the present graph
    std::optional<QuantOps> quants_;
};

} // namespace ga
