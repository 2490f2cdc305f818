// Several sequences in one K/V cache: prefill, decode, sampling. What ga_session points to.
#pragma once

#include "api/engine.h"
#include "audio/audio_clip.h"
#include "text/sampler.h"
#include "text/text_decoder.h"

#include <functional>
#include <vector>

namespace ga {

// New positions of a sequence; exactly one of tokens and embeddings is set. The last n_logits rows are wanted.
struct SessionInput {
    int seq = 0;
    int n = 0;
    const int32_t * tokens = nullptr;
    const float * embeddings = nullptr;
    int n_logits = 0;
};

class Session {
  public:
    Session(Engine & engine, const ga_session_options & options);
    // keeps_graphs: see TextDecoder. By itself where there is a device: the CPU builds and places a graph in less than a hundredth
    // of a token's time, and would read keys in vain.
    Session(Engine & engine, const ga_session_options & options, bool keeps_graphs);

    Engine & engine() { return engine_; }
    int n_seq() const { return cache_.n_seq(); }
    int n_ctx() const { return cache_.n_ctx(); }
    int length(int seq) const { return cache_.length(seq); }
    void rewind(int seq, int n);
    void copy(int from, int to, int n);

    // Everything or nothing: where it throws, lengths are as before.
    void forward(const std::vector<SessionInput> & inputs);
    size_t n_graphs_built() const { return decoder_.n_built(); }
    size_t n_logits() const { return logits_.size() / (size_t)engine_.text().n_vocab; }
    const float * logits(size_t row) const { return logits_.data() + row * (size_t)engine_.text().n_vocab; }

    // Where new tokens behind what a sequence holds would look; see ga_session_attention. The sequence stays as it is.
    size_t attention_size(const std::vector<int> & layers, int n_tokens, int n_keys) const;
    void attention(int seq, const int32_t * tokens, int n_tokens, const std::vector<int> & layers, int first_key,
                   int n_keys, float * out);

    void set_sampler(int seq, const ga_sampler_options & options);
    int32_t sample(int seq, size_t row, float * logprob);

    using TokenCallback = std::function<int32_t(size_t index, int32_t token, float logprob)>;
    void generate(ga_generation * generations, size_t n, bool return_on_stop, const TokenCallback & callback);

  private:
    void check(const SessionInput & input) const;
    // Logits to logits_, or where they are given, picks for rows of which each is a sequence's next token.
    void run(const std::vector<SessionInput> & inputs, const std::vector<bool> & suppressed, std::vector<Pick> * picks);
    // Whether all of these can be picked on the device: greedy, with the same tokens suppressed.
    bool can_pick(const ga_generation * generations, const std::vector<size_t> & running) const;

    Engine & engine_;
    int n_batch_;
    KvCache cache_;
    TextDecoder decoder_;
    int max_spans_;
    std::vector<Sampler> samplers_;
    std::vector<float> logits_;
};

} // namespace ga
