#include "core/in_use.h"

#include "core/error.h"
#include "core/own_process.h"

namespace ga {

InUse::InUse() : process_(this_process()) {}

bool InUse::is_ours() const {
    return process_ == this_process();
}

InUse::Call::Call(InUse & in_use, Kind kind) : in_use_(in_use) {
    if (!in_use.is_ours()) {
        fail(GA_ERROR_INVALID_ARGUMENT,
             "the engine was opened in the process that this one was forked from; start this "
             "one anew (multiprocessing: \"spawn\") and open it here");
    }
    const std::thread::id me = std::this_thread::get_id();
    if (in_use.thread_.load() == me) {
        if (kind == Changes) {
            fail(GA_ERROR_INVALID_ARGUMENT, "a callback must not change what the call that it is called from works on");
        }
        return;
    }
    std::thread::id nobody;
    is_outer_ = in_use.thread_.compare_exchange_strong(nobody, me);
    if (!is_outer_) {
        fail(GA_ERROR_INVALID_ARGUMENT, "the engine is in use in another thread; use it in one at a time, or open one "
                                        "for each");
    }
}

InUse::Call::~Call() {
    if (is_outer_) {
        in_use_.thread_.store(std::thread::id());
    }
}

} // namespace ga
