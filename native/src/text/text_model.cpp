#include "text/text_model.h"

#include "core/placement.h"

#include <algorithm>
#include <cmath>

namespace ga {

namespace {

// Bounds that keep hostile numbers from overflowing products of them, or from ggml's assertions; far beyond any real model.
constexpr int64_t kMaxLayers = 512;
constexpr int64_t kMaxWidth = 1 << 18;
constexpr int64_t kMaxVocab = 1 << 24;
constexpr int64_t kMaxHeads = 1024;
constexpr int64_t kMaxHeadDim = 4096;
constexpr double kMaxEpsilon = 1;
constexpr double kMaxSoftCap = 1e6;
constexpr double kMinRopeBase = 1, kMaxRopeBase = 1e12;

bool has_suffix(const std::string & text, const std::string & suffix) {
    return text.size() >= suffix.size() && text.compare(text.size() - suffix.size(), suffix.size(), suffix) == 0;
}

} // namespace

TextModel::TextModel(const GgufFile & file, Backend & backend, int n_wanted) : weights_(file, backend) {
    read_numbers(file);
    const int64_t width = n_embd;
    n_gpu_layers = count_gpu_layers(*this, file, backend, n_wanted);
    const auto place = [&](int il) {
        weights_.set_place(on_device(il) ? backend.device_place() : backend.cpu_place());
    };

    token_table_ = weights_.table("token_embd.weight");
    place(n_layer);
    output_norm = weights_.require("output_norm.weight", {width}, Use::Elementwise);
    output = weights_.optional("output.weight", {width, n_vocab}, Use::Multiply);
    if (!output) {
        output = weights_.require("token_embd.weight", {width, n_vocab}, Use::Multiply);
    }
    place(0);
    const auto global = std::find_if(layers.begin(), layers.end(), [](const TextLayer & l) { return !l.sliding; });
    if (global != layers.end()) {
        rope_freqs = weights_.optional("rope_freqs.weight", {global->n_rot / 2}, Use::Elementwise);
    }
    if (n_ple > 0) {
        const int64_t all = (int64_t)n_ple * n_layer;
        ple_table_ = weights_.table("per_layer_token_embd.weight");
        if (!ple_table_ || ple_table_->ne[0] != all || ple_table_->ne[1] != n_vocab || ple_table_->ne[2] != 1 ||
            ple_table_->ne[3] != 1) {
            fail(GA_ERROR_FORMAT, "%s: the tensor per_layer_token_embd.weight is missing or not [%lld, %d]",
                 file.path().c_str(), (long long)all, n_vocab);
        }
        n_ple_low = n_layer_kv - 1;
        const int64_t low = (int64_t)n_ple * n_ple_low;
        if (low > 0) {
            ple_model_proj_low = weights_.require_rows("per_layer_model_proj.weight", {width, all}, 0, low);
        }
        ple_model_proj_high = weights_.require_rows("per_layer_model_proj.weight", {width, all}, low, all - low);
        ple_proj_norm = weights_.require("per_layer_proj_norm.weight", {n_ple}, Use::Elementwise);
    }
    for (const TensorInfo * table : {token_table_, ple_table_}) {
        if (table && table->type != GGML_TYPE_F32 && !ggml_get_type_traits(table->type)->to_float) {
            fail(GA_ERROR_UNSUPPORTED, "%s: %s has type %s, which cannot be looked up", file.path().c_str(),
                 table->name.c_str(), ggml_type_name(table->type));
        }
    }
    for (int il = 0; il < n_layer; il++) {
        place(il);
        declare_layer(file, il);
    }
    refuse_unread(file);
}

void TextModel::refuse_unread(const GgufFile & file) const {
    const auto spare = [&](const std::string & name) {
        if (name == "rope_freqs.weight") {
            return true; // of global layers, if there are any
        }
        for (int il = n_layer_kv; il < n_layer; il++) {
            // Released E2B and E4B files hold them in layers that share K/V; nobody needs them.
            for (const char * unused : {"attn_k", "attn_v", "attn_k_norm"}) {
                if (name == format("blk.%d.%s.weight", il, unused)) {
                    return true;
                }
            }
        }
        return false;
    };
    const TensorInfo * info = weights_.find_unread(spare);
    if (!info) {
        return;
    }
    // NVFP4 files hold a second scale of each matrix, or of its input. Products without them give words, but wrong ones.
    const char * why = has_suffix(info->name, ".input_scale") ? "scales the input of a matrix"
                       : has_suffix(info->name, ".scale")     ? "scales a matrix once more"
                                                              : nullptr;
    if (why) {
        fail(GA_ERROR_UNSUPPORTED, "%s: the tensor %s %s, which this engine does not do", file.path().c_str(),
             info->name.c_str(), why);
    }
    fail(GA_ERROR_UNSUPPORTED, "%s: the tensor %s is not part of Gemma 4's text models", file.path().c_str(),
         info->name.c_str());
}

void TextModel::read_numbers(const GgufFile & file) {
    const char * path = file.path().c_str();
    const std::string arch = file.get_string("general.architecture");
    if (arch != "gemma4") {
        fail(GA_ERROR_UNSUPPORTED, "%s: the architecture is %s, not gemma4%s", path, arch.c_str(),
             arch == "clip" ? " (this is a projector file: give it as --mmproj)" : "");
    }
    if (file.find_int("gemma4.expert_count").value_or(0) > 0) {
        fail(GA_ERROR_UNSUPPORTED, "%s: mixture-of-experts models have no audio and are not supported", path);
    }
    n_layer = (int)file.get_int("gemma4.block_count", 1, kMaxLayers);
    n_embd = (int)file.get_int("gemma4.embedding_length", 1, kMaxWidth);
    n_ctx_train = (int)file.get_int("gemma4.context_length", 1, INT32_MAX);
    norm_eps = (float)file.get_float("gemma4.attention.layer_norm_rms_epsilon", 0, kMaxEpsilon);
    const std::string cap_key = "gemma4.final_logit_softcapping";
    logit_softcap = file.has(cap_key) ? (float)file.get_float(cap_key, 0, kMaxSoftCap) : 30.0f;
    n_ple = file.has("gemma4.embedding_length_per_layer_input")
                ? (int)file.get_int("gemma4.embedding_length_per_layer_input", 0, kMaxWidth)
                : 0;
    const TensorInfo * table = file.find_tensor("token_embd.weight");
    if (!table) {
        fail(GA_ERROR_FORMAT, "%s: the tensor token_embd.weight is missing", path);
    }
    if (table->ne[0] != n_embd || table->ne[2] != 1 || table->ne[3] != 1 || table->ne[1] < 1 ||
        table->ne[1] > kMaxVocab) {
        fail(GA_ERROR_FORMAT, "%s: token_embd.weight has shape %s, expected [%d, vocabulary]", path,
             table->shape().c_str(), n_embd);
    }
    n_vocab = (int)table->ne[1];

    const int64_t n_shared = file.has("gemma4.attention.shared_kv_layers")
                                 ? file.get_int("gemma4.attention.shared_kv_layers", 0, n_layer - 1)
                                 : 0;
    n_layer_kv = n_layer - (int)n_shared;
    const auto n_head = file.get_ints("gemma4.attention.head_count", n_layer, 1, kMaxHeads);
    const auto n_head_kv = file.has("gemma4.attention.head_count_kv")
                               ? file.get_ints("gemma4.attention.head_count_kv", n_layer, 1, kMaxHeads)
                               : n_head;
    const auto n_ff = file.get_ints("gemma4.feed_forward_length", n_layer, 1, kMaxWidth);
    const auto sliding = file.get_ints("gemma4.attention.sliding_window_pattern", n_layer, 0, 1);
    sliding_window = (int)file.get_int("gemma4.attention.sliding_window", 1, INT32_MAX);

    struct Kind {
        int head_dim, n_rot;
        float rope_base;
    };
    const auto kind = [&](const std::string & suffix, double default_base) {
        Kind k;
        k.head_dim = (int)file.get_int("gemma4.attention.key_length" + suffix, 2, kMaxHeadDim);
        const std::string value_key = "gemma4.attention.value_length" + suffix;
        if (file.get_int(value_key, 1, kMaxHeadDim) != k.head_dim) {
            fail(GA_ERROR_UNSUPPORTED, "%s: %s differs from the key length", path, value_key.c_str());
        }
        const std::string rot_key = "gemma4.rope.dimension_count" + suffix;
        k.n_rot = file.has(rot_key) ? (int)file.get_int(rot_key, 2, k.head_dim) : k.head_dim;
        if (k.head_dim % 2 != 0 || k.n_rot % 2 != 0) {
            fail(GA_ERROR_FORMAT, "%s: head and rotation sizes must be even", path);
        }
        const std::string base_key = "gemma4.rope.freq_base" + suffix;
        k.rope_base = (float)(file.has(base_key) ? file.get_float(base_key, kMinRopeBase, kMaxRopeBase) : default_base);
        return k;
    };
    const Kind kinds[2] = {kind("", 1e6), kind("_swa", 1e4)};

    int last_owner[2] = {-1, -1};
    for (int il = 0; il < n_layer; il++) {
        TextLayer layer;
        layer.sliding = sliding[il] != 0;
        layer.n_head = (int)n_head[il];
        layer.n_head_kv = (int)n_head_kv[il];
        layer.n_ff = (int)n_ff[il];
        layer.head_dim = kinds[layer.sliding].head_dim;
        layer.n_rot = kinds[layer.sliding].n_rot;
        layer.rope_base = kinds[layer.sliding].rope_base;
        if (layer.n_head % layer.n_head_kv != 0) {
            fail(GA_ERROR_FORMAT, "%s: layer %d has %d heads for %d key/value heads", path, il, layer.n_head,
                 layer.n_head_kv);
        }
        if (il < n_layer_kv) {
            last_owner[layer.sliding] = il;
        }
        layer.kv_layer = last_owner[layer.sliding];
        if (layer.kv_layer < 0) {
            fail(GA_ERROR_FORMAT, "%s: layer %d shares K/V, but no earlier layer of its kind owns any", path, il);
        }
        const TextLayer & owner = layer.kv_layer == il ? layer : layers[layer.kv_layer];
        if (owner.n_head_kv != layer.n_head_kv && layer.n_head % owner.n_head_kv != 0) {
            fail(GA_ERROR_FORMAT, "%s: layer %d cannot share the K/V of layer %d: their heads differ", path, il,
                 layer.kv_layer);
        }
        layers.push_back(layer);
    }
}

void TextModel::declare_attention(const GgufFile & file, TextLayer & layer, const std::string & prefix, bool owns_kv) {
    const int64_t width = n_embd;
    const int64_t q_dim = (int64_t)layer.n_head * layer.head_dim;
    const int64_t kv_dim = (int64_t)layer.n_head_kv * layer.head_dim;
    const std::string fused = prefix + "attn_qkv.weight";
    if (file.find_tensor(fused)) {
        const int64_t all = q_dim + 2 * kv_dim;
        layer.attn_q = weights_.require_rows(fused, {width, all}, 0, q_dim);
        if (owns_kv) {
            layer.attn_k = weights_.require_rows(fused, {width, all}, q_dim, kv_dim);
            layer.attn_v = weights_.require_rows(fused, {width, all}, q_dim + kv_dim, kv_dim);
        }
    } else {
        layer.attn_q = weights_.require(prefix + "attn_q.weight", {width, q_dim}, Use::Multiply);
        if (owns_kv) {
            layer.attn_k = weights_.require(prefix + "attn_k.weight", {width, kv_dim}, Use::Multiply);
            layer.attn_v = weights_.optional(prefix + "attn_v.weight", {width, kv_dim}, Use::Multiply);
        }
    }
    layer.v_is_k = owns_kv && !layer.attn_v;
    layer.attn_q_norm = weights_.require(prefix + "attn_q_norm.weight", {layer.head_dim}, Use::Elementwise);
    if (owns_kv) {
        layer.attn_k_norm = weights_.require(prefix + "attn_k_norm.weight", {layer.head_dim}, Use::Elementwise);
    }
    layer.attn_output = weights_.require(prefix + "attn_output.weight", {q_dim, width}, Use::Multiply);
}

void TextModel::declare_layer(const GgufFile & file, int il) {
    TextLayer & layer = layers[il];
    const std::string prefix = format("blk.%d.", il);
    const int64_t width = n_embd;
    const auto norm = [&](const char * name) {
        return weights_.require(prefix + name + ".weight", {width}, Use::Elementwise);
    };
    layer.attn_norm = norm("attn_norm");
    declare_attention(file, layer, prefix, il < n_layer_kv);
    layer.attn_post_norm = norm("post_attention_norm");
    layer.ffn_norm = norm("ffn_norm");
    layer.ffn_gate = weights_.require(prefix + "ffn_gate.weight", {width, layer.n_ff}, Use::Multiply);
    layer.ffn_up = weights_.require(prefix + "ffn_up.weight", {width, layer.n_ff}, Use::Multiply);
    layer.ffn_down = weights_.require(prefix + "ffn_down.weight", {layer.n_ff, width}, Use::Multiply);
    layer.ffn_post_norm = norm("post_ffw_norm");
    if (n_ple > 0) {
        layer.ple_gate = weights_.require(prefix + "inp_gate.weight", {width, n_ple}, Use::Multiply);
        layer.ple_proj = weights_.require(prefix + "proj.weight", {n_ple, width}, Use::Multiply);
        layer.ple_post_norm = norm("post_norm");
    }
    layer.output_scale = weights_.scalar(prefix + "layer_output_scale.weight").value_or(1.0f);
}

void TextModel::embed_token(int32_t token, float * out) const {
    const size_t row_bytes = ggml_row_size(token_table_->type, n_embd);
    dequantize_row(token_table_->type, token_table_->data + row_bytes * (size_t)token, out, n_embd);
    const float scale = std::sqrt((float)n_embd);
    std::transform(out, out + n_embd, out, [scale](float v) { return v * scale; });
}

void TextModel::embed_token_ple(int32_t token, int first_layer, int n, float * out) const {
    const ggml_type type = ple_table_->type;
    const uint8_t * row = ple_table_->data + ggml_row_size(type, (int64_t)n_ple * n_layer) * (size_t)token;
    const int64_t block = ggml_blck_size(type);
    const int64_t first = (int64_t)n_ple * first_layer, count = (int64_t)n_ple * n;
    // A layer's part may begin and end within a block.
    const int64_t begin = first / block * block, end = (first + count + block - 1) / block * block;
    if (end - begin == count) {
        dequantize_row(type, row + ggml_row_size(type, begin), out, count);
    } else {
        std::vector<float> values((size_t)(end - begin));
        dequantize_row(type, row + ggml_row_size(type, begin), values.data(), end - begin);
        std::copy_n(values.begin() + (first - begin), count, out);
    }
    const float scale = std::sqrt((float)n_ple);
    std::transform(out, out + count, out, [scale](float v) { return v * scale; });
}

} // namespace ga
