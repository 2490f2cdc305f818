// Running graphs, new ones and kept ones, and what is read from them.
#include "text/text_decoder.h"

#include <cmath>

namespace ga {

void TextDecoder::run(const std::vector<Span> & spans, Wanted wanted) {
    std::vector<int> key = graph_key(spans);
    if (!key.empty()) {
        key.push_back((int)wanted);
    }
    const bool again = !key.empty() && key == kept_;
    kept_.clear(); // whatever happens now
    if (again) {
        refill(spans);
    } else {
        build(spans, wanted);
    }
    runner_.compute();
    kept_ = key;
    model_.weights().check_file(); // tables are looked up, and some matrices multiplied, where the file is mapped
}

void TextDecoder::forward(const std::vector<Span> & spans, std::vector<float> & logits) {
    run(spans, Wanted::kLogits);
    if (result_) {
        const size_t old_size = logits.size();
        logits.resize(old_size + (size_t)ggml_nelements(result_));
        runner_.read(result_, logits.data() + old_size, 0, ggml_nbytes(result_));
    }
}

void TextDecoder::pick(const std::vector<Span> & spans, const std::vector<bool> & suppressed,
                       std::vector<Pick> & picks) {
    suppress(suppressed);
    run(spans, suppressed.empty() ? Wanted::kPicksUnsuppressed : Wanted::kPicks);
    const size_t n = (size_t)ggml_nelements(token_);
    std::vector<int32_t> tokens(n);
    std::vector<float> logits(n), sums(n);
    runner_.read(token_, tokens.data(), 0, n * sizeof(int32_t));
    runner_.read(logit_, logits.data(), 0, n * sizeof(float));
    runner_.read(sum_, sums.data(), 0, n * sizeof(float));
    for (size_t i = 0; i < n; i++) {
        if (!std::isfinite(sums[i]) || sums[i] <= 0) {
            fail(GA_ERROR_BACKEND, "the model computed no finite logits: its weights are damaged");
        }
        const bool known = tokens[i] >= 0 && tokens[i] < model_.n_vocab;
        if (!known || (!suppressed.empty() && suppressed[(size_t)tokens[i]])) {
            fail(GA_ERROR_BACKEND, "no token is left to choose from");
        }
        picks.push_back({tokens[i], logits[i] - model_.logit_softcap - std::log(sums[i])});
    }
}

// Which tokens are never chosen, as numbers to add to their logits, where the logits are.
void TextDecoder::suppress(const std::vector<bool> & suppressed) {
    if (suppressed.empty() || suppressed == suppressed_) {
        return;
    }
    if (!bias_) {
        bias_tensors_.emplace(model_.on_device(model_.n_layer) ? backend_.device_place() : backend_.cpu_place(), 1);
        bias_ = bias_tensors_->add(GGML_TYPE_F32, model_.n_vocab, 1, 1, 1, "suppressed");
        bias_tensors_->allocate(false);
    }
    std::vector<float> values(suppressed.size());
    for (size_t token = 0; token < values.size(); token++) {
        values[token] = suppressed[token] ? -INFINITY : 0.0f;
    }
    ggml_backend_tensor_set(bias_, values.data(), 0, values.size() * sizeof(float));
    suppressed_ = suppressed;
}

// result_ [n_vocab, rows] -> token_, logit_ and sum_ [rows]. Capped logits need no maximum to be taken off before the exponential.
void TextDecoder::choose_on_device(Wanted wanted) {
    ggml_context * ctx = runner_.ctx();
    const int64_t n_vocab = result_->ne[0], n_rows = result_->ne[1];
    token_ = ggml_argmax(ctx, wanted == Wanted::kPicks ? ggml_add(ctx, result_, bias_) : result_);
    logit_ =
        ggml_get_rows(ctx, ggml_reshape_3d(ctx, result_, 1, n_vocab, n_rows), ggml_reshape_2d(ctx, token_, 1, n_rows));
    sum_ = ggml_sum_rows(ctx, ggml_exp(ctx, ggml_scale_bias(ctx, result_, 1.0f, -model_.logit_softcap)));
    for (ggml_tensor * tensor : {token_, logit_, sum_}) {
        runner_.output(tensor, true);
    }
}

} // namespace ga
