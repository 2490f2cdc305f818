// The audio encoder by plain loops in double precision: what docs/MODEL.md says, and nothing clever.
#pragma once

#include "audio_file.h"

namespace testing {

using Row = std::vector<double>;
using Rows = std::vector<Row>;

inline Row rms(const Row & x, const Tensor * weight) {
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

inline Row norm_if(const Row & x, const Tensor * weight) {
    return weight ? rms(x, weight) : x;
}

inline Row times(const Tensor & weight, const Row & x) {
    Row y(static_cast<size_t>(weight.ne[1]), 0.0);
    for (size_t j = 0; j < y.size(); j++) {
        for (size_t i = 0; i < x.size(); i++) {
            y[j] += static_cast<double>(weight(static_cast<int64_t>(i), static_cast<int64_t>(j))) * x[i];
        }
    }
    return y;
}

inline Row clamped_linear(const Model & model, const std::string & name, Row x) {
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

inline double sigmoid(double x) {
    return 1.0 / (1.0 + std::exp(-x));
}

struct Map { // [time][mel][channel]
    int64_t time = 0, mel = 0, channels = 0;
    std::vector<double> data;
    double & at(int64_t t, int64_t m, int64_t c) { return data[static_cast<size_t>((t * mel + m) * channels + c)]; }
};

inline Map conv_norm_relu(Map in, const Tensor & kernel, const Tensor * norm) {
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

inline void half_ffn(const Model & model, const std::string & b, const std::string & suffix, Rows & x) {
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

inline void attend(const Model & model, const std::string & b, Rows & x) {
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

inline void light_conv(const Model & model, const std::string & b, Rows & x) {
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
inline Rows by_definition(const Model & model, const std::vector<float> & frames, Rows * encoder_out) {
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

inline std::vector<float> flat(const Rows & rows) {
    std::vector<float> values;
    for (const Row & row : rows) {
        values.insert(values.end(), row.begin(), row.end());
    }
    return values;
}

} // namespace testing
