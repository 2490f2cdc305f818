#include "core/bus_guard.h"

#if !defined(_WIN32)

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <mutex>
#include <new>
#include <sys/mman.h>
#include <unistd.h>

namespace ga {

// Read by a signal handler: a list that only grows, of nodes that are used again and never freed. An end of 0 is a free one.
struct GuardedRange {
    std::atomic<uintptr_t> begin{0};
    std::atomic<uintptr_t> end{0};
    std::atomic<bool> lost{false};
    GuardedRange * next = nullptr;
};

namespace {

static_assert(std::atomic<uintptr_t>::is_always_lock_free, "a signal handler must not wait for a lock");

std::atomic<GuardedRange *> g_ranges{nullptr};
std::mutex g_mutex; // of everything but the handler
uintptr_t g_page = 4096;
struct sigaction g_previous;

// All from the lost page on becomes zeros: where a file was cut, nothing behind the place is left either.
bool replace(uintptr_t address) {
    for (GuardedRange * range = g_ranges.load(); range; range = range->next) {
        const uintptr_t begin = range->begin.load(), end = range->end.load();
        if (address >= begin && address < end) {
            range->lost.store(true);
            const uintptr_t page = address / g_page * g_page;
            return mmap(reinterpret_cast<void *>(page), end - page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                        -1, 0) != MAP_FAILED;
        }
    }
    return false;
}

void on_bus_error(int number, siginfo_t * info, void * context) {
    const int saved = errno;
    const bool is_fault = info->si_code > 0; // not sent by a process
    if (is_fault && replace(reinterpret_cast<uintptr_t>(info->si_addr))) {
        errno = saved;
        return;
    }
    if (g_previous.sa_flags & SA_SIGINFO) {
        g_previous.sa_sigaction(number, info, context);
    } else if (g_previous.sa_handler != SIG_DFL && g_previous.sa_handler != SIG_IGN) {
        g_previous.sa_handler(number);
    } else {
        sigaction(number, &g_previous, nullptr); // a fault happens once more, and ends the process
        if (!is_fault) {
            raise(number);
        }
    }
    errno = saved;
}

// At every opening: others may have put their own handler in this one's place meanwhile (Python's faulthandler).
void install() {
    struct sigaction present;
    if (sigaction(SIGBUS, nullptr, &present) != 0 ||
        ((present.sa_flags & SA_SIGINFO) && present.sa_sigaction == on_bus_error)) {
        return;
    }
    g_page = (uintptr_t)sysconf(_SC_PAGESIZE);
    g_previous = present;
    struct sigaction action = {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, nullptr);
}

} // namespace

GuardedRange * guard_range(void * address, size_t size) {
    const std::lock_guard<std::mutex> lock(g_mutex);
    install();
    GuardedRange * range = g_ranges.load();
    while (range && range->end.load() != 0) {
        range = range->next;
    }
    if (!range) {
        range = new (std::nothrow) GuardedRange;
        if (!range) {
            return nullptr;
        }
        range->next = g_ranges.load();
        g_ranges.store(range);
    }
    const uintptr_t begin = reinterpret_cast<uintptr_t>(address);
    range->lost.store(false);
    range->begin.store(begin);
    range->end.store(begin + (size + g_page - 1) / g_page * g_page);
    return range;
}

void release_range(GuardedRange * range) {
    const std::lock_guard<std::mutex> lock(g_mutex);
    range->end.store(0);
}

bool is_lost(const GuardedRange * range) {
    return range->lost.load();
}

} // namespace ga

#endif
