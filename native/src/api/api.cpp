// The C interface: the library, engines, vocabulary and timings. Here and in api_*.cpp: checks arguments, calls the C++ objects,
// turns exceptions into status codes. Nothing else.
#include "api/api.h"
#include "core/crash.h"
#include "core/plugins.h"
#include "cpu/quant_products.h"

#include <mutex>

using ga::copy_items;
using ga::copy_out;
using ga::guarded;
using ga::require;
using ga::require_size;

namespace {

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
        ga::catch_crashes_once();
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
        return "backend error";
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
    return 6;
}

size_t ga_cpu_products(char * text, size_t size) {
    std::string found, error;
    if (guarded(error, [&] { found = ga::quant_products().description(); }) != GA_OK) {
        found = error;
    }
    return copy_out(found, text, size);
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
        *engine = new ga_engine(text_path, mmproj_path ? mmproj_path : "", options ? *options : defaults);
    });
    copy_out(message, error, error_size);
    return status;
}

ga_status ga_model_check(const char * text_path, const char * mmproj_path, char * error, size_t error_size) {
    std::string message;
    const ga_status status = guarded(message, [&] {
        quiet_logs_once();
        require(text_path, "the text model's path is NULL");
        ga::check_model(text_path, mmproj_path ? mmproj_path : "");
    });
    copy_out(message, error, error_size);
    return status;
}

ga_status ga_engine_close(ga_engine * engine) {
    return ga::close_with(engine, [&] { engine->release(); });
}

ga_status ga_engine_get_info(const ga_engine * engine, ga_engine_info * info) {
    std::string error;
    return guarded(error, [&] {
        require(engine, "the engine is NULL");
        require_size(info, "ga_engine_info.size is wrong");
        engine->engine.describe(*info);
    });
}

ga_status ga_layer_get(ga_engine * engine, int32_t layer, ga_layer_info * info) {
    return ga::read_from(engine, [&] {
        require_size(info, "ga_layer_info.size is wrong");
        const ga::TextModel & text = engine->engine.text();
        require(layer >= 0 && layer < text.n_layer, "no such layer");
        info->n_head = text.layers[(size_t)layer].n_head;
        info->window = text.layers[(size_t)layer].sliding ? text.sliding_window : 0;
    });
}

size_t ga_engine_error(const ga_engine * engine, char * text, size_t size) {
    return copy_out(engine ? engine->error() : "the engine is NULL", text, size);
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
    return ga::read_from(engine, [&] {
        require(text || n_bytes == 0, "the text is NULL");
        const auto found = engine->engine.vocab().tokenize(text, n_bytes, parse_special != 0);
        copy_items(found.data(), found.size(), tokens, capacity, n_tokens);
    });
}

ga_status ga_token_bytes(ga_engine * engine, int32_t token, int32_t special, char * bytes, size_t capacity,
                         size_t * n_bytes) {
    return ga::read_from(engine, [&] {
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
