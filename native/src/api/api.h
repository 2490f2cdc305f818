// What the parts of the C interface share: the handles, and the way from exceptions to codes.
#pragma once

#include "api/engine.h"
#include "audio/audio_clip.h"
#include "audio/mel.h"
#include "core/in_use.h"
#include "text/session.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <new>
#include <string>

// Lives as long as its handle or anything that was opened from it.
struct ga_engine {
    ga::Engine engine;
    ga::InUse in_use = {};

    ga_engine(const std::string & text_path, const std::string & mmproj_path, const ga_engine_options & options)
        : engine(text_path, mmproj_path, options) {}

    void set_error(std::string && text) noexcept {
        const std::lock_guard<std::mutex> lock(mutex_);
        error_.swap(text);
    }
    std::string error() const {
        const std::lock_guard<std::mutex> lock(mutex_);
        return error_;
    }
    void retain() { users_++; }
    void release() {
        if (--users_ == 0) {
            delete this;
        }
    }

  private:
    std::atomic<int> users_{1};
    mutable std::mutex mutex_;
    std::string error_; // of the last failed call on this engine or anything opened from it
};

// Keeps an engine alive.
class ga_owner {
  public:
    explicit ga_owner(ga_engine * engine) : engine_(engine) { engine->retain(); }
    ~ga_owner() { engine_->release(); }
    ga_owner(const ga_owner &) = delete;
    ga_owner & operator=(const ga_owner &) = delete;
    ga_engine * get() const { return engine_; }
    ga_engine * operator->() const { return engine_; }

  private:
    ga_engine * engine_;
};

// The owner is the first member: it goes last.
struct ga_audio {
    ga_owner owner;
    ga::AudioClip clip;

    explicit ga_audio(ga_engine * engine) : owner(engine), clip(engine->engine.encoder(), engine->engine.timings()) {}
};

struct ga_session {
    ga_owner owner;
    ga::Session session;

    ga_session(ga_engine * engine, const ga_session_options & options)
        : owner(engine), session(engine->engine, options) {}
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

// A call on an engine or something opened from it: guarded, alone, and with its message kept for ga_engine_error.
template <typename Body> ga_status call_on(ga_engine * engine, InUse::Call::Kind kind, Body && body) noexcept {
    if (!engine) {
        return GA_ERROR_INVALID_ARGUMENT;
    }
    std::string message;
    const ga_status status = guarded(message, [&] {
        const InUse::Call call(engine->in_use, kind);
        body();
    });
    if (status != GA_OK) {
        engine->set_error(std::move(message));
    }
    return status;
}
template <typename Body> ga_status read_from(ga_engine * engine, Body && body) noexcept {
    return call_on(engine, InUse::Call::Reads, body);
}
template <typename Body> ga_status change(ga_engine * engine, Body && body) noexcept {
    return call_on(engine, InUse::Call::Changes, body);
}
// The engine of an audio or a session, which may be NULL.
template <typename Handle> ga_engine * owner_of(Handle * handle) {
    return handle ? handle->owner.get() : nullptr;
}

// Closes a handle: not while a call is going on, and not in a forked process, whose copy goes with it (devices and threads are
// not there any more).
template <typename Close> ga_status close_with(ga_engine * engine, Close && close) noexcept {
    if (!engine || !engine->in_use.is_ours()) {
        return GA_OK;
    }
    if (!engine->in_use.is_idle()) {
        return GA_ERROR_INVALID_ARGUMENT;
    }
    close();
    return GA_OK;
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
