#include "core/threads.h"

#include "core/error.h"
#include "core/own_process.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <set>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace ga {

#if defined(__linux__)

// Hyper-threads of one core share its vector units and gain nothing in matrix work, so siblings count once.
int default_thread_count() {
    cpu_set_t affinity;
    CPU_ZERO(&affinity);
    if (sched_getaffinity(0, sizeof(affinity), &affinity) != 0) {
        return std::max(1u, std::thread::hardware_concurrency());
    }
    std::set<std::string> cores;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &affinity)) {
            continue;
        }
        std::ifstream file(format("/sys/devices/system/cpu/cpu%d/topology/thread_siblings", cpu));
        std::string siblings;
        if (!(file >> siblings)) {
            siblings = std::to_string(cpu);
        }
        cores.insert(siblings);
    }
    return std::max<int>(1, (int)cores.size());
}

#elif defined(__APPLE__)

int default_thread_count() {
    // Performance cores where the machine has two kinds: waiting for slow cores costs more than they add.
    int n = 0;
    size_t size = sizeof(n);
    if (sysctlbyname("hw.perflevel0.physicalcpu", &n, &size, nullptr, 0) == 0 && n > 0) {
        return n;
    }
    size = sizeof(n);
    if (sysctlbyname("hw.physicalcpu", &n, &size, nullptr, 0) == 0 && n > 0) {
        return n;
    }
    return std::max(1u, std::thread::hardware_concurrency());
}

#else

int default_thread_count() {
    return std::max(1u, std::thread::hardware_concurrency());
}

#endif

namespace {

// Small to a machine, and more than stacks, thread-local data and work buffers take beside what is allocated openly.
constexpr size_t kHeadroom = 32 << 20;

bool has_headroom() {
    void * const room = std::malloc(kHeadroom);
    std::free(room);
    return room != nullptr;
}

// How many of n threads the system gives, all of them alive at once, with room to work.
int threads_given(int n) {
    std::mutex mutex;
    std::condition_variable all_asked;
    bool asked = false;
    std::vector<std::thread> threads;
    threads.reserve((size_t)n);
    try {
        while ((int)threads.size() < n) {
            threads.emplace_back([&] {
                std::unique_lock<std::mutex> lock(mutex);
                all_asked.wait(lock, [&] { return asked; });
            });
        }
    } catch (const std::system_error &) { // what there is, is counted
    }
    const bool room = has_headroom();
    {
        const std::lock_guard<std::mutex> lock(mutex);
        asked = true;
    }
    all_asked.notify_all();
    for (std::thread & thread : threads) {
        thread.join();
    }
    return room ? (int)threads.size() : std::max((int)threads.size() - 1, 0);
}

} // namespace

void require_headroom() {
    if (!has_headroom()) {
        fail(GA_ERROR_OUT_OF_MEMORY, "no memory is left to compute with (limits on memory)");
    }
}

void require_threads(int n) {
    static thread_local int given = 1; // this one
    if (n < 1 || n > kMaxThreads) {
        fail(GA_ERROR_BACKEND, "%d threads: between 1 and %d are possible; one per core is fastest", n, kMaxThreads);
    }
    static std::atomic<int64_t> process{0}; // in which threads were given first
    if (n > 1 && process.load() != 0 && process.load() != this_process()) {
        // GCC's OpenMP would wait for ever for the threads of the old process.
        fail(GA_ERROR_BACKEND, "this process was forked from one in which the engine had computed, and cannot compute "
                               "with several threads; start it anew (multiprocessing: \"spawn\")");
    }
    if (n <= given) {
        return;
    }
    const int found = 1 + threads_given(n - 1);
    if (found < n) {
        fail(GA_ERROR_OUT_OF_MEMORY,
             "the system gives this process %d of %d threads (limits on processes or memory); use fewer with -t", found,
             n);
    }
    given = n;
    process.store(this_process());
}

} // namespace ga
