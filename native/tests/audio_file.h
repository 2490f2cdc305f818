// Small random mmproj files, and the encoder run on them.
#pragma once

#include "audio/audio_encoder.h"
#include "audio/audio_model.h"
#include "cpu/audio_kernels.h"
#include "testing.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace testing {

// ---- small random models ---------------------------------------------------------------------------------------------

struct Shape {
    int64_t width = 32, heads = 4, layers = 2, ff = 64, c0 = 8, c1 = 4, encoder_out = 40, text = 24;
    bool norms = true; // the optional ones
    bool rel = true;   // attn_k_rel, per_dim_scale
    bool clamps = true;
    bool output = true; // a.pre_encode.out
    bool raw = false;   // gemma4ua
    ggml_type type = GGML_TYPE_F32;
};

struct Tensor {
    std::vector<int64_t> ne;
    std::vector<float> data;
    float operator()(int64_t i, int64_t j) const { return data[static_cast<size_t>(j * ne[0] + i)]; }
};

struct Model {
    Shape shape;
    std::map<std::string, Tensor> tensors;
    std::map<std::string, std::string> strings;
    std::map<std::string, uint32_t> ints;

    const Tensor * find(const std::string & name) const {
        const auto found = tensors.find(name);
        return found == tensors.end() ? nullptr : &found->second;
    }
    const Tensor & get(const std::string & name) const { return tensors.at(name); }
};

inline Model random_model(const Shape & s, unsigned seed) {
    Model model;
    model.shape = s;
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    const auto add = [&](const std::string & name, std::vector<int64_t> ne, float mean, float deviation) {
        size_t n = 1;
        for (const int64_t extent : ne) {
            n *= static_cast<size_t>(extent);
        }
        Tensor tensor{std::move(ne), std::vector<float>(n)};
        for (float & v : tensor.data) {
            v = mean + deviation * normal(random);
        }
        model.tensors[name] = tensor;
    };
    const auto matrix = [&](const std::string & name, int64_t n_in, int64_t n_out) {
        add(name + ".weight", {n_in, n_out}, 0.0f, 1.0f / std::sqrt(static_cast<float>(n_in)));
        if (s.type != GGML_TYPE_F32) { // as they are read back
            std::vector<float> & data = model.tensors[name + ".weight"].data;
            std::vector<uint8_t> stored(ggml_row_size(s.type, n_in) * static_cast<size_t>(n_out));
            ggml_quantize_chunk(s.type, data.data(), stored.data(), 0, n_out, n_in, nullptr);
            ggml_get_type_traits(s.type)->to_float(stored.data(), data.data(), n_in * n_out);
        }
    };
    const auto norm = [&](const std::string & name, int64_t n, bool optional = true) {
        if (s.norms || !optional) {
            add(name + ".weight", {n}, 1.0f, 0.2f);
        }
    };
    const auto clamped = [&](const std::string & name, int64_t n_in, int64_t n_out) {
        matrix(name, n_in, n_out);
        if (s.clamps) {
            // Tight enough to bite; now and then a bound is missing.
            for (const auto & [bound, sign] :
                 {std::pair("input_min", -1.0f), {"input_max", 1.0f}, {"output_min", -1.0f}, {"output_max", 1.0f}}) {
                if (random() % 5 > 0) {
                    add(name + "." + bound, {1}, sign * 1.1f, 0.1f);
                }
            }
        }
    };
    model.strings["general.architecture"] = "clip";
    model.strings[seed % 2 ? "clip.audio.projector_type" : "clip.projector_type"] = s.raw ? "gemma4ua" : "gemma4a";
    model.ints["clip.audio.projection_dim"] = 12345; // wrong on purpose, as in public files
    matrix("mm.a.input_projection", s.raw ? 640 : s.output ? s.encoder_out : s.width, s.text);
    add("v.patch_embd.weight", {32, 5}, 0.0f, 1.0f);
    if (s.raw) {
        return model;
    }
    model.ints["clip.audio.attention.head_count"] = static_cast<uint32_t>(s.heads);
    model.ints["clip.audio.block_count"] = static_cast<uint32_t>(s.layers);
    add("a.conv1d.0.weight", {3, 3, 1, s.c0}, 0.0f, 0.3f);
    norm("a.conv1d.0.norm", s.c0);
    add("a.conv1d.1.weight", {3, 3, s.c0, s.c1}, 0.0f, 0.2f);
    norm("a.conv1d.1.norm", s.c1);
    matrix("a.input_projection", 32 * s.c1, s.width);
    for (int64_t i = 0; i < s.layers; i++) {
        const std::string b = "a.blk." + std::to_string(i) + ".";
        for (const std::string suffix : {"", "_1"}) {
            norm(b + "ffn_norm" + suffix, s.width, false);
            clamped(b + "ffn_up" + suffix, s.width, s.ff);
            clamped(b + "ffn_down" + suffix, s.ff, s.width);
            norm(b + "ffn_post_norm" + suffix, s.width);
        }
        norm(b + "attn_pre_norm", s.width);
        for (const char * name : {"attn_q", "attn_k", "attn_v", "attn_out"}) {
            clamped(b + name, s.width, s.width);
        }
        if (s.rel) {
            matrix(b + "attn_k_rel", s.width, s.width);
            add(b + "per_dim_scale.weight", {s.width / s.heads}, 0.7f, 0.1f);
        }
        norm(b + "attn_post_norm", s.width);
        norm(b + "conv_norm", s.width);
        clamped(b + "conv_pw1", s.width, 2 * s.width);
        add(b + "conv_dw.weight", {5, s.width}, 0.0f, 0.5f);
        norm(b + "norm_conv", s.width);
        clamped(b + "conv_pw2", s.width, s.width);
        norm(b + "ln2", s.width);
    }
    if (s.output) {
        matrix("a.pre_encode.out", s.width, s.encoder_out);
        add("a.pre_encode.out.bias", {s.encoder_out}, 0.0f, 0.2f);
    }
    return model;
}

// Of this process: no other's files begin so.
inline const std::string & file_prefix() {
    static const std::string prefix = "ga_test_encoder_" + std::to_string(std::random_device()()) + "_";
    return prefix;
}

inline std::string write_gguf(const Model & model) {
    static int count = 0;
    const auto path = std::filesystem::temp_directory_path() / (file_prefix() + std::to_string(count++) + ".gguf");
    gguf_context * gguf = gguf_init_empty();
    for (const auto & [key, value] : model.strings) {
        gguf_set_val_str(gguf, key.c_str(), value.c_str());
    }
    for (const auto & [key, value] : model.ints) {
        gguf_set_val_u32(gguf, key.c_str(), value);
    }
    size_t size = 1 << 20;
    for (const auto & entry : model.tensors) {
        size += entry.second.data.size() * sizeof(float) + 1024;
    }
    ggml_init_params params = {size, nullptr, false};
    ggml_context * ctx = ggml_init(params);
    for (const auto & [name, tensor] : model.tensors) {
        const bool matrix = tensor.ne.size() == 2 && name.find("conv_dw") == std::string::npos && name[0] != 'v';
        const ggml_type type = matrix ? model.shape.type : GGML_TYPE_F32;
        ggml_tensor * t = ggml_new_tensor(ctx, type, static_cast<int>(tensor.ne.size()), tensor.ne.data());
        ggml_set_name(t, name.c_str());
        if (type == GGML_TYPE_F32) {
            std::copy(tensor.data.begin(), tensor.data.end(), static_cast<float *>(t->data));
        } else {
            ggml_quantize_chunk(type, tensor.data.data(), t->data, 0, ggml_nrows(t), t->ne[0], nullptr);
        }
        gguf_add_tensor(gguf, t);
    }
    gguf_write_to_file(gguf, path.string().c_str(), false);
    ggml_free(ctx);
    gguf_free(gguf);
    return path.string();
}

// ---- running ours -----------------------------------------------------------------------------------------------------

struct Engine {
    ga::GgufFile file;
    ga::Backend backend;
    ga::AudioModel model;
    ga::AudioEncoder encoder;

    explicit Engine(const std::string & path, ga::CancelCheck cancel = {})
        : file(path), backend("CPU", 1, true, std::move(cancel)), model(file, backend), encoder(model, backend) {
        model.load({});
    }
};

inline std::vector<float> random_frames(int64_t n, int64_t width, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(-2.0f, 2.0f);
    std::vector<float> frames(static_cast<size_t>(n * width));
    for (float & v : frames) {
        v = normal(random);
    }
    return frames;
}

struct Result {
    std::vector<float> embeddings, encoder_out;
};

// Frames in pieces of at most `largest` (0: all at once); the end comes with the last piece or after it.
inline Result encode(Engine & engine, const std::vector<float> & frames, size_t largest, unsigned seed) {
    std::mt19937 random(seed);
    const size_t width = static_cast<size_t>(engine.model.frame_width()), n = frames.size() / width;
    ga::EncoderState state;
    Result result;
    size_t at = 0;
    for (bool end = false; !end;) {
        const size_t count = largest ? std::min<size_t>(random() % (largest + 1), n - at) : n;
        end = at + count == n && (largest == 0 || random() % 2 == 0);
        std::vector<ga::EncoderPiece> pieces(1);
        pieces[0].state = &state;
        pieces[0].frames = frames.data() + at * width;
        pieces[0].n_frames = count;
        pieces[0].end = end;
        pieces[0].embeddings = &result.embeddings;
        pieces[0].encoder_out = &result.encoder_out;
        engine.encoder.encode(pieces);
        at += count;
        const size_t expected = static_cast<size_t>(engine.encoder.n_tokens(static_cast<int64_t>(at), end));
        CHECK(result.embeddings.size() == expected * static_cast<size_t>(engine.model.n_embd_out()),
              "tokens on the way");
    }
    return result;
}

inline double largest_difference(const std::vector<float> & a, const std::vector<float> & b) {
    double worst = a.size() == b.size() ? 0.0 : INFINITY;
    for (size_t i = 0; i < std::min(a.size(), b.size()); i++) {
        worst = std::max(worst, std::fabs(static_cast<double>(a[i]) - b[i]));
    }
    return worst;
}

inline double worst_cosine(const std::vector<float> & a, const std::vector<float> & b, size_t width) {
    double worst = a.size() == b.size() ? 1.0 : -1.0;
    for (size_t at = 0; at + width <= std::min(a.size(), b.size()); at += width) {
        double ab = 0.0, aa = 0.0, bb = 0.0;
        for (size_t i = at; i < at + width; i++) {
            ab += static_cast<double>(a[i]) * b[i];
            aa += static_cast<double>(a[i]) * a[i];
            bb += static_cast<double>(b[i]) * b[i];
        }
        worst = std::min(worst, ab / std::sqrt(aa * bb));
    }
    return worst;
}

// Whether the products are those of audio_kernels.h.
inline bool own_kernels(const Shape & shape, bool plain) {
    return !plain && ga::audio_kernels() && !ggml_is_quantized(shape.type);
}

// What write_gguf left.
inline void remove_files() {
    for (const auto & entry : std::filesystem::directory_iterator(std::filesystem::temp_directory_path())) {
        if (entry.path().filename().string().rfind(file_prefix(), 0) == 0) {
            std::error_code ignored;
            std::filesystem::remove(entry.path(), ignored);
        }
    }
}

} // namespace testing
