#include "core/crash.h"

#include "ggml.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>

#if defined(_WIN32)
#include <io.h>
#include <windows.h>
#else
#include <unistd.h>
#endif

namespace ga {

namespace {

void write_error(const char * text) {
#if defined(_WIN32)
    (void)!_write(2, text, (unsigned)std::strlen(text));
#else
    (void)!write(2, text, std::strlen(text));
#endif
}

[[noreturn]] void wait_for_the_end() {
    while (true) {
#if defined(_WIN32)
        Sleep(1000);
#else
        pause();
#endif
    }
}

// One line, of printable characters. Several threads of a product may come here at once: the first one speaks.
[[noreturn]] void give_up(const char * what) {
    static std::atomic<bool> first{true};
    if (!first.exchange(false)) {
        wait_for_the_end();
    }
    char line[1024];
    std::snprintf(line, sizeof(line) - 1,
                  "gemma-audio: error: the engine gave up (%.700s); too little memory or a damaged model file is the "
                  "usual cause, and `gemma-audio models verify` checks the file",
                  what);
    for (char * c = line; *c; c++) {
        if ((unsigned char)*c < ' ' || *c == 127) {
            *c = ' ';
        }
    }
    std::strcat(line, "\n");
    write_error(line);
    std::_Exit(kGaveUp); // nothing of a process in this state is to run, least of all its destructors
}

// ggml's message begins with the path of its source at the time it was built, which helps nobody.
void on_abort(const char * message) {
    const char * name = message;
    for (const char * c = message; *c && *c != ':'; c++) {
        if (*c == '/' || *c == '\\') {
            name = c + 1;
        }
    }
    give_up(name);
}

void on_terminate() {
    try {
        if (std::current_exception()) {
            std::rethrow_exception(std::current_exception());
        }
    } catch (const std::exception & e) {
        give_up(e.what());
    } catch (...) {
    }
    give_up("an exception that nothing catches");
}

} // namespace

void catch_crashes_once() {
    static std::once_flag once;
    std::call_once(once, [] {
        ggml_set_abort_callback(on_abort);
        std::set_terminate(on_terminate);
    });
}

} // namespace ga
