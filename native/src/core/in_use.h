// One thread at a time, in the process that opened it: a second thread and a forked process get an error, not a race or a hang.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

namespace ga {

class InUse {
  public:
    InUse();

    // A call on what this guards, for as long as the object lives. A callback may make further calls on the same thread, but
    // none that changes what the outer call works on. Throws GA_ERROR_INVALID_ARGUMENT.
    class Call {
      public:
        enum Kind { Reads, Changes };
        Call(InUse & in_use, Kind kind);
        ~Call();
        Call(const Call &) = delete;
        Call & operator=(const Call &) = delete;

      private:
        InUse & in_use_;
        bool is_outer_ = false;
    };

    // Is this the process that made it?
    bool is_ours() const;
    // Is no call going on, in any thread?
    bool is_idle() const { return thread_.load() == std::thread::id(); }

  private:
    std::atomic<std::thread::id> thread_{std::thread::id()}; // the one inside; none
    int64_t process_;
};

} // namespace ga
