// Sessions on small random models, and what they give, for the native tests.
#pragma once

#include "text/session.h"
#include "text_file.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace testing {

using ga::Engine;
using ga::Session;
using ga::SessionInput;

struct Quiet {
    int32_t cancel = 0;
};

inline ga_engine_options engine_options(Quiet * state = nullptr) {
    ga_engine_options options;
    ga_engine_defaults(&options);
    options.n_threads = 1;
    options.device = "CPU";
    if (state) {
        options.cancel = [](void * s) { return static_cast<Quiet *>(s)->cancel; };
        options.user_data = state;
    }
    return options;
}

inline ga_session_options session_options(int n_seq = 1, bool skip = true, int n_batch = 0) {
    ga_session_options options;
    ga_session_defaults(&options);
    options.n_ctx = 64;
    options.n_seq = n_seq;
    options.skip_rows = skip;
    options.n_batch = n_batch;
    options.kv_type = GA_KV_F32;
    return options;
}

inline std::vector<int32_t> some_tokens(int n, unsigned seed) {
    std::mt19937 random(seed);
    std::vector<int32_t> tokens((size_t)n);
    for (int32_t & token : tokens) {
        token = (int32_t)(8 + random() % 50);
    }
    return tokens;
}

inline std::vector<float> some_embeddings(int n, int width, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    std::vector<float> values((size_t)(n * width));
    for (float & value : values) {
        value = normal(random);
    }
    return values;
}

inline SessionInput tokens_of(const std::vector<int32_t> & tokens, int n_logits, int seq = 0) {
    return {seq, (int)tokens.size(), tokens.data(), nullptr, n_logits};
}

inline std::vector<float> logits_of(const Session & session, size_t row, int n_vocab) {
    return {session.logits(row), session.logits(row) + n_vocab};
}

inline float distance(const std::vector<float> & a, const std::vector<float> & b) {
    float most = 0;
    for (size_t i = 0; i < a.size(); i++) {
        const float d = std::abs(a[i] - b[i]);
        most = d <= most ? most : std::isnan(d) ? INFINITY : d;
    }
    return most;
}

constexpr float kSame = 2e-5f;

// A prompt of tokens, audio and tokens; the last row's logits.

} // namespace testing
