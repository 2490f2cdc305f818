// The audio encoder against its definition, computed by plain loops in double precision on small random models; slicing,
// batches, token counts, failures in the middle, and damaged files.
#include "audio_clip.h"
#include "audio_encoder.h"
#include "audio_kernels.h"
#include "audio_model.h"

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

namespace {

int failures = 0;

#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            failures++;                                                                                                \
            std::printf("%s:%d: %s: ", __FILE__, __LINE__, #condition);                                                \
            std::printf(__VA_ARGS__);                                                                                  \
            std::printf("\n");                                                                                         \
        }                                                                                                              \
    } while (0)

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

Model random_model(const Shape & s, unsigned seed) {
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

std::string write_gguf(const Model & model) {
    static int count = 0;
    const auto path = std::filesystem::temp_directory_path() /
                      ("ga_test_encoder_" + std::to_string(reinterpret_cast<uintptr_t>(&count) % 1000003) + "_" +
                       std::to_string(std::random_device()()) + "_" + std::to_string(count++) + ".gguf");
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

// ---- the definition --------------------------------------------------------------------------------------------------

using Row = std::vector<double>;
using Rows = std::vector<Row>;

Row rms(const Row & x, const Tensor * weight) {
    double sum = 0.0;
    for (const double v : x) {
        sum += v * v;
    }
    Row y = x;
    for (size_t i = 0; i < x.size(); i++) {
        y[i] = x[i] / std::sqrt(sum / static_cast<double>(x.size()) + 1e-6) * (weight ? weight->data[i] : 1.0);
    }
    return y;
}

Row norm_if(const Row & x, const Tensor * weight) {
    return weight ? rms(x, weight) : x;
}

Row times(const Tensor & weight, const Row & x) {
    Row y(static_cast<size_t>(weight.ne[1]), 0.0);
    for (size_t j = 0; j < y.size(); j++) {
        for (size_t i = 0; i < x.size(); i++) {
            y[j] += static_cast<double>(weight(static_cast<int64_t>(i), static_cast<int64_t>(j))) * x[i];
        }
    }
    return y;
}

Row clamped_linear(const Model & model, const std::string & name, Row x) {
    const auto bound = [&](const char * which, double otherwise) {
        const Tensor * t = model.find(name + "." + which);
        return t ? static_cast<double>(t->data[0]) : otherwise;
    };
    const auto clamp = [](Row & row, double min, double max) {
        for (double & v : row) {
            v = std::min(std::max(v, min), max);
        }
    };
    clamp(x, bound("input_min", -1e300), bound("input_max", 1e300));
    Row y = times(model.get(name + ".weight"), x);
    clamp(y, bound("output_min", -1e300), bound("output_max", 1e300));
    return y;
}

double sigmoid(double x) {
    return 1.0 / (1.0 + std::exp(-x));
}

struct Map { // [time][mel][channel]
    int64_t time = 0, mel = 0, channels = 0;
    std::vector<double> data;
    double & at(int64_t t, int64_t m, int64_t c) { return data[static_cast<size_t>((t * mel + m) * channels + c)]; }
};

Map conv_norm_relu(Map in, const Tensor & kernel, const Tensor * norm) {
    Map out{(in.time + 1) / 2, (in.mel + 1) / 2, kernel.ne[3], {}};
    out.data.assign(static_cast<size_t>(out.time * out.mel * out.channels), 0.0);
    for (int64_t t = 0; t < out.time; t++) {
        for (int64_t m = 0; m < out.mel; m++) {
            double mean = 0.0, square = 0.0;
            for (int64_t c = 0; c < out.channels; c++) {
                double sum = 0.0;
                for (int64_t dt = 0; dt < 3; dt++) {
                    for (int64_t dm = 0; dm < 3; dm++) {
                        const int64_t it = 2 * t - 1 + dt, im = 2 * m - 1 + dm;
                        if (it < 0 || it >= in.time || im < 0 || im >= in.mel) {
                            continue;
                        }
                        for (int64_t k = 0; k < in.channels; k++) {
                            sum += in.at(it, im, k) *
                                   kernel.data[static_cast<size_t>(((c * in.channels + k) * 3 + dt) * 3 + dm)];
                        }
                    }
                }
                out.at(t, m, c) = sum;
                mean += sum / static_cast<double>(out.channels);
            }
            for (int64_t c = 0; c < out.channels; c++) {
                square += std::pow(out.at(t, m, c) - mean, 2.0) / static_cast<double>(out.channels);
            }
            for (int64_t c = 0; c < out.channels; c++) {
                double & v = out.at(t, m, c);
                if (norm) {
                    v = (v - mean) / std::sqrt(square + 1e-6) * norm->data[static_cast<size_t>(c)];
                }
                v = std::max(v, 0.0);
            }
        }
    }
    return out;
}

void half_ffn(const Model & model, const std::string & b, const std::string & suffix, Rows & x) {
    for (Row & row : x) {
        Row h = clamped_linear(model, b + "ffn_up" + suffix, rms(row, &model.get(b + "ffn_norm" + suffix + ".weight")));
        for (double & v : h) {
            v *= sigmoid(v);
        }
        h = norm_if(clamped_linear(model, b + "ffn_down" + suffix, h),
                    model.find(b + "ffn_post_norm" + suffix + ".weight"));
        for (size_t i = 0; i < row.size(); i++) {
            row[i] += 0.5 * h[i];
        }
    }
}

void attend(const Model & model, const std::string & b, Rows & x) {
    const int64_t width = model.shape.width, dim = width / model.shape.heads;
    const Tensor * per_dim = model.find(b + "per_dim_scale.weight");
    const Tensor * rel = model.find(b + "attn_k_rel.weight");
    Rows q, k, v;
    for (const Row & row : x) {
        const Row h = norm_if(row, model.find(b + "attn_pre_norm.weight"));
        q.push_back(clamped_linear(model, b + "attn_q", h));
        k.push_back(clamped_linear(model, b + "attn_k", h));
        v.push_back(clamped_linear(model, b + "attn_v", h));
        for (int64_t i = 0; i < width; i++) {
            q.back()[static_cast<size_t>(i)] *= 1.0 / std::sqrt(static_cast<double>(dim)) / std::log(2.0) *
                                                (per_dim ? per_dim->data[static_cast<size_t>(i % dim)] : 1.0);
            k.back()[static_cast<size_t>(i)] *= std::log(1.0 + std::exp(1.0)) / std::log(2.0);
        }
    }
    Rows r(12, Row(static_cast<size_t>(width), 0.0)); // key of each distance
    for (int64_t d = 0; rel && d < 12; d++) {
        Row sinusoid(static_cast<size_t>(width));
        for (int64_t i = 0; i < width / 2; i++) {
            const double angle = static_cast<double>(d) *
                                 std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(width / 2 - 1));
            sinusoid[static_cast<size_t>(i)] = std::sin(angle);
            sinusoid[static_cast<size_t>(width / 2 + i)] = std::cos(angle);
        }
        r[static_cast<size_t>(d)] = times(*rel, sinusoid);
    }
    for (int64_t t = 0; t < static_cast<int64_t>(x.size()); t++) {
        Row out(static_cast<size_t>(width), 0.0);
        for (int64_t head = 0; head < model.shape.heads; head++) {
            const int64_t first = std::max<int64_t>(0, t - 11);
            Row p;
            double total = 0.0;
            for (int64_t key = first; key <= t; key++) {
                double logit = 0.0;
                for (int64_t i = head * dim; i < (head + 1) * dim; i++) {
                    const size_t at = static_cast<size_t>(i);
                    logit += q[static_cast<size_t>(t)][at] *
                             (k[static_cast<size_t>(key)][at] + r[static_cast<size_t>(t - key)][at]);
                }
                p.push_back(std::exp(50.0 * std::tanh(logit / 50.0)));
                total += p.back();
            }
            for (int64_t key = first; key <= t; key++) {
                for (int64_t i = head * dim; i < (head + 1) * dim; i++) {
                    out[static_cast<size_t>(i)] += p[static_cast<size_t>(key - first)] / total *
                                                   v[static_cast<size_t>(key)][static_cast<size_t>(i)];
                }
            }
        }
        out = norm_if(clamped_linear(model, b + "attn_out", out), model.find(b + "attn_post_norm.weight"));
        for (int64_t i = 0; i < width; i++) {
            x[static_cast<size_t>(t)][static_cast<size_t>(i)] += out[static_cast<size_t>(i)];
        }
    }
}

void light_conv(const Model & model, const std::string & b, Rows & x) {
    const size_t width = static_cast<size_t>(model.shape.width);
    Rows glu;
    for (const Row & row : x) {
        const Row h = clamped_linear(model, b + "conv_pw1", norm_if(row, model.find(b + "conv_norm.weight")));
        Row g(width);
        for (size_t i = 0; i < width; i++) {
            g[i] = h[i] * sigmoid(h[width + i]);
        }
        glu.push_back(g);
    }
    for (size_t t = 0; t < x.size(); t++) {
        Row h(width, 0.0);
        for (size_t tap = 0; tap < 5; tap++) {
            for (size_t i = 0; i < width && t + tap >= 4; i++) {
                h[i] += glu[t + tap - 4][i] * model.get(b + "conv_dw.weight").data[i * 5 + tap];
            }
        }
        h = norm_if(h, model.find(b + "norm_conv.weight"));
        for (double & v : h) {
            v *= sigmoid(v);
        }
        h = clamped_linear(model, b + "conv_pw2", h);
        for (size_t i = 0; i < width; i++) {
            x[t][i] += h[i];
        }
    }
}

// All tokens of a clip: embeddings, and the encoder's output before the projector.
Rows by_definition(const Model & model, const std::vector<float> & frames, Rows * encoder_out) {
    Rows x;
    if (model.shape.raw) {
        for (size_t at = 0; at < frames.size(); at += 640) {
            x.emplace_back(frames.begin() + static_cast<std::ptrdiff_t>(at),
                           frames.begin() + static_cast<std::ptrdiff_t>(at + 640));
        }
    } else {
        Map map{static_cast<int64_t>(frames.size() / 128), 128, 1, {frames.begin(), frames.end()}};
        map = conv_norm_relu(map, model.get("a.conv1d.0.weight"), model.find("a.conv1d.0.norm.weight"));
        map = conv_norm_relu(map, model.get("a.conv1d.1.weight"), model.find("a.conv1d.1.norm.weight"));
        const size_t n = static_cast<size_t>(map.mel * map.channels);
        for (size_t t = 0; t < static_cast<size_t>(map.time); t++) {
            const auto begin = map.data.begin() + static_cast<std::ptrdiff_t>(t * n);
            x.push_back(
                times(model.get("a.input_projection.weight"), Row(begin, begin + static_cast<std::ptrdiff_t>(n))));
        }
        for (int64_t i = 0; i < model.shape.layers; i++) {
            const std::string b = "a.blk." + std::to_string(i) + ".";
            half_ffn(model, b, "", x);
            attend(model, b, x);
            light_conv(model, b, x);
            half_ffn(model, b, "_1", x);
            for (Row & row : x) {
                row = norm_if(row, model.find(b + "ln2.weight"));
            }
        }
        if (const Tensor * out = model.find("a.pre_encode.out.weight")) {
            for (Row & row : x) {
                row = times(*out, row);
                for (size_t i = 0; i < row.size(); i++) {
                    row[i] += model.get("a.pre_encode.out.bias").data[i];
                }
            }
        }
    }
    if (encoder_out) {
        *encoder_out = x;
    }
    for (Row & row : x) {
        row = times(model.get("mm.a.input_projection.weight"), rms(row, nullptr));
    }
    return x;
}

// ---- running ours -----------------------------------------------------------------------------------------------------

struct Engine {
    ga::GgufFile file;
    ga::Backend backend;
    ga::AudioModel model;
    ga::AudioEncoder encoder;

    explicit Engine(const std::string & path, ga::CancelCheck cancel = {})
        : file(path), backend("CPU", 1, true, std::move(cancel)), model(file, backend, {}), encoder(model, backend) {}
};

std::vector<float> random_frames(int64_t n, int64_t width, unsigned seed) {
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
Result encode(Engine & engine, const std::vector<float> & frames, size_t largest, unsigned seed) {
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

double largest_difference(const std::vector<float> & a, const std::vector<float> & b) {
    double worst = a.size() == b.size() ? 0.0 : INFINITY;
    for (size_t i = 0; i < std::min(a.size(), b.size()); i++) {
        worst = std::max(worst, std::fabs(static_cast<double>(a[i]) - b[i]));
    }
    return worst;
}

std::vector<float> flat(const Rows & rows) {
    std::vector<float> values;
    for (const Row & row : rows) {
        values.insert(values.end(), row.begin(), row.end());
    }
    return values;
}

double worst_cosine(const std::vector<float> & a, const std::vector<float> & b, size_t width) {
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
bool own_kernels(const Shape & shape, bool plain) {
    return !plain && ga::audio_kernels() && !ggml_is_quantized(shape.type);
}

// ---- tests ------------------------------------------------------------------------------------------------------------

std::vector<Shape> shapes() {
    std::vector<Shape> list(9);
    list[1].clamps = false;
    list[2].norms = false;
    list[2].rel = false;
    list[3].output = false;
    list[4].width = 48, list[4].heads = 3, list[4].layers = 3, list[4].ff = 80, list[4].c0 = 5, list[4].c1 = 3;
    list[5].raw = true;
    list[6].width = 64, list[6].heads = 1, list[6].ff = 256, list[6].type = GGML_TYPE_BF16;
    list[7].width = 64, list[7].ff = 128, list[7].type = GGML_TYPE_F16;
    list[8].width = 64, list[8].ff = 128, list[8].encoder_out = 96, list[8].type = GGML_TYPE_Q8_0;
    return list;
}

void test_definition(bool plain) {
    unsigned seed = 0;
    for (const Shape & shape : shapes()) {
        const Model model = random_model(shape, ++seed);
        Engine engine(write_gguf(model));
        engine.encoder.use_plain_ops(plain);
        CHECK(engine.model.n_embd_out() == shape.text, "projection_dim is not read");
        // Lengths around every edge of two strided convolutions, and around block sizes.
        for (const int64_t n : {1, 2, 3, 4, 5, 6, 7, 8, 9, 43, 44, 47, 48, 49, 50, 95, 97, 130, 257}) {
            const std::vector<float> frames = random_frames(n, engine.model.frame_width(), seed * 1000 + n);
            const Result ours = encode(engine, frames, 0, 0);
            Rows encoder_out;
            const std::vector<float> embeddings = flat(by_definition(model, frames, &encoder_out));
            const int64_t expected = shape.raw ? n : ((n + 1) / 2 + 1) / 2;
            CHECK(ours.embeddings.size() == static_cast<size_t>(expected * shape.text), "model %u, %d frames", seed,
                  (int)n);
            // ggml rounds activations to the type of the weights, or to 8 bits, and these errors add up over the layers. Our own
            // products round them too where the processor multiplies BF16.
            const bool rounds = shape.type == GGML_TYPE_BF16 && ga::audio_kernels() && ga::audio_kernels()->matmul_bf16;
            const bool exact = shape.type == GGML_TYPE_F32 || (own_kernels(shape, plain) && !rounds);
            const double bound = exact ? 2e-5 : shape.type == GGML_TYPE_Q8_0 ? 0.3 : 6e-2;
            const double difference = largest_difference(ours.embeddings, embeddings);
            CHECK(difference < bound, "model %u, %d frames: %g", seed, (int)n, difference);
            const double inner = largest_difference(ours.encoder_out, flat(encoder_out));
            CHECK(inner < bound, "model %u, %d frames, encoder: %g", seed, (int)n, inner);
            const double cosine = worst_cosine(ours.embeddings, embeddings, static_cast<size_t>(shape.text));
            CHECK(cosine > (exact ? 0.999999 : 0.998), "model %u, %d frames: %.8f", seed, (int)n, cosine);
        }
    }
}

void test_slicing(bool plain) {
    unsigned seed = 100;
    for (const Shape & shape : shapes()) {
        Engine engine(write_gguf(random_model(shape, ++seed)));
        engine.encoder.use_plain_ops(plain);
        const std::vector<float> frames = random_frames(301, engine.model.frame_width(), seed);
        const Result whole = encode(engine, frames, 0, 0);
        for (const size_t largest : {1, 2, 3, 5, 8, 9, 16, 50, 120, 300}) {
            const Result sliced = encode(engine, frames, largest, seed + static_cast<unsigned>(largest));
            const double difference = largest_difference(whole.embeddings, sliced.embeddings);
            // Our own kernels sum in the same order for any number of rows; ggml's do not, and round half-precision inputs.
            const double bound = own_kernels(shape, plain) ? 1e-6 : shape.type == GGML_TYPE_F32 ? 2e-5 : 6e-2;
            CHECK(difference <= bound, "model %u, slices up to %zu: %g", seed, largest, difference);
        }
    }
}

// More than one graph's worth of tokens in one call.
void test_long() {
    Engine engine(write_gguf(random_model(Shape(), 200)));
    const std::vector<float> frames = random_frames(7003, 128, 201);
    const Result whole = encode(engine, frames, 0, 0);
    const Result sliced = encode(engine, frames, 900, 1);
    CHECK(whole.embeddings.size() == 1751 * 24, "%zu", whole.embeddings.size());
    const double difference = largest_difference(whole.embeddings, sliced.embeddings);
    CHECK(difference < 1e-5, "%g", difference);
}

void test_batch(bool plain) {
    std::mt19937 random(300);
    unsigned seed = 300;
    for (const Shape & shape : shapes()) {
        Engine engine(write_gguf(random_model(shape, ++seed)));
        engine.encoder.use_plain_ops(plain);
        const size_t width = static_cast<size_t>(engine.model.frame_width());
        constexpr size_t n_clips = 5;
        std::vector<float> frames[n_clips], alone[n_clips], together[n_clips];
        ga::EncoderState states[n_clips];
        size_t at[n_clips] = {};
        bool ended[n_clips] = {};
        for (size_t c = 0; c < n_clips; c++) {
            frames[c] = random_frames(1 + random() % 400, engine.model.frame_width(), seed * 10 + c);
            alone[c] = encode(engine, frames[c], 0, 0).embeddings;
        }
        while (std::find(std::begin(ended), std::end(ended), false) != std::end(ended)) {
            std::vector<ga::EncoderPiece> pieces;
            for (size_t c = 0; c < n_clips; c++) {
                if (ended[c] || random() % 4 == 0) {
                    continue;
                }
                ga::EncoderPiece piece;
                piece.state = &states[c];
                piece.frames = frames[c].data() + at[c] * width;
                piece.n_frames = std::min<size_t>(random() % 100, frames[c].size() / width - at[c]);
                at[c] += piece.n_frames;
                piece.end = ended[c] = at[c] == frames[c].size() / width;
                piece.embeddings = &together[c];
                pieces.push_back(piece);
            }
            engine.encoder.encode(pieces);
        }
        for (size_t c = 0; c < n_clips; c++) {
            const double difference = largest_difference(alone[c], together[c]);
            const double bound = own_kernels(shape, plain) ? 1e-6 : shape.type == GGML_TYPE_F32 ? 2e-5 : 6e-2;
            CHECK(difference <= bound, "model %u, clip %zu: %g", seed, c, difference);
        }
    }
}

template <typename Call> std::optional<ga_status> status_of(Call call, std::string * message = nullptr) {
    try {
        call();
    } catch (const ga::Error & error) {
        if (message) {
            *message = error.what();
        }
        return error.status();
    }
    return std::nullopt;
}

std::vector<float> random_samples(size_t n, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0.0f, 0.1f);
    std::vector<float> samples(n);
    std::generate(samples.begin(), samples.end(), [&] { return normal(random); });
    return samples;
}

std::vector<float> embeddings_of(const ga::AudioClip & clip, const ga::AudioModel & model) {
    std::vector<float> values(clip.count() * static_cast<size_t>(model.n_embd_out()));
    clip.read(0, 0, clip.count(), values.data());
    return values;
}

void test_clips() {
    for (const bool raw : {false, true}) {
        Shape shape;
        shape.raw = raw;
        Engine engine(write_gguf(random_model(shape, 400)));
        ga::Timings timings;
        // Token counts: (samples, gemma4a, gemma4ua).
        const size_t counts[][3] = {{0, 0, 0},   {1, 0, 1},   {160, 0, 1},     {161, 1, 1},     {640, 1, 1},
                                    {641, 1, 2}, {801, 2, 2}, {16000, 25, 25}, {16001, 25, 26}, {480000, 750, 750}};
        for (const auto & count : counts) {
            ga::AudioClip clip(engine.encoder, timings);
            const std::vector<float> samples = random_samples(count[0], 1);
            clip.push(samples.data(), samples.size());
            clip.finish();
            CHECK(clip.count() == count[raw ? 2 : 1], "%zu samples: %zu tokens", count[0], clip.count());
        }
        CHECK(timings.n_samples == 160 + 161 + 640 + 641 + 801 + 16000 + 16001 + 480000 + 1, "%zu",
              static_cast<size_t>(timings.n_samples));

        // Any slicing of the samples, alone and in a batch with others.
        const std::vector<float> samples = random_samples(70001, 2);
        ga::AudioClip whole(engine.encoder, timings);
        whole.keep_encoder();
        whole.push(samples.data(), samples.size());
        whole.finish();
        const std::vector<float> expected = embeddings_of(whole, engine.model);
        std::vector<float> inner(static_cast<size_t>(engine.model.n_encoder_out()));
        whole.read(1, whole.count() - 1, 1, inner.data());
        std::mt19937 random(3);
        for (const size_t largest : {700, 1280, 5000, 40000}) {
            ga::AudioClip sliced(engine.encoder, timings), other(engine.encoder, timings);
            for (size_t at = 0; at < samples.size();) {
                const size_t n = std::min<size_t>(random() % (largest + 1), samples.size() - at);
                if (other.finished()) {
                    sliced.push(samples.data() + at, n);
                } else {
                    ga::AudioClip::push_batch({{&other, samples.data(), largest, random() % 8 == 0},
                                               {&sliced, samples.data() + at, n, false}});
                }
                at += n;
            }
            sliced.finish();
            const double difference = largest_difference(expected, embeddings_of(sliced, engine.model));
            CHECK(difference < 1e-5, "slices up to %zu: %g", largest, difference);
        }

        // What the interface forbids.
        ga::AudioClip clip(engine.encoder, timings);
        const auto refused = std::optional<ga_status>(GA_ERROR_INVALID_ARGUMENT);
        for (const float bad : {NAN, INFINITY, -INFINITY}) {
            std::vector<float> broken = samples;
            broken[33333] = bad;
            CHECK(status_of([&] { clip.push(broken.data(), broken.size()); }) == refused, "%f", bad);
            CHECK(clip.count() == 0, "nothing was taken");
        }
        CHECK(status_of([&] {
                  ga::AudioClip::push_batch({{&clip, samples.data(), 1, false}, {&clip, samples.data(), 1, false}});
              }) == refused,
              "a clip twice");
        clip.push(samples.data(), samples.size());
        CHECK(status_of([&] { clip.keep_encoder(); }) == refused, "too late");
        CHECK(status_of([&] { clip.read(1, 0, 1, inner.data()); }) == refused, "not kept");
        CHECK(status_of([&] { clip.read(0, clip.count(), 1, inner.data()); }) == refused, "past the end");
        CHECK(status_of([&] { clip.read(0, 1, SIZE_MAX, inner.data()); }) == refused, "past the end");
        CHECK(status_of([&] { clip.read(2, 0, 0, inner.data()); }) == refused, "no such stage");
        clip.finish();
        CHECK(status_of([&] { clip.push(samples.data(), 1); }) == refused, "finished");
        CHECK(status_of([&] { clip.finish(); }) == refused, "finished");
        CHECK(largest_difference(expected, embeddings_of(clip, engine.model)) < 1e-5, "refused calls changed nothing");
    }
}

// A push that is cancelled half-way can be made again.
void test_cancel() {
    int calls_left = 1 << 30;
    Shape shape;
    shape.layers = 3;
    Engine engine(write_gguf(random_model(shape, 500)), [&] { return calls_left-- <= 0; });
    ga::Timings timings;
    const std::vector<float> samples = random_samples(16000 * 100, 501); // several graphs
    ga::AudioClip plain(engine.encoder, timings), cancelled(engine.encoder, timings);
    plain.push(samples.data(), samples.size());
    plain.finish();
    cancelled.push(samples.data(), 12345);
    int n_cancelled = 0;
    for (const int calls : {0, 1, 2, 3, 5}) {
        calls_left = calls;
        const size_t before = cancelled.count();
        const auto status = status_of([&] { cancelled.push(samples.data() + 12345, samples.size() - 12345); });
        if (!status) {
            break; // so fast that the check was not asked that often
        }
        n_cancelled++;
        CHECK(status == GA_ERROR_CANCELLED && cancelled.count() == before, "%d calls", calls);
    }
    CHECK(n_cancelled > 0, "never cancelled");
    calls_left = 1 << 30;
    if (n_cancelled == 5) {
        cancelled.push(samples.data() + 12345, samples.size() - 12345);
    }
    cancelled.finish();
    const double difference =
        largest_difference(embeddings_of(plain, engine.model), embeddings_of(cancelled, engine.model));
    CHECK(difference < 1e-5, "%g", difference);
}

void test_damaged_files() {
    const auto refused = [](const char * what, ga_status expected, const std::string & named,
                            const std::function<void(Model &)> & damage, bool raw = false) {
        Shape shape;
        shape.raw = raw;
        Model model = random_model(shape, 601); // (odd: clip.audio.projector_type)
        damage(model);
        const std::string path = write_gguf(model);
        std::string message;
        const auto status = status_of([&] { Engine engine(path); }, &message);
        CHECK(status == expected, "%s: status %d, %s", what, status ? static_cast<int>(*status) : 0, message.c_str());
        CHECK(message.find(named) != std::string::npos && message.find(path) != std::string::npos, "%s: %s", what,
              message.c_str());
    };
    // Every tensor that must be there.
    const Model intact = random_model(Shape(), 601);
    for (const auto & entry : intact.tensors) {
        const std::string & name = entry.first;
        const bool matrix = entry.second.ne.size() > 1 && name.rfind("v.", 0) != 0;
        if (matrix && name.find("attn_k_rel") == std::string::npos && name != "a.pre_encode.out.weight") {
            refused("missing", GA_ERROR_FORMAT, name, [&](Model & m) { m.tensors.erase(name); });
        }
        if (name.rfind("v.", 0) == 0 || name.find("put_m") != std::string::npos) {
            continue; // vision; clamps
        }
        // Not the extent by which the others are judged.
        if (name == "mm.a.input_projection.weight" || name == "a.blk.0.per_dim_scale.weight") {
            continue;
        }
        refused("longer rows", GA_ERROR_FORMAT, "has shape", [&](Model & m) {
            Tensor & t = m.tensors[name];
            t.data.resize(t.data.size() / static_cast<size_t>(t.ne[0]) * static_cast<size_t>(t.ne[0] + 2));
            t.ne[0] += 2;
        });
        refused("one dimension more", GA_ERROR_FORMAT, "has shape", [&](Model & m) {
            Tensor & t = m.tensors[name];
            while (t.ne.size() < 4) {
                t.ne.push_back(1);
            }
            t.data.resize(t.data.size() * 2);
            t.ne[3] *= 2;
        });
    }
    const std::string out = "a.pre_encode.out.weight";
    refused("output missing", GA_ERROR_FORMAT, out, [&](Model & m) { m.tensors.erase(out); });
    refused("scalar with two values", GA_ERROR_FORMAT, "a.blk.1.attn_q.input_max",
            [](Model & m) { m.tensors["a.blk.1.attn_q.input_max"] = {{2}, {1.0f, 1.0f}}; });
    refused("NaN bound", GA_ERROR_FORMAT, "a.blk.1.attn_q",
            [](Model & m) { m.tensors["a.blk.1.attn_q.input_max"] = {{1}, {NAN}}; });
    refused("crossed bounds", GA_ERROR_FORMAT, "a.blk.0.ffn_up_1", [](Model & m) {
        m.tensors["a.blk.0.ffn_up_1.output_min"] = {{1}, {2.0f}};
        m.tensors["a.blk.0.ffn_up_1.output_max"] = {{1}, {1.0f}};
    });
    refused("heads", GA_ERROR_FORMAT, "head_count", [](Model & m) { m.ints["clip.audio.attention.head_count"] = 5; });
    refused("zero heads", GA_ERROR_FORMAT, "head_count", [](Model & m) {
        m.ints["clip.audio.attention.head_count"] = 0;
        m.tensors.erase("a.blk.0.per_dim_scale.weight");
    });
    refused("fewer layers", GA_ERROR_FORMAT, "block_count", [](Model & m) { m.ints["clip.audio.block_count"] = 1; });
    refused("more layers", GA_ERROR_FORMAT, "block_count",
            [](Model & m) { m.ints["clip.audio.block_count"] = 4000000000u; });
    refused("a layer far away", GA_ERROR_FORMAT, "audio layers", [](Model & m) {
        m.tensors["a.blk.99999999999999999999.ln2.weight"] = {{32}, std::vector<float>(32, 1.0f)};
    });
    refused("architecture", GA_ERROR_UNSUPPORTED, "llama",
            [](Model & m) { m.strings["general.architecture"] = "llama"; });
    refused("projector", GA_ERROR_UNSUPPORTED, "ultravox",
            [](Model & m) { m.strings["clip.audio.projector_type"] = "ultravox"; });
    refused("no projector", GA_ERROR_FORMAT, "projector_type",
            [](Model & m) { m.strings.erase("clip.audio.projector_type"); });
    refused("unknown term", GA_ERROR_UNSUPPORTED, "a.conv1d.0.bias",
            [](Model & m) { m.tensors["a.conv1d.0.bias"] = {{8}, std::vector<float>(8, 1.0f)}; });
    refused(
        "raw frames of another size", GA_ERROR_FORMAT, "mm.a.input_projection.weight",
        [](Model & m) { m.tensors["mm.a.input_projection.weight"] = {{320, 24}, std::vector<float>(320 * 24, 0.0f)}; },
        true);
}

} // namespace

int main() {
    for (const bool plain : {false, true}) {
        test_definition(plain);
        test_slicing(plain);
        test_batch(plain);
    }
    test_long();
    test_clips();
    test_cancel();
    test_damaged_files();
    for (const auto & entry : std::filesystem::directory_iterator(std::filesystem::temp_directory_path())) {
        if (entry.path().filename().string().rfind("ga_test_encoder_", 0) == 0) {
            std::error_code ignored;
            std::filesystem::remove(entry.path(), ignored);
        }
    }
    std::printf("%d checks failed\n", failures);
    return failures ? 1 : 0;
}
