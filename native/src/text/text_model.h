// The Gemma 4 dense text model: its numbers, its weights and its two look-up tables.
//
//   token ids ──► token_embd rows × √width ─┐
//   audio embeddings (as they are) ─────────┴► x [width, rows]
//   per-layer embedding (PLE): per_layer_token_embd rows [n_layer × ple] and per_layer_model_proj · x
//   n_layer × { attention (sliding or global; the last n_layer - n_layer_kv reuse earlier K/V) → FFN → PLE → scale }
//   output_norm → output (or token_embd transposed) → soft-cap ──► logits [n_vocab, rows]
//
// Every number comes from the file; every tensor's shape is checked against the numbers before anything is placed.
#pragma once

#include "core/weights.h"

#include <string>
#include <vector>

namespace ga {

struct TextLayer {
    // numbers
    bool sliding = false;
    int n_head = 0;
    int n_head_kv = 0;
    int head_dim = 0;
    int n_ff = 0;
    int n_rot = 0;
    float rope_base = 0;
    int kv_layer = 0;    // whose K/V this layer attends to: itself where it owns them
    bool v_is_k = false; // V is the K projection before its norm
    float output_scale = 1;

    // weights; [inputs, outputs]
    ggml_tensor * attn_norm = nullptr;      // [width]
    ggml_tensor * attn_q = nullptr;         // [width, n_head * head_dim]
    ggml_tensor * attn_k = nullptr;         // [width, n_head_kv * head_dim], owning layers
    ggml_tensor * attn_v = nullptr;         // as attn_k; null where v_is_k
    ggml_tensor * attn_q_norm = nullptr;    // [head_dim]
    ggml_tensor * attn_k_norm = nullptr;    // [head_dim], owning layers
    ggml_tensor * attn_output = nullptr;    // [n_head * head_dim, width]
    ggml_tensor * attn_post_norm = nullptr; // [width]
    ggml_tensor * ffn_norm = nullptr;       // [width]
    ggml_tensor * ffn_gate = nullptr;       // [width, n_ff]
    ggml_tensor * ffn_up = nullptr;         // [width, n_ff]
    ggml_tensor * ffn_down = nullptr;       // [n_ff, width]
    ggml_tensor * ffn_post_norm = nullptr;  // [width]
    ggml_tensor * ple_gate = nullptr;       // [width, n_ple]
    ggml_tensor * ple_proj = nullptr;       // [n_ple, width]
    ggml_tensor * ple_post_norm = nullptr;  // [width]
};

class TextModel {
  public:
    // Reads and checks the whole file's structure. n_gpu_layers: as in ga_engine_options. Throws Error.
    TextModel(const GgufFile & file, Backend & backend, int n_gpu_layers);
    // Places the weights and reads them; until then nothing can be computed. progress(fraction) may be empty.
    void load(const std::function<void(float)> & progress) { weights_.load(progress); }

    int n_embd = 0;
    int n_vocab = 0;
    int n_layer = 0;
    int n_layer_kv = 0; // layers [0, n_layer_kv) own K/V
    int n_ctx_train = 0;
    int n_ple = 0;        // 0: no per-layer embeddings
    int n_gpu_layers = 0; // layers [0, n_gpu_layers) lie on the device; n_layer + 1: the output matrix too
    int sliding_window = 0;
    float norm_eps = 0;
    float logit_softcap = 0; // 0: none

    std::vector<TextLayer> layers;
    ggml_tensor * rope_freqs = nullptr;  // [head_dim / 2] divisors of the global layers' rotation frequencies
    ggml_tensor * output_norm = nullptr; // [width]
    ggml_tensor * output = nullptr;      // [width, n_vocab]
    // per_layer_model_proj in two parts: layers below n_ple_low run on every row, the others only on wanted rows.
    int n_ple_low = 0;
    ggml_tensor * ple_model_proj_low = nullptr;  // [width, n_ple * n_ple_low], null where n_ple_low is 0
    ggml_tensor * ple_model_proj_high = nullptr; // [width, n_ple * (n_layer - n_ple_low)]
    ggml_tensor * ple_proj_norm = nullptr;       // [n_ple]

    // Row of the mapped token table × √width, as f32 [width]. token must be in [0, n_vocab).
    void embed_token(int32_t token, float * out) const;
    // Part [first_layer, first_layer + n) of a row of the mapped per-layer table × √n_ple, [n × n_ple].
    void embed_token_ple(int32_t token, int first_layer, int n, float * out) const;

    // Does layer il lie on the device? n_layer: the output matrix.
    bool on_device(int il) const { return il < n_gpu_layers; }

    const WeightSet & weights() const { return weights_; }

  private:
    void read_numbers(const GgufFile & file);
    void refuse_unread(const GgufFile & file) const;
    void declare_layer(const GgufFile & file, int il);
    void declare_attention(const GgufFile & file, TextLayer & layer, const std::string & prefix, bool owns_kv);

    WeightSet weights_;
    const TensorInfo * token_table_ = nullptr;
    const TensorInfo * ple_table_ = nullptr;
};

} // namespace ga
