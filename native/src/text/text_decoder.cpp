#include "text/text_decoder.h"

#include "text/text_ops.h"

#include <cmath>

namespace ga {

namespace {

// Upper bounds on graph nodes (leafs included); ggml ends the process when a graph outgrows its memory.
constexpr size_t kNodesPerLayer = 96;
constexpr size_t kNodesPerLayerAndSpan = 24;
constexpr size_t kNodesElsewhere = 128;

// Rows from which ggml's backends multiply by matrices that lie on the CPU (their offload_op).
constexpr int kRowsWorthCopying = 32;

constexpr int kRopeNeox = GGML_ROPE_TYPE_NEOX;

} // namespace

TextDecoder::TextDecoder(const TextModel & model, Backend & backend, KvCache & cache, bool skip_rows, int max_spans,
                         bool keeps_graphs)
    : model_(model), backend_(backend), cache_(cache), skip_rows_(skip_rows), keeps_graphs_(keeps_graphs),
      runner_(backend, kNodesElsewhere + (size_t)max_spans * 8 +
                           (size_t)model.n_layer * (kNodesPerLayer + kNodesPerLayerAndSpan * (size_t)max_spans)) {}

// (RMS(proj x / √width) + √n_ple · table row) / √2 for layers [first_layer, first_layer + n_layers): [n_ple, n_layers, rows].
ggml_tensor * TextDecoder::embed_ple(const std::vector<Span> & spans, bool wanted_only, ggml_tensor * x, int n_rows,
                                     ggml_tensor * proj, int first_layer, int n_layers) {
    ggml_context * ctx = runner_.ctx();
    const PleInputs in = ple_inputs(spans, wanted_only, n_rows, first_layer, n_layers);
    ggml_tensor * rows = ggml_reshape_3d(ctx, ggml_get_rows(ctx, in.rows, in.ids), model_.n_ple, n_layers, n_rows);

    ggml_tensor * projected = ggml_scale(ctx, multiply(proj, x), 1.0f / std::sqrt((float)model_.n_embd));
    projected = norm(ggml_reshape_3d(ctx, projected, model_.n_ple, n_layers, n_rows), model_.ple_proj_norm);
    return ggml_scale(ctx, ggml_add(ctx, projected, rows), 1.0f / std::sqrt(2.0f));
}

// Nodes of our own, for a graph that was just begun. They run once: a graph that is kept has ggml's products of floats.
void TextDecoder::begin_nodes() {
    nodes_.emplace(runner_.ctx());
    quants_.emplace(*nodes_);
    floats_.reset();
    if (const AudioKernels * kernels = backend_.is_cpu() && !keeps_graphs_ ? audio_kernels() : nullptr) {
        floats_.emplace(*nodes_, *kernels);
    }
}

ggml_tensor * TextDecoder::multiply(ggml_tensor * weight, ggml_tensor * x) {
    if (for_quant_ops(weight)) {
        return quants_->multiply(weight, x);
    }
    return floats_ && FloatOps::takes(weight) ? floats_->multiply(weight, x) : runner_.multiply(weight, x);
}

// Is a layer (n_layer: the output matrix) computed by the CPU? One that lies there is copied to the device for many rows.
bool TextDecoder::runs_on_cpu(int il, int n_rows) const {
    return backend_.is_host() || (!model_.on_device(il) && n_rows < kRowsWorthCopying);
}

ggml_tensor * TextDecoder::norm(ggml_tensor * x, ggml_tensor * weight) {
    ggml_context * ctx = runner_.ctx();
    x = ggml_rms_norm(ctx, x, model_.norm_eps);
    return weight ? ggml_mul(ctx, x, weight) : x;
}

ggml_tensor * TextDecoder::rope(ggml_tensor * x, ggml_tensor * pos, const TextLayer & layer) {
    return ggml_rope_ext(runner_.ctx(), x, pos, layer.sliding ? nullptr : model_.rope_freqs, layer.n_rot, kRopeNeox, 0,
                         layer.rope_base, 1.0f, 0.0f, 1.0f, 0.0f, 0.0f);
}

// Writes K and V of all rows into the cache at their positions.
void TextDecoder::store_kv(int il, ggml_tensor * normed, const Rows & rows) {
    ggml_context * ctx = runner_.ctx();
    const TextLayer & layer = model_.layers[(size_t)il];
    const auto heads = [&](ggml_tensor * t) {
        return ggml_reshape_3d(ctx, t, layer.head_dim, layer.n_head_kv, rows.n);
    };

    ggml_tensor * k = heads(multiply(layer.attn_k, normed)); // [head_dim, n_head_kv, n]
    ggml_tensor * v = layer.v_is_k ? k : heads(multiply(layer.attn_v, normed));
    k = rope(norm(k, layer.attn_k_norm), rows.pos, layer);
    v = norm(v, nullptr);
    for (const Part & part : rows.parts) {
        const auto store = [&](ggml_tensor * cache, ggml_tensor * t) {
            t = ggml_view_3d(ctx, t, t->ne[0], t->ne[1], part.n, t->nb[1], t->nb[2], (size_t)part.row * t->nb[2]);
            t = ggml_permute(ctx, t, 0, 2, 1, 3); // [head_dim, n, n_head_kv]
            runner_.output(ggml_set_rows(ctx, cache, t, part.kv_index), false);
        };
        store(cache_.k(ctx, il, part.seq), k);
        store(cache_.v(ctx, il, part.seq), v);
    }
}

// Whether a part's attention has a kernel of ours.
bool TextDecoder::attends_own(const TextLayer & layer, const Part & part) const {
    return backend_.is_host() && part.n >= kLeastAttentionRows &&
           cache_attention(cache_.k(runner_.ctx(), layer.kv_layer, part.seq)->type, layer.head_dim);
}

ggml_tensor * TextDecoder::attend_many(const TextLayer & layer, ggml_tensor * q, const Part & part) {
    ggml_context * ctx = runner_.ctx();
    ggml_tensor * k = cache_.k(ctx, layer.kv_layer, part.seq);
    ggml_tensor * v = cache_.v(ctx, layer.kv_layer, part.seq);
    CacheAttention args;
    args.type = k->type;
    args.stride = (int64_t)k->nb[1];
    args.head_stride = (int64_t)k->nb[2];
    args.n_head = layer.n_head;
    args.n_head_kv = layer.n_head_kv;
    args.head_dim = layer.head_dim;
    args.n = part.n;
    args.pos = part.pos;
    args.window = layer.sliding ? model_.sliding_window : 0;
    const AttendCache kernel = cache_attention(args.type, args.head_dim);
    const int64_t q_dim = args.n_head * args.head_dim;
    return nodes_->node(GGML_TYPE_F32, q_dim, part.n, 1, {q, k, v}, attention_units(args), 1,
                        [=](ggml_tensor * out, int64_t first, int64_t n) {
                            CacheAttention mine = args;
                            mine.q = floats(q) + (int64_t)part.row * q_dim;
                            mine.k = static_cast<const uint8_t *>(k->data);
                            mine.v = static_cast<const uint8_t *>(v->data);
                            mine.out = floats(out);
                            kernel(mine, first, n);
                        });
}

// ggml's, for any device and any number of rows: [n_head * head_dim, part.n].
ggml_tensor * TextDecoder::attend_few(const TextLayer & layer, ggml_tensor * q, const Part & part) {
    ggml_context * ctx = runner_.ctx();
    const int64_t q_dim = (int64_t)layer.n_head * layer.head_dim;
    const Keys & seen = part.keys[layer.sliding];
    const auto window = [&](ggml_tensor * cache) { // [head_dim, n_kv, n_head_kv]
        return ggml_view_3d(ctx, cache, cache->ne[0], seen.n, cache->ne[2], cache->nb[1], cache->nb[2],
                            (size_t)seen.start * cache->nb[1]);
    };
    ggml_tensor * part_q =
        ggml_view_3d(ctx, q, layer.head_dim, layer.n_head, part.n, q->nb[1], q->nb[2], (size_t)part.row * q->nb[2]);
    part_q = ggml_permute(ctx, part_q, 0, 2, 1, 3); // [head_dim, n, n_head]
    ggml_tensor * out = ggml_flash_attn_ext(ctx, part_q, window(cache_.k(ctx, layer.kv_layer, part.seq)),
                                            window(cache_.v(ctx, layer.kv_layer, part.seq)), part.mask[layer.sliding],
                                            /*scale =*/1.0f, 0.0f, 0.0f);
    ggml_prec_set_acc(out, GGML_PREC_F32);
    return ggml_reshape_2d(ctx, out, q_dim, part.n); // from [head_dim, n_head, n]
}

// [head_dim, n_head, rows.n]
ggml_tensor * TextDecoder::queries(const TextLayer & layer, ggml_tensor * normed, const Rows & rows) {
    ggml_tensor * q =
        ggml_reshape_3d(runner_.ctx(), multiply(layer.attn_q, normed), layer.head_dim, layer.n_head, rows.n);
    return rope(norm(q, layer.attn_q_norm), rows.pos, layer);
}

// Attention output before the output matrix: [n_head * head_dim, rows.n].
ggml_tensor * TextDecoder::attend(const TextLayer & layer, ggml_tensor * normed, const Rows & rows) {
    ggml_context * ctx = runner_.ctx();
    ggml_tensor * q = queries(layer, normed, rows);

    ggml_tensor * joined = nullptr;
    for (const Part & part : rows.parts) {
        ggml_tensor * out = attends_own(layer, part) ? attend_many(layer, q, part) : attend_few(layer, q, part);
        joined = joined ? ggml_concat(ctx, joined, out, 1) : out;
    }
    return joined;
}

// Everything of a layer but its first norm and its K/V: [width, rows.n] -> [width, rows.n].
ggml_tensor * TextDecoder::layer_after_norm(int il, ggml_tensor * x, ggml_tensor * normed, const Rows & rows) {
    ggml_context * ctx = runner_.ctx();
    const TextLayer & layer = model_.layers[(size_t)il];

    ggml_tensor * attn = multiply(layer.attn_output, attend(layer, normed, rows));
    ggml_tensor * h = ggml_add(ctx, norm(attn, layer.attn_post_norm), x);

    ggml_tensor * ff = norm(h, layer.ffn_norm);
    ggml_tensor * gate = multiply(layer.ffn_gate, ff);
    ggml_tensor * up = multiply(layer.ffn_up, ff);
    const bool on_cpu = runs_on_cpu(il, rows.n);
    ff = multiply(layer.ffn_down, gelu_mul(ctx, on_cpu, gate, up));
    h = ggml_add(ctx, norm(ff, layer.ffn_post_norm), h);

    if (rows.ple) {
        ggml_tensor * ple = ggml_view_2d(ctx, rows.ple, model_.n_ple, rows.n, rows.ple->nb[2],
                                         (size_t)(il - rows.ple_first_layer) * rows.ple->nb[1]);
        ggml_tensor * gated = gelu_mul(ctx, on_cpu, multiply(layer.ple_gate, h), ple);
        h = ggml_add(ctx, norm(multiply(layer.ple_proj, gated), layer.ple_post_norm), h);
    }
    return layer.output_scale == 1.0f ? h : ggml_scale(ctx, h, layer.output_scale);
}

// The per-layer embeddings of the layers that lie above ple_model_proj's lower part.
void TextDecoder::switch_ple(Rows & rows, const std::vector<Span> & spans, bool wanted_only, ggml_tensor * x) {
    if (model_.n_ple > 0) {
        rows.ple_first_layer = model_.n_ple_low;
        rows.ple = embed_ple(spans, wanted_only, x, rows.n, model_.ple_model_proj_high, model_.n_ple_low,
                             model_.n_layer - model_.n_ple_low);
    }
}

void TextDecoder::build(const std::vector<Span> & spans, Wanted wanted) {
    n_built_++;
    ggml_context * ctx = runner_.begin();
    begin_nodes();
    int n_rows = 0, n_wanted = 0;
    for (const Span & span : spans) {
        n_rows += span.n;
        n_wanted += span.n_logits;
    }
    ggml_tensor * wanted_index = wanted_rows(spans);

    // From this layer's attention on, only wanted rows go on.
    const int cut = skip_rows_ && n_wanted < n_rows ? model_.n_layer_kv - 1 : model_.n_layer;

    Rows rows = make_rows(spans, false);
    ggml_tensor * embeddings = embed(spans, n_rows);
    if (model_.n_ple > 0 && model_.ple_model_proj_low && cut > 0) {
        rows.ple = embed_ple(spans, false, embeddings, n_rows, model_.ple_model_proj_low, 0, model_.n_ple_low);
    }

    ggml_tensor * x = embeddings;
    for (int il = 0; il < model_.n_layer; il++) {
        ggml_tensor * normed = norm(x, model_.layers[(size_t)il].attn_norm);
        if (il < model_.n_layer_kv) {
            store_kv(il, normed, rows);
        }
        if (il == cut) {
            if (n_wanted == 0) {
                break;
            }
            rows = make_rows(spans, true);
            x = ggml_get_rows(ctx, x, wanted_index);
            normed = ggml_get_rows(ctx, normed, wanted_index);
            switch_ple(rows, spans, true, ggml_get_rows(ctx, embeddings, wanted_index));
        } else if (il == model_.n_ple_low && cut == model_.n_layer) {
            switch_ple(rows, spans, false, embeddings);
        }
        x = layer_after_norm(il, x, normed, rows);
    }

    result_ = nullptr;
    if (n_wanted > 0) {
        if (cut == model_.n_layer && n_wanted < n_rows) {
            x = ggml_get_rows(ctx, x, wanted_index);
        }
        result_ = multiply(model_.output, norm(x, model_.output_norm));
        if (model_.logit_softcap > 0) {
            result_ = soft_cap(ctx, runs_on_cpu(model_.n_layer, n_wanted), result_, model_.logit_softcap);
        }
        if (wanted == Wanted::kLogits) {
            runner_.output(result_, true);
        } else {
            choose_on_device(wanted);
        }
    } else if (cut == model_.n_layer) {
        runner_.output(x, false); // nothing is read, but with skipping off every layer runs
    }
}

} // namespace ga
