#include "sampler.h"

#include <algorithm>
#include <cmath>

namespace ga {

Sampler::Sampler(const Vocab & vocab, const ga_sampler_options & options) : vocab_(&vocab) {
    if (!vocab.suppressed().empty()) {
        suppressed_.assign((size_t)vocab.size(), false);
        for (const int32_t token : vocab.suppressed()) {
            suppressed_[(size_t)token] = true;
        }
    }
    if (!(options.temperature >= 0) || !(options.top_p >= 0) || !(options.min_p >= 0) || options.top_k < 0) {
        fail(GA_ERROR_INVALID_ARGUMENT, "temperature, top_k, top_p and min_p must not be negative");
    }
    if (options.temperature == 0 && !options.grammar) {
        return;
    }
    chain_.reset(llama_sampler_chain_init(llama_sampler_chain_default_params()));
    if (options.grammar) {
        llama_sampler * grammar = llama_sampler_init_grammar(vocab.get(), options.grammar, "root");
        if (!grammar) {
            fail(GA_ERROR_INVALID_ARGUMENT, "the grammar cannot be parsed (GBNF with a rule named root is expected)");
        }
        llama_sampler_chain_add(chain_.get(), grammar);
    }
    if (options.temperature == 0) {
        llama_sampler_chain_add(chain_.get(), llama_sampler_init_greedy());
        return;
    }
    if (options.top_k > 0) {
        llama_sampler_chain_add(chain_.get(), llama_sampler_init_top_k(options.top_k));
    }
    if (options.top_p < 1) {
        llama_sampler_chain_add(chain_.get(), llama_sampler_init_top_p(options.top_p, 1));
    }
    if (options.min_p > 0) {
        llama_sampler_chain_add(chain_.get(), llama_sampler_init_min_p(options.min_p, 1));
    }
    llama_sampler_chain_add(chain_.get(), llama_sampler_init_temp(options.temperature));
    llama_sampler_chain_add(chain_.get(), llama_sampler_init_dist(options.seed));
}

int32_t Sampler::greedy(const float * logits) const {
    int32_t best = -1;
    for (int32_t i = 0; i < vocab_->size(); i++) {
        if ((best < 0 || logits[i] > logits[best]) && (suppressed_.empty() || !suppressed_[(size_t)i])) {
            best = i;
        }
    }
    return best;
}

int32_t Sampler::sample(const float * logits, float * logprob) {
    const int n = vocab_->size();
    const float max = *std::max_element(logits, logits + n);
    double sum = 0;
    if (std::isfinite(max) && logprob) {
        for (int i = 0; i < n; i++) {
            sum += std::exp(logits[i] - max);
        }
    }
    if (!std::isfinite(max) || std::isnan(sum)) {
        fail(GA_ERROR_BACKEND, "the model computed no finite logits: its weights are damaged");
    }
    int32_t token;
    if (!chain_) {
        token = greedy(logits);
    } else {
        candidates_.clear();
        for (int32_t i = 0; i < n; i++) {
            if (suppressed_.empty() || !suppressed_[(size_t)i]) {
                candidates_.push_back({i, logits[i], 0.0f});
            }
        }
        llama_token_data_array array = {candidates_.data(), candidates_.size(), -1, false};
        llama_sampler_apply(chain_.get(), &array);
        if (array.size == 0 || array.selected < 0) {
            fail(GA_ERROR_BACKEND, "no token is left to choose from");
        }
        token = array.data[array.selected].id;
        llama_sampler_accept(chain_.get(), token);
    }
    if (token < 0) {
        fail(GA_ERROR_BACKEND, "no token is left to choose from");
    }
    if (logprob) {
        *logprob = (float)(logits[token] - max - std::log(sum));
    }
    return token;
}

} // namespace ga
