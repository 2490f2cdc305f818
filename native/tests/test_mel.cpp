// The mel frontend: any slicing is bit-identical, frame counts, and the definition computed by plain sums.
#include "audio/mel.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <complex>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

namespace {

int failures = 0;

#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            failures++;                                                                                                \
            std::printf("%s:%d: %s: ", __FILE__, __LINE__, #condition);                                                \
            std::printf(__VA_ARGS__);                                                                                  \
            std::printf("\n");                                                                                         \
        }                                                                                                              \
    } while (0)

constexpr double kPi = 3.14159265358979323846;

std::vector<float> noise_and_tone(size_t n, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> noise(0.0f, 0.05f);
    std::vector<float> samples(n);
    for (size_t i = 0; i < n; i++) {
        const double t = static_cast<double>(i) / 16000.0;
        samples[i] = noise(random) + static_cast<float>(0.6 * std::sin(2.0 * kPi * (300.0 + 900.0 * t) * t));
    }
    return samples;
}

std::vector<float> whole(const std::vector<float> & samples) {
    ga::Mel mel;
    mel.push(samples.data(), samples.size());
    std::vector<float> frames(mel.n_ready() * ga::Mel::n_bins);
    CHECK(mel.pop(frames.data(), mel.n_ready() + 1) * ga::Mel::n_bins == frames.size(), "pop gives what n_ready says");
    return frames;
}

// One frame by its definition: a discrete Fourier sum for each bin, a full filter matrix.
std::vector<double> frame_by_definition(const std::vector<float> & samples, size_t frame) {
    std::vector<double> magnitude(257);
    for (int k = 0; k <= 256; k++) {
        std::complex<double> sum = 0.0;
        for (int i = 0; i < 320; i++) {
            const long long at = static_cast<long long>(frame) * 160 - 160 + i;
            const double sample = at < 0 ? 0.0 : samples[static_cast<size_t>(at)];
            sum += sample * (0.5 - 0.5 * std::cos(2.0 * kPi * i / 320.0)) * std::polar(1.0, -2.0 * kPi * k * i / 512.0);
        }
        magnitude[static_cast<size_t>(k)] = std::abs(sum);
    }
    const double top = 2595.0 * std::log10(1.0 + 8000.0 / 700.0);
    const auto edge = [&](int m) { return 700.0 * (std::pow(10.0, top * m / 129.0 / 2595.0) - 1.0); };
    std::vector<double> values(128);
    for (int m = 0; m < 128; m++) {
        double sum = 0.0;
        for (int k = 0; k <= 256; k++) {
            const double hz = 31.25 * k;
            const double up = (hz - edge(m)) / (edge(m + 1) - edge(m));
            const double down = (edge(m + 2) - hz) / (edge(m + 2) - edge(m + 1));
            sum += std::max(0.0, std::min(up, down)) * magnitude[static_cast<size_t>(k)];
        }
        values[static_cast<size_t>(m)] = std::log(sum + 0.001);
    }
    return values;
}

void test_definition() {
    const std::vector<float> samples = noise_and_tone(6000, 1);
    const std::vector<float> frames = whole(samples);
    double worst = 0.0;
    for (const size_t frame : {0u, 1u, 2u, 17u, 36u}) {
        const std::vector<double> expected = frame_by_definition(samples, frame);
        for (size_t m = 0; m < 128; m++) {
            worst = std::max(worst, std::fabs(expected[m] - frames[frame * 128 + m]));
        }
    }
    CHECK(worst < 1e-5, "largest difference %g", worst);
    const std::vector<float> silence = whole(std::vector<float>(2000, 0.0f));
    CHECK(std::all_of(silence.begin(), silence.end(), [](float v) { return v == std::log(0.001f); }),
          "silence is the floor");
}

void test_counts() {
    const size_t cases[][2] = {{0, 0},   {1, 0},   {160, 0}, {161, 1},    {320, 1},
                               {321, 2}, {480, 2}, {481, 3}, {16000, 99}, {480000, 2999}};
    for (const auto & [n_samples, n_frames] : cases) {
        CHECK(ga::Mel::n_frames(n_samples) == n_frames, "%zu samples: %zu frames", n_samples,
              ga::Mel::n_frames(n_samples));
        CHECK(whole(noise_and_tone(n_samples, 2)).size() == n_frames * 128, "%zu samples", n_samples);
    }
}

void test_slicing() {
    std::mt19937 random(3);
    const std::vector<float> samples = noise_and_tone(20011, 4);
    const std::vector<float> expected = whole(samples);
    for (int trial = 0; trial < 40; trial++) {
        std::vector<float> frames;
        ga::Mel mel;
        const size_t largest = trial < 10 ? 1 + static_cast<size_t>(trial) * 40 : 3000;
        for (size_t at = 0; at < samples.size();) {
            const size_t n = std::min<size_t>(random() % (largest + 1), samples.size() - at);
            mel.push(samples.data() + at, n);
            at += n;
            if (random() % 3 > 0) {
                std::vector<float> popped((random() % 20) * 128);
                popped.resize(mel.pop(popped.data(), popped.size() / 128) * 128);
                frames.insert(frames.end(), popped.begin(), popped.end());
            }
        }
        std::vector<float> rest(mel.n_ready() * 128);
        mel.pop(rest.data(), rest.size() / 128);
        frames.insert(frames.end(), rest.begin(), rest.end());
        CHECK(frames.size() == expected.size() &&
                  std::memcmp(frames.data(), expected.data(), frames.size() * sizeof(float)) == 0,
              "trial %d differs from the whole", trial);
    }
}

void show_speed() {
    const std::vector<float> samples = noise_and_tone(480000, 5);
    const auto start = std::chrono::steady_clock::now();
    whole(samples);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    std::printf("30 s of sound: %.3f s\n", seconds);
}

} // namespace

int main() {
    test_definition();
    test_counts();
    test_slicing();
    show_speed();
    std::printf("%d checks failed\n", failures);
    return failures ? 1 : 0;
}
