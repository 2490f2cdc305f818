// The C interface: sessions.
#include "api/api.h"

using ga::require;
using ga::require_size;

extern "C" {

// ---- session -----------------------------------------------------------------------------------------

void ga_session_defaults(ga_session_options * options) {
    *options = {};
    options->size = sizeof(*options);
    options->n_ctx = 2048;
    options->n_seq = 1;
    options->skip_rows = 1;
}

ga_status ga_session_open(ga_engine * engine, const ga_session_options * options, ga_session ** session) {
    return ga::change(engine, [&] {
        require(session, "the session's address is NULL");
        *session = nullptr;
        ga_session_options defaults;
        ga_session_defaults(&defaults);
        if (options) {
            require_size(options, "ga_session_options.size is wrong");
        }
        *session = new ga_session(engine, options ? *options : defaults);
    });
}

ga_status ga_session_close(ga_session * session) {
    return ga::close_with(ga::owner_of(session), [&] { delete session; });
}

ga_status ga_session_forward(ga_session * session, const ga_input * inputs, size_t n_inputs) {
    return ga::change(ga::owner_of(session), [&] {
        require(inputs || n_inputs == 0, "the inputs are NULL");
        std::vector<ga::SessionInput> checked(n_inputs);
        for (size_t i = 0; i < n_inputs; i++) {
            const ga_input & in = inputs[i];
            const float * embeddings = in.embeddings;
            if (in.audio) {
                require(!in.tokens && !in.embeddings, "an input has more than one source");
                require(ga::owner_of(in.audio) == session->owner.get(), "the clip is of another engine");
                const size_t count = in.audio->clip.count();
                require(in.audio_first >= 0 && in.n >= 0 && (size_t)in.audio_first <= count &&
                            (size_t)in.n <= count - (size_t)in.audio_first,
                        "the clip does not have these tokens");
                const size_t width = (size_t)session->owner->engine.text().n_embd;
                embeddings = in.audio->clip.embeddings() + (size_t)in.audio_first * width;
            }
            checked[i] = {in.seq, in.n, in.tokens, embeddings, in.n_logits};
        }
        session->session.forward(checked);
    });
}

size_t ga_session_n_logits(const ga_session * session) {
    return session ? session->session.n_logits() : 0;
}

const float * ga_session_logits(const ga_session * session, size_t row) {
    return session && row < session->session.n_logits() ? session->session.logits(row) : nullptr;
}

int32_t ga_session_length(const ga_session * session, int32_t seq) {
    return session && seq >= 0 && seq < session->session.n_seq() ? session->session.length(seq) : -1;
}

ga_status ga_session_rewind(ga_session * session, int32_t seq, int32_t n) {
    return ga::change(ga::owner_of(session), [&] { session->session.rewind(seq, n); });
}

ga_status ga_session_copy(ga_session * session, int32_t from, int32_t to, int32_t n) {
    return ga::change(ga::owner_of(session), [&] { session->session.copy(from, to, n); });
}

ga_status ga_session_attention(ga_session * session, int32_t seq, const int32_t * tokens, int32_t n_tokens,
                               const int32_t * layers, size_t n_layers, int32_t first_key, int32_t n_keys, float * out,
                               size_t capacity) {
    return ga::change(ga::owner_of(session), [&] {
        require(tokens && layers && out, "the tokens, the layers or the result's address is NULL");
        require(n_layers > 0 && n_layers <= 4096, "no layers are wanted, or more than there are");
        const std::vector<int> wanted(layers, layers + n_layers);
        require(session->session.attention_size(wanted, n_tokens, n_keys) == capacity, "the result has another size");
        session->session.attention(seq, tokens, n_tokens, wanted, first_key, n_keys, out);
    });
}

void ga_sampler_defaults(ga_sampler_options * options) {
    *options = {};
    options->size = sizeof(*options);
    options->top_p = 1;
}

ga_status ga_session_sampler(ga_session * session, int32_t seq, const ga_sampler_options * options) {
    return ga::change(ga::owner_of(session), [&] {
        require_size(options, "ga_sampler_options.size is wrong");
        session->session.set_sampler(seq, *options);
    });
}

ga_status ga_session_sample(ga_session * session, int32_t seq, size_t row, int32_t * token, float * logprob) {
    return ga::change(ga::owner_of(session), [&] {
        require(token, "the token's address is NULL");
        *token = session->session.sample(seq, row, logprob);
    });
}

ga_status ga_session_generate(ga_session * session, ga_generation * generations, size_t n_generations,
                              int32_t return_on_stop, ga_token_callback callback, void * user_data) {
    return ga::change(ga::owner_of(session), [&] {
        require(generations || n_generations == 0, "the generations are NULL");
        ga::Session::TokenCallback on_token;
        if (callback) {
            on_token = [callback, user_data](size_t index, int32_t token, float logprob) {
                return callback(index, token, logprob, user_data);
            };
        }
        session->session.generate(generations, n_generations, return_on_stop != 0, on_token);
    });
}

} // extern "C"
