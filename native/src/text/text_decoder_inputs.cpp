// The inputs of a graph: what is looked up and laid out on the CPU, for a new graph or for one that is kept.
#include "text/text_decoder.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace ga {

namespace {

// Keys are read in whole blocks where graphs are kept; CUDA's quickest attention asks for them too.
constexpr int kKeyBlock = 256;

} // namespace

int TextDecoder::first_visible(int pos, bool sliding) const {
    return sliding ? std::max(0, pos - model_.sliding_window + 1) : 0;
}

TextDecoder::Keys TextDecoder::keys_of(int pos, int n, bool sliding) const {
    int start = first_visible(pos, sliding), end = pos + n;
    if (keeps_graphs_) {
        start = start / kKeyBlock * kKeyBlock;
        end = std::min((end + kKeyBlock - 1) / kKeyBlock * kKeyBlock, cache_.n_ctx());
    }
    return {start, end - start};
}

// [keys, n] of 0 and -inf; null where every row sees every key.
ggml_tensor * TextDecoder::attention_mask(const Part & part, bool sliding) {
    const int kv_start = part.keys[sliding].start, n_kv = part.keys[sliding].n;
    if (part.n == 1 && !keeps_graphs_) {
        return nullptr;
    }
    const ggml_fp16_t hidden = ggml_fp32_to_fp16(-INFINITY);
    const ggml_fp16_t visible = ggml_fp32_to_fp16(0.0f);
    std::vector<ggml_fp16_t> mask((size_t)n_kv * part.n, hidden);
    for (int i = 0; i < part.n; i++) {
        const int pos = part.pos + i;
        const int first = first_visible(pos, sliding) - kv_start;
        std::fill_n(mask.begin() + (size_t)i * n_kv + first, pos + 1 - kv_start - first, visible);
    }
    return runner_.input(GGML_TYPE_F16, mask, n_kv, part.n, 1, 1, sliding ? "mask_sliding" : "mask_global");
}

TextDecoder::Rows TextDecoder::make_rows(const std::vector<Span> & spans, bool wanted_only) {
    Rows rows;
    std::vector<int32_t> pos;
    for (const Span & span : spans) {
        Part part;
        part.seq = span.seq;
        part.row = rows.n;
        part.n = wanted_only ? span.n_logits : span.n;
        part.pos = span.pos + span.n - part.n;
        if (part.n == 0) {
            continue;
        }
        for (int i = 0; i < part.n; i++) {
            pos.push_back(part.pos + i);
        }
        for (const bool sliding : {false, true}) {
            part.keys[sliding] = keys_of(part.pos, part.n, sliding);
            part.mask[sliding] = attention_mask(part, sliding);
        }
        if (!wanted_only) {
            std::vector<int64_t> index((size_t)part.n);
            for (int i = 0; i < part.n; i++) {
                index[(size_t)i] = part.pos + i;
            }
            part.kv_index = runner_.input(GGML_TYPE_I64, index, part.n, 1, 1, 1, "kv_index");
        }
        rows.n += part.n;
        rows.parts.push_back(part);
    }
    rows.pos = runner_.input(GGML_TYPE_I32, pos, rows.n, 1, 1, 1, "pos");
    return rows;
}

// [width, n_rows]: scaled token embeddings and audio embeddings as they are.
ggml_tensor * TextDecoder::embed(const std::vector<Span> & spans, int n_rows) {
    const size_t width = (size_t)model_.n_embd;
    std::vector<uint8_t> bytes((size_t)n_rows * width * sizeof(float));
    float * out = reinterpret_cast<float *>(bytes.data());
    for (const Span & span : spans) {
        for (int i = 0; i < span.n; i++, out += width) {
            if (span.tokens) {
                model_.embed_token(span.tokens[i], out);
            } else {
                std::copy_n(span.embeddings + (size_t)i * width, width, out);
            }
        }
    }
    return runner_.input(GGML_TYPE_F32, (int64_t)width, n_rows, 1, 1, std::move(bytes), "embeddings");
}

// Audio rows use token 0's row of the table; each distinct token's row is put into the graph once. A kept graph has one for
// each row: which ones are alike changes from step to step.
TextDecoder::PleInputs TextDecoder::ple_inputs(const std::vector<Span> & spans, bool wanted_only, int n_rows,
                                               int first_layer, int n_layers) {
    const size_t row_size = (size_t)model_.n_ple * (size_t)n_layers;
    std::map<int32_t, int32_t> row_of_token;
    int32_t n_table_rows = 0;
    std::vector<int32_t> index;
    std::vector<uint8_t> table;
    const bool each = !graph_key(spans).empty();
    for (const Span & span : spans) {
        for (int i = wanted_only ? span.n - span.n_logits : 0; i < span.n; i++) {
            const int32_t token = span.tokens ? span.tokens[i] : 0;
            const auto [it, is_new] = row_of_token.emplace(token, n_table_rows);
            if (is_new || each) {
                it->second = n_table_rows++;
                table.resize((size_t)n_table_rows * row_size * sizeof(float));
                float * row = reinterpret_cast<float *>(table.data()) + (size_t)it->second * row_size;
                model_.embed_token_ple(token, first_layer, n_layers, row);
            }
            index.push_back(it->second);
        }
    }
    ggml_tensor * rows =
        runner_.input(GGML_TYPE_F32, (int64_t)row_size, n_table_rows, 1, 1, std::move(table), "ple_table");
    return {rows, runner_.input(GGML_TYPE_I32, index, n_rows, 1, 1, 1, "ple_index")};
}

ggml_tensor * TextDecoder::wanted_rows(const std::vector<Span> & spans) {
    std::vector<int32_t> wanted;
    int n_rows = 0;
    for (const Span & span : spans) {
        for (int i = span.n - span.n_logits; i < span.n; i++) {
            wanted.push_back(n_rows + i);
        }
        n_rows += span.n;
    }
    const int64_t n = (int64_t)wanted.size();
    return n > 0 ? runner_.input(GGML_TYPE_I32, wanted, n, 1, 1, 1, "wanted") : nullptr;
}

std::vector<int> TextDecoder::graph_key(const std::vector<Span> & spans) const {
    std::vector<int> key;
    for (const Span & span : spans) {
        if (!keeps_graphs_ || span.n != 1 || span.n_logits != 1 || !span.tokens) {
            return {};
        }
        key.push_back(span.seq);
        for (const bool sliding : {false, true}) {
            const Keys keys = keys_of(span.pos, 1, sliding);
            key.insert(key.end(), {keys.start, keys.n});
        }
    }
    return key;
}

// New data for the inputs of the kept graph, in the order in which build() makes them.
void TextDecoder::refill(const std::vector<Span> & spans) {
    runner_.begin_again();
    wanted_rows(spans);
    make_rows(spans, false);
    const int n_rows = (int)spans.size();
    embed(spans, n_rows);
    if (model_.n_ple > 0 && model_.ple_model_proj_low) {
        ple_inputs(spans, false, n_rows, 0, model_.n_ple_low);
    }
    if (model_.n_ple > 0 && model_.n_ple_low < model_.n_layer) {
        ple_inputs(spans, false, n_rows, model_.n_ple_low, model_.n_layer - model_.n_ple_low);
    }
}

} // namespace ga
