#include "text/sampler.h"

#include "cpu/row_math.h"

#include <algorithm>
#include <cmath>

namespace ga {

namespace {

constexpr int kLanes = 16; // sums and maxima side by side
constexpr int kRun = 4096; // terms added in f32 before they go to the total in double: a multiple of kLanes

// *max: the largest of x; what is no number counts as nothing. n >= 1
GA_INLINE void find_max_row(const float * x, int n, float * max) {
    float lanes[kLanes];
    for (float & lane : lanes) {
        lane = -INFINITY;
    }
    int i = 0;
    for (; i + kLanes <= n; i += kLanes) {
        for (int j = 0; j < kLanes; j++) {
            lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
        }
    }
    for (; i < n; i++) {
        lanes[0] = x[i] > lanes[0] ? x[i] : lanes[0];
    }
    *max = lanes[0];
    for (const float lane : lanes) {
        *max = lane > *max ? lane : *max;
    }
}

// *sum: of e^(x - max). What is no number makes the sum none.
GA_INLINE void sum_exp_row(const float * x, int n, float max, double * sum) {
    *sum = 0;
    for (int start = 0; start < n; start += kRun) {
        const int end = start + kRun < n ? start + kRun : n;
        float lanes[kLanes] = {};
        int i = start;
        for (; i + kLanes <= end; i += kLanes) {
            for (int j = 0; j < kLanes; j++) {
                const float y = x[i + j] - max;
                lanes[j] += y == y ? exp_f32(exp_range(y)) : y;
            }
        }
        for (; i < end; i++) {
            const float y = x[i] - max;
            lanes[0] += y == y ? exp_f32(exp_range(y)) : y;
        }
        for (const float lane : lanes) {
            *sum += lane;
        }
    }
}

GA_ROW_FUNCTION(find_max, (const float * x, int n, float * max), (x, n, max))
GA_ROW_FUNCTION(sum_exp, (const float * x, int n, float max, double * sum), (x, n, max, sum))

} // namespace

Sampler::Sampler(const Vocab & vocab, const ga_sampler_options & options) : vocab_(&vocab) {
    if (!vocab.suppressed().empty()) {
        suppressed_.assign((size_t)vocab.size(), false);
        for (const int32_t token : vocab.suppressed()) {
            suppressed_[(size_t)token] = true;
        }
    }
    if (options.text_only || options.no_thinking) {
        suppressed_.resize((size_t)vocab.size());
        for (size_t token = 0; options.text_only && token < suppressed_.size(); token++) {
            suppressed_[token] = suppressed_[token] || vocab.useless()[token];
        }
        if (options.no_thinking && vocab.thought_open() >= 0) {
            suppressed_[(size_t)vocab.thought_open()] = true;
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
        grammar_only_ = true;
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

int32_t Sampler::greedy(const float * logits, float max) const {
    const float * const end = logits + vocab_->size();
    const float * best = std::find(logits, end, max);
    if (best != end && !suppressed_.empty() && suppressed_[(size_t)(best - logits)]) {
        best = end;
        for (const float * other = logits; other != end; other++) {
            if ((best == end || *other > *best) && !suppressed_[(size_t)(other - logits)]) {
                best = other;
            }
        }
    }
    return best == end ? -1 : (int32_t)(best - logits);
}

// A grammar looks at every token there is, which takes longer than the model; mostly the likeliest one fits.
bool Sampler::allowed(int32_t token) const {
    llama_token_data one = {token, 0.0f, 0.0f};
    llama_token_data_array array = {&one, 1, -1, false};
    llama_sampler_apply(chain_.get(), &array);
    return array.size == 1 && std::isfinite(one.logit);
}

int32_t Sampler::sample(const float * logits, float * logprob) {
    const int n = vocab_->size();
    float max;
    find_max(logits, n, &max);
    double sum = 0;
    if (std::isfinite(max) && logprob) {
        sum_exp(logits, n, max, &sum);
    }
    if (!std::isfinite(max) || std::isnan(sum)) {
        fail(GA_ERROR_BACKEND, "the model computed no finite logits: its weights are damaged");
    }
    int32_t token;
    if (!chain_) {
        token = greedy(logits, max);
    } else if (grammar_only_ && (token = greedy(logits, max)) >= 0 && allowed(token)) {
        llama_sampler_accept(chain_.get(), token);
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
