// What the parts of the C interface share: the handles, and the way from exceptions to codes.
#pragma once

#include "audio_clip.h"
#include "engine.h"
#include "mel.h"
#include "session.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <string>

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

namespace ga {

// Runs body and turns whatever it throws into a status and a message.
template <typename Body> ga_status guarded(std::string & error, Body && body) noexcept {
    try {
        body();
        return GA_OK;
    } catch (const Error & e) {
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

inline size_t copy_out(const std::string & text, char * out, size_t size) {
    if (out && size > 0) {
        const size_t n = std::min(text.size(), size - 1);
        std::memcpy(out, text.data(), n);
        out[n] = '\0';
    }
    return text.size();
}

inline void require(bool condition, const char * what) {
    if (!condition) {
        fail(GA_ERROR_INVALID_ARGUMENT, "%s", what);
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
        fail(GA_ERROR_INVALID_ARGUMENT, "%zu items do not fit into %zu", n, capacity);
    }
    std::copy_n(items, n, out);
}

} // namespace ga
