// Reading the attention of some layers: what word times are found with.
#include "text/text_decoder.h"

namespace ga {

void TextDecoder::attention(const Span & span, const std::vector<int> & layers, int first_key, int n_keys,
                            float * out) {
    kept_.clear(); // this graph takes the place of a kept one
    ggml_context * ctx = runner_.begin();
    begin_nodes();
    const std::vector<Span> spans = {span};
    Rows rows = make_rows(spans, false);
    ggml_tensor * embeddings = embed(spans, span.n);
    if (model_.n_ple > 0 && model_.ple_model_proj_low) {
        rows.ple = embed_ple(spans, false, embeddings, span.n, model_.ple_model_proj_low, 0, model_.n_ple_low);
    }
    std::vector<ggml_tensor *> found;
    ggml_tensor * x = embeddings;
    for (int il = 0; found.size() < layers.size(); il++) {
        const TextLayer & layer = model_.layers[(size_t)il];
        ggml_tensor * normed = norm(x, layer.attn_norm);
        if (il < model_.n_layer_kv) {
            store_kv(il, normed, rows);
        }
        if (layers[found.size()] == il) {
            ggml_tensor * keys = cache_.k(ctx, layer.kv_layer, span.seq);
            keys = ggml_view_3d(ctx, keys, keys->ne[0], n_keys, keys->ne[2], keys->nb[1], keys->nb[2],
                                (size_t)first_key * keys->nb[1]);
            ggml_tensor * q = ggml_cont(ctx, ggml_permute(ctx, queries(layer, normed, rows), 0, 2, 1, 3));
            found.push_back(ggml_soft_max(ctx, ggml_mul_mat(ctx, keys, q))); // [n_keys, n, n_head]
            runner_.output(found.back(), true);
        }
        if (il == model_.n_ple_low) {
            switch_ple(rows, spans, false, embeddings);
        }
        if (found.size() < layers.size()) { // nothing of the deepest layer but its attention is wanted
            x = layer_after_norm(il, x, normed, rows);
        }
    }
    runner_.compute();
    model_.weights().check_file();
    for (ggml_tensor * weights : found) {
        runner_.read(weights, out, 0, ggml_nbytes(weights));
        out += ggml_nelements(weights);
    }
}

} // namespace ga
