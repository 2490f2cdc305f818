// Speed of products with quantised matrices, ours beside ggml's, and of plain reads. One line of JSON for each figure.
//
//     bench_products THREADS SECONDS TYPE...
//
// Matrices of E2B's shape [1536, 2048], as many as exceed the caches (kLeastBytes), in turn. Runs are short: on a busy machine
// a short one may find both cores.
// The ways run in turn, and each figure is the best of its runs: what others use of the machine only ever takes time.
#include "core/backend.h"
#include "cpu/quant_layout.h"
#include "cpu/quant_ops.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr int64_t kInputs = 1536, kOutputs = 2048;
constexpr size_t kLeastBytes = 192 << 20;
constexpr int64_t kRows[] = {1, 4, 16, 750};

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void silent(ggml_log_level, const char *, void *) {}

// ---- plain reads -----------------------------------------------------------------------------------------------------

// Sums of 8 bytes at a time, in four places.
uint64_t read_all(const uint64_t * data, size_t n) {
    uint64_t sums[32] = {};
    for (size_t i = 0; i + 32 <= n; i += 32) {
        for (size_t j = 0; j < 32; j++) {
            sums[j] += data[i + j];
        }
    }
    uint64_t sum = 0;
    for (const uint64_t one : sums) {
        sum += one;
    }
    return sum;
}

// Bytes a second of a piece of memory.
double read_speed(int n_threads, const std::vector<uint64_t> & data, size_t first, size_t n) {
    std::vector<std::thread> threads;
    std::vector<uint64_t> sums((size_t)n_threads);
    const double start = now();
    const size_t share = n / (size_t)n_threads;
    for (size_t i = 0; i < (size_t)n_threads; i++) {
        threads.emplace_back([&, i] { sums[i] = read_all(data.data() + first + i * share, share); });
    }
    for (std::thread & thread : threads) {
        thread.join();
    }
    const double seconds = now() - start;
    if (std::count(sums.begin(), sums.end(), 1u)) {
        std::fprintf(stderr, " "); // so that the sums are needed
    }
    return (double)(n * sizeof(uint64_t)) / seconds;
}

// ---- products ----------------------------------------------------------------------------------------------------------

// The same matrix again and again, in memory of its own.
class Matrices {
  public:
    Matrices(ggml_backend_buffer_type_t buft, ggml_type type, const std::vector<uint8_t> & file, bool ours) {
        const size_t count = kLeastBytes / file.size() + 1;
        ctx_ = ggml_init({ggml_tensor_overhead() * count, nullptr, /*no_alloc =*/true});
        for (size_t i = 0; i < count; i++) {
            all.push_back(ggml_new_tensor_2d(ctx_, type, kInputs, kOutputs));
        }
        buffer_ = ggml_backend_alloc_ctx_tensors_from_buft(ctx_, buft);
        ggml_backend_buffer_set_usage(buffer_, GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
        for (ggml_tensor * tensor : all) {
            if (ours) {
                ga::pack_quants(type, file.data(), kInputs, kOutputs, 0, kOutputs / ga::kQuantOutputs, tensor->data);
                ga::mark_for_quant_ops(tensor);
            } else {
                ggml_backend_tensor_set(tensor, file.data(), 0, file.size());
            }
        }
    }
    ~Matrices() {
        ggml_backend_buffer_free(buffer_);
        ggml_free(ctx_);
    }
    Matrices(const Matrices &) = delete;
    Matrices & operator=(const Matrices &) = delete;

    std::vector<ggml_tensor *> all;

  private:
    ggml_context * ctx_;
    ggml_backend_buffer_t buffer_;
};

// Seconds for a product of each of n matrices from `first` on, around the end.
double run(ga::GraphRunner & runner, const Matrices & matrices, size_t first, size_t n, int64_t n_rows) {
    std::vector<float> x((size_t)(kInputs * n_rows));
    std::mt19937 random(3);
    for (float & value : x) {
        value = (float)(random() % 2001) / 1000.0f - 1.0f;
    }
    ggml_context * ctx = runner.begin();
    ga::WorkNodes nodes(ctx);
    ga::QuantOps ops(nodes);
    ggml_tensor * input = runner.input(GGML_TYPE_F32, x, kInputs, n_rows, 1, 1, "x");
    for (size_t i = 0; i < n; i++) {
        ggml_tensor * weight = matrices.all[(first + i) % matrices.all.size()];
        runner.output(ga::for_quant_ops(weight) ? ops.multiply(weight, input) : ggml_mul_mat(ctx, weight, input),
                      false);
    }
    const double start = now();
    runner.compute();
    return now() - start;
}

void bench(ga::Backend & backend, ggml_type type, double seconds) {
    std::vector<float> weights((size_t)(kInputs * 64));
    std::mt19937 random(2);
    for (float & value : weights) {
        value = (float)(random() % 2001) / 1000.0f - 1.0f;
    }
    const size_t part = ggml_row_size(type, kInputs) * 64;
    std::vector<uint8_t> file(part * kOutputs / 64);
    ggml_quantize_chunk(type, weights.data(), file.data(), 0, 64, kInputs, nullptr);
    for (size_t at = part; at < file.size(); at += part) {
        std::copy_n(file.begin(), part, file.begin() + (std::ptrdiff_t)at);
    }
    std::map<std::string, std::unique_ptr<Matrices>> ways;
    const auto & bufts = backend.device_place().matrix_bufts;
    const auto fits = [&](ggml_backend_buffer_type_t b) { return backend.can_multiply(b, type, kInputs, kOutputs); };
    const auto theirs = std::find_if(bufts.begin(), bufts.end(), fits);
    ways["ggml"] = std::make_unique<Matrices>(*theirs, type, file, false);
    if (ga::quant_products().takes(type, kInputs, kOutputs)) {
        ways["ours"] = std::make_unique<Matrices>(ggml_backend_cpu_buffer_type(), type, file, true);
    }
    ga::GraphRunner runner(backend, 4096);
    for (const int64_t n_rows : kRows) {
        const size_t n = n_rows > 16 ? 1 : 16;
        size_t first = 0;
        std::map<std::string, std::vector<double>> times;
        const double end = now() + seconds;
        do {
            for (const auto & [way, matrices] : ways) {
                times[way].push_back(run(runner, *matrices, first, n, n_rows));
            }
            first += n;
        } while (now() < end);
        for (const auto & [way, found] : times) {
            const double took = *std::min_element(found.begin(), found.end()) / (double)n;
            std::printf(
                "{\"type\": \"%s\", \"way\": \"%s\", \"rows\": %d, \"threads\": %d, \"gb_s\": %.6g, \"gf_s\": %.6g}\n",
                ggml_type_name(type), way.c_str(), (int)n_rows, backend.n_threads(), (double)file.size() / took / 1e9,
                2.0 * (double)(kInputs * kOutputs * n_rows) / took / 1e9);
            std::fflush(stdout);
        }
    }
}

} // namespace

int main(int argc, char ** argv) {
    if (argc < 4) {
        std::fprintf(stderr, "usage: %s THREADS SECONDS TYPE...\n", argv[0]);
        return 2;
    }
    ggml_log_set(silent, nullptr);
    const int n_threads = std::atoi(argv[1]);
    const double seconds = std::atof(argv[2]);
    std::printf("{\"products\": \"%s\"}\n", ga::quant_products().description().c_str());
    {
        std::vector<uint64_t> data(kLeastBytes / sizeof(uint64_t), 3);
        std::vector<double> speeds;
        const size_t piece = data.size() / 8;
        for (size_t i = 0; i < 200; i++) {
            speeds.push_back(read_speed(n_threads, data, i % 8 * piece, piece));
        }
        std::printf("{\"way\": \"read\", \"threads\": %d, \"gb_s\": %.3f}\n", n_threads,
                    *std::max_element(speeds.begin(), speeds.end()) / 1e9);
    }
    ga::Backend backend("CPU", n_threads, true, nullptr);
    for (int i = 3; i < argc; i++) {
        int type = 0;
        while (type < GGML_TYPE_COUNT &&
               std::string(argv[i]) != (ggml_type_name((ggml_type)type) ? ggml_type_name((ggml_type)type) : "")) {
            type++;
        }
        if (type == GGML_TYPE_COUNT) {
            std::fprintf(stderr, "no weight type %s\n", argv[i]);
            return 2;
        }
        bench(backend, (ggml_type)type, seconds);
    }
    return 0;
}
