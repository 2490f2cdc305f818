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
#include "cpu/float_ops.h"
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

// A chosen token and its log-probability under the plain softmax of its row.
struct Pick {
    int32_t token = 0;
    float logprob = 0;
};

class TextDecoder {
  public:
    // keeps_graphs: steps of one row a sequence share a graph for as long as they look at the same blocks of keys. Building and
    // placing a graph takes a GPU longer than computing it, and a graph that stays is launched as a whole (CUDA graphs). Attention
    // then reads whole blocks of keys, which the cache must have zeroed, and a mask hides what is not there.
    TextDecoder(const TextModel & model, Backend & backend, KvCache & cache, bool skip_rows, int max_spans,
                bool keeps_graphs);

    // One graph over all spans. Appends the wanted rows' logits, in order, to logits ([n_vocab] each). K/V are written;
    // the cache's lengths are the caller's to set. A sequence may stand in several spans if they follow each other.
    void forward(const std::vector<Span> & spans, std::vector<float> & logits);

    // Steps whose tokens are chosen where the logits are: three numbers a row come back, not a vocabulary's. Where graphs are kept
    // and logits are capped, which bounds the sum.
    bool can_pick() const { return keeps_graphs_ && model_.logit_softcap > 0; }
    // As forward(), for rows of one token each, all of them wanted: appends the likeliest token that is not suppressed ([n_vocab] or
    // empty). Ties go to any. Throws GA_ERROR_BACKEND where a row holds no number.
    void pick(const std::vector<Span> & spans, const std::vector<bool> & suppressed, std::vector<Pick> & picks);
    // Where the rows of a span look: for each of the layers (ascending) in turn [n_head][span.n][n_keys], the softmax of each
    // head over the keys [first_key, first_key + n_keys) alone. Every row must see all of them. The span's K/V are written.
    void attention(const Span & span, const std::vector<int> & layers, int first_key, int n_keys, float * out);
    // The first position that a row at pos sees in a layer.
    int first_visible(int pos, bool sliding) const;
    // Graphs that were built; the others were kept.
    size_t n_built() const { return n_built_; }

  private:
    // Keys that a part's attention reads: [start, start + n).
    struct Keys {
        int start = 0;
        int n = 0;
    };
    // The rows of one span within the rows that take part in a layer.
    struct Part {
        int seq = 0;
        int row = 0; // first row
        int n = 0;
        int pos = 0; // position of the first row
        // Of global and of sliding layers. Mask [keys, n] f16; null: sees all keys.
        Keys keys[2];
        ggml_tensor * mask[2] = {nullptr, nullptr};
        ggml_tensor * kv_index = nullptr; // [n] i64 positions, where K/V are written
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
    Keys keys_of(int pos, int n, bool sliding) const;
    // The inputs of all that is looked up for the per-layer embeddings.
    struct PleInputs {
        ggml_tensor * rows = nullptr;
        ggml_tensor * ids = nullptr;
    };
    PleInputs ple_inputs(const std::vector<Span> & spans, bool wanted_only, int n_rows, int first_layer, int n_layers);
    ggml_tensor * wanted_rows(const std::vector<Span> & spans);
    // What a graph depends on beside its inputs' data; empty for one that is not worth keeping.
    std::vector<int> graph_key(const std::vector<Span> & spans) const;
    enum class Wanted { kLogits, kPicks, kPicksUnsuppressed };
    void run(const std::vector<Span> & spans, Wanted wanted);
    void build(const std::vector<Span> & spans, Wanted wanted);
    void choose_on_device(Wanted wanted);
    void suppress(const std::vector<bool> & suppressed);
    void refill(const std::vector<Span> & spans);
    ggml_tensor * embed(const std::vector<Span> & spans, int n_rows);
    ggml_tensor * embed_ple(const std::vector<Span> & spans, bool wanted_only, ggml_tensor * x, int n_rows,
                            ggml_tensor * proj, int first_layer, int n_layers);
    void begin_nodes();
    ggml_tensor * multiply(ggml_tensor * weight, ggml_tensor * x);
    bool runs_on_cpu(int il, int n_rows) const;
    ggml_tensor * norm(ggml_tensor * x, ggml_tensor * weight);
    ggml_tensor * rope(ggml_tensor * x, ggml_tensor * pos, const TextLayer & layer);
    void store_kv(int il, ggml_tensor * normed, const Rows & rows);
    ggml_tensor * queries(const TextLayer & layer, ggml_tensor * normed, const Rows & rows);
    ggml_tensor * attend(const TextLayer & layer, ggml_tensor * normed, const Rows & rows);
    void switch_ple(Rows & rows, const std::vector<Span> & spans, bool wanted_only, ggml_tensor * x);
    bool attends_own(const TextLayer & layer, const Part & part) const;
    ggml_tensor * attend_many(const TextLayer & layer, ggml_tensor * q, const Part & part);
    ggml_tensor * attend_few(const TextLayer & layer, ggml_tensor * q, const Part & part);
    ggml_tensor * layer_after_norm(int il, ggml_tensor * x, ggml_tensor * normed, const Rows & rows);

    const TextModel & model_;
    Backend & backend_;
    KvCache & cache_;
    bool skip_rows_;
    bool keeps_graphs_;
    GraphRunner runner_;
    std::vector<int> kept_;          // the key of the runner's graph; empty: it cannot be used again
    ggml_tensor * result_ = nullptr; // its logits
    // Of a graph that picks, for each row: token, its logit, the sum of e^(logit - cap).
    ggml_tensor *token_ = nullptr, *logit_ = nullptr, *sum_ = nullptr;
    std::optional<DeviceTensors> bias_tensors_;
    ggml_tensor * bias_ = nullptr; // [n_vocab]: -inf where suppressed_
    std::vector<bool> suppressed_;
    size_t n_built_ = 0;
    std::optional<WorkNodes> nodes_; // of the present graph
    std::optional<QuantOps> quants_;
    std::optional<FloatOps> floats_; // where there are kernels, and no device but the CPU
};

} // namespace ga
