// Choosing a token from a row of logits: greedy at once, everything else through libllama's sampler chain.
#pragma once

#include "text/vocab.h"

#include <memory>
#include <vector>

namespace ga {

class Sampler {
  public:
    Sampler(const Vocab & vocab, const ga_sampler_options & options);

    // logits: [n_vocab]. Returns the token; logprob: its log-probability under the plain softmax of the row.
    // Throws GA_ERROR_BACKEND where the row holds no finite number (damaged weights).
    int32_t sample(const float * logits, float * logprob);

    // Whether it takes the likeliest token that is not suppressed, and nothing else.
    bool is_greedy() const { return !chain_; }
    // [n_vocab], or empty where no token is suppressed.
    const std::vector<bool> & suppressed() const { return suppressed_; }

  private:
    struct ChainDeleter {
        void operator()(llama_sampler * chain) const { llama_sampler_free(chain); }
    };
    int32_t greedy(const float * logits, float max) const; // -1: none that is not suppressed
    bool allowed(int32_t token) const;                     // by the grammar

    const Vocab * vocab_;
    std::unique_ptr<llama_sampler, ChainDeleter> chain_; // null: greedy
    bool grammar_only_ = false;                          // the chain is a grammar and greedy choice
    std::vector<bool> suppressed_;                       // [n_vocab], empty where nothing is
    std::vector<llama_token_data> candidates_;
};

} // namespace ga
