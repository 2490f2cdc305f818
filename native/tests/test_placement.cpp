// How many layers a device holds: never more than fit, never fewer than would.
#include "core/placement.h"
#include "testing.h"

#include <numeric>
#include <random>

using ga::layers_that_fit;
using ga::LayerSizes;

static uint64_t size_of(const LayerSizes & sizes, int n) {
    const int n_layers = (int)sizes.layers.size();
    return std::accumulate(sizes.layers.begin(), sizes.layers.begin() + std::min(n, n_layers), sizes.shared) +
           (n > n_layers ? sizes.output : 0);
}

static void every_amount_of_memory() {
    std::mt19937 random(1);
    for (int round = 0; round < 50; round++) {
        LayerSizes sizes;
        sizes.shared = random() % 50;
        sizes.layers.resize(1 + random() % 9);
        for (uint64_t & size : sizes.layers) {
            size = 1 + random() % 100;
        }
        sizes.output = 1 + random() % 100;
        const int all = (int)sizes.layers.size() + 1;
        for (uint64_t n_bytes = 0; n_bytes <= size_of(sizes, all) + 1; n_bytes++) {
            const int n = layers_that_fit(sizes, n_bytes);
            CHECK(n >= 0 && n <= all, "%d layers of %d", n, all);
            CHECK(n == 0 || size_of(sizes, n) <= n_bytes, "%d layers do not fit", n);
            CHECK(n == all || size_of(sizes, n + 1) > n_bytes, "one more than %d fits", n);
        }
    }
}

static void the_largest_numbers() {
    LayerSizes sizes;
    sizes.layers.assign(48, 200u << 20);
    sizes.output = 1u << 30;
    CHECK(layers_that_fit(sizes, UINT64_MAX) == 49, "all of them fit");
}

int main() {
    every_amount_of_memory();
    the_largest_numbers();
    return testing::result();
}
