// Small random Gemma 4 text models as GGUF files, for the native tests.
#pragma once

#include "gguf.h"
#include "testing.h"

#include "ggml.h"

#include <cmath>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace testing {

struct TextShape {
    int width = 32, heads = 2, heads_kv = 1, head_dim = 16, head_dim_global = 32, ff = 64, ple = 8, window = 7;
    std::vector<int> sliding = {1, 0, 1, 0, 1, 0}; // a layer each
    int n_shared = 2;
    bool v_is_k = false; // on global layers
    bool fused_qkv = false;
    int n_vocab = 64;
    float scale = 1; // of the matrices: NAN makes a model of damaged weights
};

using Edit = std::function<void(gguf_context *)>;

// Writes the model; edit changes the metadata before it is written.
inline void write_text_model(const TextShape & s, const std::string & path, unsigned seed = 1,
                             const Edit & edit = nullptr) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    const std::unique_ptr<ggml_context, decltype(&ggml_free)> ctx(ggml_init({64u << 20, nullptr, false}), ggml_free);
    const std::unique_ptr<gguf_context, decltype(&gguf_free)> file(gguf_init_empty(), gguf_free);
    const int n_layer = (int)s.sliding.size();

    const auto tensor = [&](const std::string & name, int64_t ne0, int64_t ne1, float mean, float deviation) {
        ggml_tensor * t = ne1 > 0 ? ggml_new_tensor_2d(ctx.get(), GGML_TYPE_F32, ne0, ne1)
                                  : ggml_new_tensor_1d(ctx.get(), GGML_TYPE_F32, ne0);
        ggml_set_name(t, name.c_str());
        float * data = static_cast<float *>(t->data);
        for (int64_t i = 0; i < ggml_nelements(t); i++) {
            data[i] = mean + deviation * normal(random);
        }
        gguf_add_tensor(file.get(), t);
    };
    const auto matrix = [&](const std::string & name, int64_t n_in, int64_t n_out) {
        tensor(name + ".weight", n_in, n_out, 0, s.scale / std::sqrt((float)n_in));
    };
    const auto norm = [&](const std::string & name, int64_t n) { tensor(name + ".weight", n, 0, 1, 0.1f); };

    gguf_context * g = file.get();
    gguf_set_val_str(g, "general.architecture", "gemma4");
    const auto number = [&](const std::string & key, int value) {
        gguf_set_val_u32(g, ("gemma4." + key).c_str(), (uint32_t)value);
    };
    number("block_count", n_layer);
    number("embedding_length", s.width);
    number("context_length", 512);
    number("attention.head_count", s.heads);
    number("attention.head_count_kv", s.heads_kv);
    number("attention.key_length", s.head_dim_global);
    number("attention.value_length", s.head_dim_global);
    number("attention.key_length_swa", s.head_dim);
    number("attention.value_length_swa", s.head_dim);
    number("attention.sliding_window", s.window);
    number("attention.shared_kv_layers", s.n_shared);
    number("feed_forward_length", s.ff);
    number("embedding_length_per_layer_input", s.ple);
    gguf_set_val_f32(g, "gemma4.attention.layer_norm_rms_epsilon", 1e-6f);
    gguf_set_val_f32(g, "gemma4.final_logit_softcapping", 30.0f);
    const std::vector<int8_t> pattern(s.sliding.begin(), s.sliding.end());
    gguf_set_arr_data(g, "gemma4.attention.sliding_window_pattern", GGUF_TYPE_BOOL, pattern.data(), pattern.size());

    std::vector<std::string> tokens = {"<pad>", "<eos>", "<bos>", "<unk>", "<|turn>", "<turn|>", "\n", "\xe2\x96\x81"};
    std::vector<int32_t> types = {3, 3, 3, 2, 3, 3, 1, 1}; // control, unknown, normal
    for (int i = (int)tokens.size(); i < s.n_vocab; i++) {
        tokens.push_back(i < 34 ? std::string(1, (char)('a' + i - 8)) : "w" + std::to_string(i));
        types.push_back(1);
    }
    std::vector<const char *> texts;
    for (const std::string & token : tokens) {
        texts.push_back(token.c_str());
    }
    const char * merges[] = {"a b"};
    gguf_set_val_str(g, "tokenizer.ggml.model", "gemma4");
    gguf_set_arr_str(g, "tokenizer.ggml.tokens", texts.data(), texts.size());
    gguf_set_arr_str(g, "tokenizer.ggml.merges", merges, 1);
    gguf_set_arr_data(g, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, types.data(), types.size());
    gguf_set_val_u32(g, "tokenizer.ggml.bos_token_id", 2);
    gguf_set_val_u32(g, "tokenizer.ggml.eos_token_id", 1);

    tensor("token_embd.weight", s.width, s.n_vocab, 0, s.scale);
    norm("output_norm", s.width);
    if (s.ple > 0) {
        tensor("per_layer_token_embd.weight", s.ple * n_layer, s.n_vocab, 0, 1);
        matrix("per_layer_model_proj", s.width, s.ple * n_layer);
        norm("per_layer_proj_norm", s.ple);
    }
    for (int il = 0; il < n_layer; il++) {
        const std::string prefix = "blk." + std::to_string(il) + ".";
        const int head_dim = s.sliding[(size_t)il] ? s.head_dim : s.head_dim_global;
        norm(prefix + "attn_norm", s.width);
        if (s.fused_qkv) {
            matrix(prefix + "attn_qkv", s.width, (s.heads + 2 * s.heads_kv) * head_dim);
        } else {
            matrix(prefix + "attn_q", s.width, s.heads * head_dim);
        }
        norm(prefix + "attn_q_norm", head_dim);
        if (il < n_layer - s.n_shared) {
            if (!s.fused_qkv) {
                matrix(prefix + "attn_k", s.width, s.heads_kv * head_dim);
                if (s.sliding[(size_t)il] || !s.v_is_k) {
                    matrix(prefix + "attn_v", s.width, s.heads_kv * head_dim);
                }
            }
            norm(prefix + "attn_k_norm", head_dim);
        }
        matrix(prefix + "attn_output", s.heads * head_dim, s.width);
        norm(prefix + "post_attention_norm", s.width);
        norm(prefix + "ffn_norm", s.width);
        matrix(prefix + "ffn_gate", s.width, s.ff);
        matrix(prefix + "ffn_up", s.width, s.ff);
        matrix(prefix + "ffn_down", s.ff, s.width);
        norm(prefix + "post_ffw_norm", s.width);
        if (s.ple > 0) {
            matrix(prefix + "inp_gate", s.width, s.ple);
            matrix(prefix + "proj", s.ple, s.width);
            norm(prefix + "post_norm", s.width);
        }
        tensor(prefix + "layer_output_scale.weight", 1, 0, 0.9f, 0);
    }
    if (edit) {
        edit(g);
    }
    gguf_write_to_file(g, path.c_str(), false);
}

} // namespace testing
