#include "text/session.h"

#include <algorithm>

namespace ga {

namespace {

constexpr int kDefaultBatch = 1024; // a whole prompt: cut in two, its sums would depend on where

// Inputs of one graph: each adds an attention a layer, and memory for its nodes is set aside. A prompt has three parts.
int max_spans(const ga_session_options & options) {
    return std::clamp(options.n_seq * 3, 8, 64);
}

ggml_type kv_type(ga_kv_type type) {
    switch (type) {
    case GA_KV_F16:
        return GGML_TYPE_F16;
    case GA_KV_Q8_0:
        return GGML_TYPE_Q8_0;
    case GA_KV_F32:
        return GGML_TYPE_F32;
    }
    fail(GA_ERROR_INVALID_ARGUMENT, "unknown K/V type %d", (int)type);
}

int checked(const char * name, int value, int min, int max) {
    if (value < min || value > max) {
        fail(GA_ERROR_INVALID_ARGUMENT, "%s is %d, not between %d and %d", name, value, min, max);
    }
    return value;
}

} // namespace

Session::Session(Engine & engine, const ga_session_options & options)
    : Session(engine, options, !engine.backend().is_host()) {}

Session::Session(Engine & engine, const ga_session_options & options, bool keeps_graphs)
    : engine_(engine), n_batch_(checked("n_batch", options.n_batch > 0 ? options.n_batch : kDefaultBatch, 1, 1 << 16)),
      cache_(engine.text(), engine.backend(), kv_type(options.kv_type), checked("n_ctx", options.n_ctx, 1, 1 << 24),
             checked("n_seq", options.n_seq, 1, 1024), keeps_graphs),
      decoder_(engine.text(), engine.backend(), cache_, options.skip_rows != 0, max_spans(options), keeps_graphs),
      max_spans_(max_spans(options)) {
    ga_sampler_options greedy = {};
    greedy.top_p = 1;
    for (int i = 0; i < options.n_seq; i++) {
        samplers_.emplace_back(engine.vocab(), greedy);
    }
}

void Session::rewind(int seq, int n) {
    checked("seq", seq, 0, n_seq() - 1);
    cache_.set_length(seq, checked("length", n, 0, cache_.length(seq)));
}

void Session::copy(int from, int to, int n) {
    checked("from", from, 0, n_seq() - 1);
    checked("to", to, 0, n_seq() - 1);
    checked("length", n, 0, cache_.length(from));
    cache_.copy(from, to, n);
}

void Session::check(const SessionInput & input) const {
    checked("seq", input.seq, 0, n_seq() - 1);
    checked("n", input.n, 1, INT32_MAX);
    checked("n_logits", input.n_logits, 0, input.n);
    if ((input.tokens != nullptr) == (input.embeddings != nullptr)) {
        fail(GA_ERROR_INVALID_ARGUMENT, "an input needs either tokens or embeddings");
    }
    if (input.tokens) {
        for (int i = 0; i < input.n; i++) {
            checked("token", input.tokens[i], 0, engine_.text().n_vocab - 1);
        }
    }
}

void Session::forward(const std::vector<SessionInput> & inputs) {
    run(inputs, {}, nullptr);
}

void Session::run(const std::vector<SessionInput> & inputs, const std::vector<bool> & suppressed,
                  std::vector<Pick> * picks) {
    logits_.clear();
    std::vector<int> lengths((size_t)n_seq());
    for (int seq = 0; seq < n_seq(); seq++) {
        lengths[(size_t)seq] = cache_.length(seq);
    }
    bool decode = true;
    int64_t n_positions = 0;
    std::vector<int> planned = lengths;
    for (const SessionInput & input : inputs) {
        check(input);
        int & length = planned[(size_t)input.seq];
        if (input.n > n_ctx() - length) {
            fail(GA_ERROR_CONTEXT_FULL, "sequence %d holds %d of %d positions; %d more do not fit", input.seq, length,
                 n_ctx(), input.n);
        }
        length += input.n;
        n_positions += input.n;
        decode = decode && input.n == 1;
    }
    Timings & timings = engine_.timings();
    const Stopwatch watch(decode ? timings.decode_s : timings.prefill_s);

    std::vector<Span> spans;
    int n_rows = 0;
    const auto flush = [&] {
        if (!spans.empty() && picks) {
            decoder_.pick(spans, suppressed, *picks);
        } else if (!spans.empty()) {
            decoder_.forward(spans, logits_);
        }
        spans.clear();
        n_rows = 0;
    };
    try {
        for (const SessionInput & input : inputs) {
            for (int done = 0; done < input.n;) {
                if (n_rows == n_batch_ || (int)spans.size() == max_spans_) {
                    flush();
                }
                Span span;
                span.seq = input.seq;
                span.pos = lengths[(size_t)input.seq];
                span.n = std::min(input.n - done, n_batch_ - n_rows);
                span.tokens = input.tokens ? input.tokens + done : nullptr;
                span.embeddings =
                    input.embeddings ? input.embeddings + (size_t)done * (size_t)engine_.text().n_embd : nullptr;
                const int first_wanted = input.n - input.n_logits;
                span.n_logits = std::clamp(done + span.n - first_wanted, 0, span.n);
                spans.push_back(span);
                lengths[(size_t)input.seq] += span.n;
                n_rows += span.n;
                done += span.n;
            }
        }
        flush();
    } catch (...) {
        logits_.clear();
        throw;
    }
    for (int seq = 0; seq < n_seq(); seq++) {
        cache_.set_length(seq, lengths[(size_t)seq]);
    }
    (decode ? timings.n_decode : timings.n_prefill) += (uint64_t)n_positions;
}

size_t Session::attention_size(const std::vector<int> & layers, int n_tokens, int n_keys) const {
    size_t n_heads = 0;
    for (size_t i = 0; i < layers.size(); i++) {
        const int least = i == 0 ? 0 : layers[i - 1] + 1; // ascending, each once
        n_heads += (size_t)engine_.text()
                       .layers[(size_t)checked("layer", layers[i], least, engine_.text().n_layer - 1)]
                       .n_head;
    }
    checked("n_tokens", n_tokens, 1, n_batch_);
    checked("n_keys", n_keys, 1, n_ctx());
    return n_heads * (size_t)n_tokens * (size_t)n_keys;
}

void Session::attention(int seq, const int32_t * tokens, int n_tokens, const std::vector<int> & layers, int first_key,
                        int n_keys, float * out) {
    SessionInput input;
    input.seq = seq;
    input.n = n_tokens;
    input.tokens = tokens;
    check(input);
    const int length = cache_.length(seq);
    if (n_tokens > n_ctx() - length) {
        fail(GA_ERROR_CONTEXT_FULL, "sequence %d holds %d of %d positions; %d more do not fit", seq, length, n_ctx(),
             n_tokens);
    }
    checked("first_key", first_key, 0, length);
    checked("n_keys", n_keys, 1, length - first_key);
    for (const int il : layers) {
        const int visible = decoder_.first_visible(length + n_tokens - 1, engine_.text().layers[(size_t)il].sliding);
        if (first_key < visible) {
            fail(GA_ERROR_INVALID_ARGUMENT, "layer %d does not see position %d from position %d", il, first_key,
                 length + n_tokens - 1);
        }
    }
    Timings & timings = engine_.timings();
    const Stopwatch watch(timings.prefill_s);
    Span span;
    span.seq = seq;
    span.pos = length;
    span.n = n_tokens;
    span.tokens = tokens;
    decoder_.attention(span, layers, first_key, n_keys, out);
}

void Session::set_sampler(int seq, const ga_sampler_options & options) {
    checked("seq", seq, 0, n_seq() - 1);
    samplers_[(size_t)seq] = Sampler(engine_.vocab(), options);
}

int32_t Session::sample(int seq, size_t row, float * logprob) {
    checked("seq", seq, 0, n_seq() - 1);
    if (row >= n_logits()) {
        fail(GA_ERROR_INVALID_ARGUMENT, "row %zu of %zu rows of logits", row, n_logits());
    }
    return samplers_[(size_t)seq].sample(logits(row), logprob);
}

bool Session::can_pick(const ga_generation * generations, const std::vector<size_t> & running) const {
    if (!decoder_.can_pick()) {
        return false;
    }
    const Sampler & first = samplers_[(size_t)generations[running.front()].seq];
    return std::all_of(running.begin(), running.end(), [&](size_t i) {
        const Sampler & sampler = samplers_[(size_t)generations[i].seq];
        return sampler.is_greedy() && sampler.suppressed() == first.suppressed();
    });
}

void Session::generate(ga_generation * generations, size_t n, bool return_on_stop, const TokenCallback & callback) {
    for (size_t i = 0; i < n; i++) {
        checked("seq", generations[i].seq, 0, n_seq() - 1);
        for (size_t j = 0; j < i; j++) {
            if (generations[i].seq == generations[j].seq) {
                fail(GA_ERROR_INVALID_ARGUMENT, "two generations share sequence %d", generations[i].seq);
            }
        }
    }
    while (true) {
        std::vector<size_t> running;
        std::vector<SessionInput> inputs;
        bool leave = false;
        for (size_t i = 0; i < n; i++) {
            ga_generation & g = generations[i];
            if (g.stop != GA_STOP_RUNNING) {
                continue;
            }
            // A token past the budget or the context is not computed: its answer could not be used.
            if (g.n_max <= 0 || cache_.length(g.seq) >= n_ctx()) {
                g.stop = GA_STOP_BUDGET;
                leave = leave || return_on_stop;
                continue;
            }
            running.push_back(i);
            inputs.push_back({g.seq, 1, &g.next_token, nullptr, 1});
        }
        if (running.empty() || leave) {
            return;
        }
        std::vector<Pick> picks;
        const bool picked = can_pick(generations, running);
        if (picked) {
            run(inputs, samplers_[(size_t)generations[running.front()].seq].suppressed(), &picks);
        } else {
            forward(inputs);
        }
        for (size_t row = 0; row < running.size(); row++) {
            ga_generation & g = generations[running[row]];
            float logprob = 0;
            if (picked) {
                g.next_token = picks[row].token;
                logprob = picks[row].logprob;
            } else {
                g.next_token = sample(g.seq, row, &logprob);
            }
            g.n_max--;
            if (!g.ignore_end && engine_.vocab().is_end(g.next_token)) {
                g.stop = GA_STOP_END;
                leave = leave || return_on_stop;
                continue;
            }
            const int32_t action = callback ? callback(running[row], g.next_token, logprob) : 0;
            if (action == 1) {
                g.stop = GA_STOP_CALLER;
                leave = leave || return_on_stop;
            }
            leave = leave || action == 2;
        }
        if (leave) {
            return;
        }
    }
}

} // namespace ga
