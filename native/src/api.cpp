// The C interface: checks arguments, calls the C++ objects, turns exceptions into status codes. Nothing else.

#include "audio_clip.h"
#include "engine.h"
#include "mel.h"
#include "plugins.h"
#include "session.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <new>

struct ga_engine {
    ga::Engine engine;
};

struct ga_audio {
    ga_engine * owner;
    ga::AudioClip clip;
};

struct ga_session {
    ga_engine * owner;
    ga::Session session;
};

struct ga_mel {
    ga::Mel mel;
};

namespace {

// Runs body and turns whatever it throws into a status and a message.
template <typename Body> ga_status guarded(std::string & error, Body && body) noexcept {
    try {
        body();
        return GA_OK;
    } catch (const ga::Error & e) {
        error = e.what();
        return e.status();
    } catch (const std::bad_alloc &) {
        error = "out of memory";
        return GA_ERROR_OUT_OF_MEMORY;
    } catch (const std::exception & e) {
        error = e.what();
    } catch (...) {
        error = "an unknown exception";
    }
    return GA_ERROR_INTERNAL;
}

size_t copy_out(const std::string & text, char * out, size_t size) {
    if (out && size > 0) {
        const size_t n = std::min(text.size(), size - 1);
        std::memcpy(out, text.data(), n);
        out[n] = '\0';
    }
    return text.size();
}

void require(bool condition, const char * what) {
    if (!condition) {
        ga::fail(GA_ERROR_INVALID_ARGUMENT, "%s", what);
    }
}

template <typename Struct> void require_size(const Struct * s, const char * what) {
    require(s && s->size == sizeof(Struct), what);
}

// Copies as many items as there are; the caller's capacity must hold them all.
template <typename T> void copy_items(const T * items, size_t n, T * out, size_t capacity, size_t * n_out) {
    require(n_out, "the count's address is NULL");
    *n_out = n;
    if (n > capacity) {
        ga::fail(GA_ERROR_INVALID_ARGUMENT, "%zu items do not fit into %zu", n, capacity);
    }
    std::copy_n(items, n, out);
}

std::mutex g_log_mutex;
ga_log_callback g_log_callback = nullptr;
void * g_log_user_data = nullptr;

void forward_log(ggml_log_level level, const char * text, void *) {
    const std::lock_guard<std::mutex> lock(g_log_mutex);
    if (g_log_callback) {
        g_log_callback((int32_t)level, text, g_log_user_data);
    }
}

// ggml and libllama log to stderr until told otherwise; stderr is the application's.
void quiet_logs_once() {
    static std::once_flag once;
    std::call_once(once, [] {
        llama_log_set(forward_log, nullptr);
        ggml_log_set(forward_log, nullptr);
    });
}

} // namespace

extern "C" {

const char * ga_status_name(ga_status status) {
    switch (status) {
    case GA_OK:
        return "ok";
    case GA_ERROR_INVALID_ARGUMENT:
        return "invalid argument";
    case GA_ERROR_IO:
        return "input/output error";
    case GA_ERROR_FORMAT:
        return "damaged or malformed file";
    case GA_ERROR_UNSUPPORTED:
        return "unsupported file";
    case GA_ERROR_WIDTH_MISMATCH:
        return "width mismatch";
    case GA_ERROR_OUT_OF_MEMORY:
        return "out of memory";
    case GA_ERROR_BACKEND:
        return "back end error";
    case GA_ERROR_CONTEXT_FULL:
        return "context full";
    case GA_ERROR_CANCELLED:
        return "cancelled";
    case GA_ERROR_INTERNAL:
        return "internal error";
    }
    return "unknown status";
}

int32_t ga_abi_version(void) {
    return 3;
}

void ga_set_log(ga_log_callback callback, void * user_data) {
    quiet_logs_once();
    const std::lock_guard<std::mutex> lock(g_log_mutex);
    g_log_callback = callback;
    g_log_user_data = user_data;
}

int32_t ga_device_count(void) {
    quiet_logs_once();
    int32_t n = 0;
    std::string error;
    guarded(error, [&] {
        ga::load_plugins_once();
        n = (int32_t)ggml_backend_dev_count();
    });
    return n;
}

ga_status ga_device_get(int32_t index, ga_device_info * info) {
    std::string error;
    return guarded(error, [&] {
        require_size(info, "ga_device_info.size is wrong");
        require(index >= 0 && index < ga_device_count(), "no such device");
        ggml_backend_dev_t device = ggml_backend_dev_get((size_t)index);
        copy_out(ggml_backend_dev_name(device), info->name, sizeof(info->name));
        copy_out(ggml_backend_dev_description(device), info->description, sizeof(info->description));
        info->type = (int32_t)ggml_backend_dev_type(device);
        size_t free = 0, total = 0;
        ggml_backend_dev_memory(device, &free, &total);
        info->memory_free = free;
        info->memory_total = total;
    });
}

// ---- engine ------------------------------------------------------------------------------------------

void ga_engine_defaults(ga_engine_options * options) {
    *options = {};
    options->size = sizeof(*options);
    options->use_repack = 1;
    options->n_gpu_layers = GA_ALL_THAT_FIT;
}

ga_status ga_engine_open(const char * text_path, const char * mmproj_path, const ga_engine_options * options,
                         ga_engine ** engine, char * error, size_t error_size) {
    std::string message;
    const ga_status status = guarded(message, [&] {
        quiet_logs_once();
        require(engine, "the engine's address is NULL");
        *engine = nullptr;
        require(text_path, "the text model's path is NULL");
        ga_engine_options defaults;
        ga_engine_defaults(&defaults);
        if (options) {
            require_size(options, "ga_engine_options.size is wrong");
        }
        *engine = new ga_engine{ga::Engine(text_path, mmproj_path ? mmproj_path : "", options ? *options : defaults)};
    });
    copy_out(message, error, error_size);
    return status;
}

void ga_engine_close(ga_engine * engine) {
    delete engine;
}

ga_status ga_engine_get_info(const ga_engine * engine, ga_engine_info * info) {
    std::string error;
    return guarded(error, [&] {
        require(engine, "the engine is NULL");
        require_size(info, "ga_engine_info.size is wrong");
        engine->engine.describe(*info);
    });
}

size_t ga_engine_error(const ga_engine * engine, char * text, size_t size) {
    return copy_out(engine ? engine->engine.last_error : "the engine is NULL", text, size);
}

int64_t ga_engine_metadata(const ga_engine * engine, const char * key, char * text, size_t size) {
    std::string error;
    int64_t length = -1;
    guarded(error, [&] {
        require(engine && key, "engine or key is NULL");
        const ga::GgufFile & file = engine->engine.text_file();
        if (const auto value = file.find_string(key)) {
            length = (int64_t)copy_out(*value, text, size);
        }
    });
    return length;
}

// ---- vocabulary --------------------------------------------------------------------------------------

ga_status ga_tokenize(ga_engine * engine, const char * text, size_t n_bytes, int32_t parse_special, int32_t * tokens,
                      size_t capacity, size_t * n_tokens) {
    if (!engine) {
        return GA_ERROR_INVALID_ARGUMENT;
    }
    return guarded(engine->engine.last_error, [&] {
        require(text || n_bytes == 0, "the text is NULL");
        const auto found = engine->engine.vocab().tokenize(text, n_bytes, parse_special != 0);
        copy_items(found.data(), found.size(), tokens, capacity, n_tokens);
    });
}

ga_status ga_token_bytes(ga_engine * engine, int32_t token, int32_t special, char * bytes, size_t capacity,
                         size_t * n_bytes) {
    if (!engine) {
        return GA_ERROR_INVALID_ARGUMENT;
    }
    return guarded(engine->engine.last_error, [&] {
        require(engine->engine.vocab().contains(token), "no such token");
        const std::string piece = engine->engine.vocab().bytes(token, special != 0);
        copy_items(piece.data(), piece.size(), bytes, capacity, n_bytes);
    });
}

int32_t ga_token_is_end(const ga_engine * engine, int32_t token) {
    return engine && engine->engine.vocab().contains(token) && engine->engine.vocab().is_end(token);
}

int32_t ga_token_is_control(const ga_engine * engine, int32_t token) {
    return engine && engine->engine.vocab().contains(token) && engine->engine.vocab().is_control(token);
}

// ---- mel ---------------------------------------------------------------------------------------------

ga_status ga_mel_open(ga_mel ** mel) {
    std::string error;
    return guarded(error, [&] {
        require(mel, "the mel's address is NULL");
        *mel = new ga_mel();
    });
}

void ga_mel_close(ga_mel * mel) {
    delete mel;
}

ga_status ga_mel_push(ga_mel * mel, const float * samples, size_t n_samples) {
    std::string error;
    return guarded(error, [&] {
        require(mel && (samples || n_samples == 0), "mel or samples are NULL");
        mel->mel.push(samples, n_samples);
    });
}

ga_status ga_mel_pop(ga_mel * mel, float * frames, size_t max_frames, size_t * n_frames) {
    std::string error;
    return guarded(error, [&] {
        require(mel && n_frames && (frames || max_frames == 0), "mel, frames or count are NULL");
        *n_frames = mel->mel.pop(frames, max_frames);
    });
}

// ---- audio -------------------------------------------------------------------------------------------

ga_status ga_audio_open(ga_engine * engine, ga_audio ** audio) {
    if (!engine) {
        return GA_ERROR_INVALID_ARGUMENT;
    }
    return guarded(engine->engine.last_error, [&] {
        require(audio, "the audio's address is NULL");
        *audio = nullptr;
        *audio = new ga_audio{engine, ga::AudioClip(engine->engine.encoder(), engine->engine.timings())};
    });
}

void ga_audio_close(ga_audio * audio) {
    delete audio;
}

ga_status ga_audio_push(ga_audio * audio, const float * samples, size_t n_samples) {
    if (!audio) {
        return GA_ERROR_INVALID_ARGUMENT;
    }
    return guarded(audio->owner->engine.last_error, [&] {
        require(samples || n_samples == 0, "the samples are NULL");
        audio->clip.push(samples, n_samples);
    });
}

ga_status ga_audio_finish(ga_audio * audio) {
    if (!audio) {
        return GA_ERROR_INVALID_ARGUMENT;
    }
    return guarded(audio->owner->engine.last_error, [&] { audio->clip.finish(); });
}

ga_status ga_audio_push_batch(ga_audio * const * audios, const float * const * samples, const size_t * n_samples,
                              const int32_t * finish, size_t n_audios) {
    if (n_audios == 0) {
        return GA_OK;
    }
    if (!audios || !audios[0]) {
        return GA_ERROR_INVALID_ARGUMENT;
    }
    return guarded(audios[0]->owner->engine.last_error, [&] {
        require(samples && n_samples && finish, "an array is NULL");
        std::vector<ga::AudioClip::Push> pushes(n_audios);
        for (size_t i = 0; i < n_audios; i++) {
            require(audios[i] && audios[i]->owner == audios[0]->owner, "the clips are not of one engine");
            require(samples[i] || n_samples[i] == 0, "the samples are NULL");
            pushes[i] = {&audios[i]->clip, samples[i], n_samples[i], finish[i] != 0};
        }
        ga::AudioClip::push_batch(pushes);
    });
}

size_t ga_audio_count(const ga_audio * audio) {
    return audio ? audio->clip.count() : 0;
}

ga_status ga_audio_read(const ga_audio * audio, int32_t stage, size_t first, size_t n, float * out) {
    if (!audio) {
        return GA_ERROR_INVALID_ARGUMENT;
    }
    return guarded(audio->owner->engine.last_error, [&] {
        require(out || n == 0, "the output is NULL");
        audio->clip.read(stage, first, n, out);
    });
}

ga_status ga_audio_keep_encoder(ga_audio * audio) {
    if (!audio) {
        return GA_ERROR_INVALID_ARGUMENT;
    }
    return guarded(audio->owner->engine.last_error, [&] { audio->clip.keep_encoder(); });
}

// ---- session -----------------------------------------------------------------------------------------

void ga_session_defaults(ga_session_options * options) {
    *options = {};
    options->size = sizeof(*options);
    options->n_ctx = 2048;
    options->n_seq = 1;
    options->skip_rows = 1;
}

ga_status ga_session_open(ga_engine * engine, const ga_session_options * options, ga_session ** session) {
    if (!engine) {
        return GA_ERROR_INVALID_ARGUMENT;
    }
    return guarded(engine->engine.last_error, [&] {
        require(session, "the session's address is NULL");
        *session = nullptr;
        ga_session_options defaults;
        ga_session_defaults(&defaults);
        if (options) {
            require_size(options, "ga_session_options.size is wrong");
        }
        *session = new ga_session{engine, ga::Session(engine->engine, options ? *options : defaults)};
    });
}

void ga_session_close(ga_session * session) {
    delete session;
}

ga_status ga_session_forward(ga_session * session, const ga_input * inputs, size_t n_inputs) {
    if (!session) {
        return GA_ERROR_INVALID_ARGUMENT;
    }
    return guarded(session->owner->engine.last_error, [&] {
        require(inputs || n_inputs == 0, "the inputs are NULL");
        std::vector<ga::SessionInput> checked(n_inputs);
        for (size_t i = 0; i < n_inputs; i++) {
            const ga_input & in = inputs[i];
            const float * embeddings = in.embeddings;
            if (in.audio) {
                require(!in.tokens && !in.embeddings, "an input has more than one source");
                require(in.audio->owner == session->owner, "the clip is of another engine");
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
    if (!session) {
        return GA_ERROR_INVALID_ARGUMENT;
    }
    return guarded(session->owner->engine.last_error, [&] { session->session.rewind(seq, n); });
}

void ga_sampler_defaults(ga_sampler_options * options) {
    *options = {};
    options->size = sizeof(*options);
    options->top_p = 1;
}

ga_status ga_session_sampler(ga_session * session, int32_t seq, const ga_sampler_options * options) {
    if (!session) {
        return GA_ERROR_INVALID_ARGUMENT;
    }
    return guarded(session->owner->engine.last_error, [&] {
        require_size(options, "ga_sampler_options.size is wrong");
        session->session.set_sampler(seq, *options);
    });
}

ga_status ga_session_sample(ga_session * session, int32_t seq, size_t row, int32_t * token, float * logprob) {
    if (!session) {
        return GA_ERROR_INVALID_ARGUMENT;
    }
    return guarded(session->owner->engine.last_error, [&] {
        require(token, "the token's address is NULL");
        *token = session->session.sample(seq, row, logprob);
    });
}

ga_status ga_session_generate(ga_session * session, ga_generation * generations, size_t n_generations,
                              int32_t return_on_stop, ga_token_callback callback, void * user_data) {
    if (!session) {
        return GA_ERROR_INVALID_ARGUMENT;
    }
    return guarded(session->owner->engine.last_error, [&] {
        require(generations || n_generations == 0, "the generations are NULL");
        ga::Session::TokenCallback told;
        if (callback) {
            told = [callback, user_data](size_t index, int32_t token, float logprob) {
                return callback(index, token, logprob, user_data);
            };
        }
        session->session.generate(generations, n_generations, return_on_stop != 0, told);
    });
}

// ---- timings -----------------------------------------------------------------------------------------

ga_status ga_engine_timings(const ga_engine * engine, ga_timings * timings) {
    std::string error;
    return guarded(error, [&] {
        require(engine, "the engine is NULL");
        require_size(timings, "ga_timings.size is wrong");
        const ga::Timings & t = engine->engine.timings();
        *timings = {sizeof(ga_timings), t.load_s,    t.mel_s,          t.encode_s,  t.prefill_s,
                    t.decode_s,         t.n_samples, t.n_audio_tokens, t.n_prefill, t.n_decode};
    });
}

void ga_engine_reset_timings(ga_engine * engine) {
    if (engine) {
        const double load_s = engine->engine.timings().load_s;
        engine->engine.timings() = {};
        engine->engine.timings().load_s = load_s;
    }
}

} // extern "C"
