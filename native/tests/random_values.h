// Random numbers that are the same in every run.
#pragma once

#include <cstddef>
#include <random>
#include <vector>

inline std::mt19937 random_source(7);

inline std::vector<float> normal(size_t n, float scale = 1.0f) {
    std::normal_distribution<float> distribution(0.0f, scale);
    std::vector<float> values(n);
    for (float & value : values) {
        value = distribution(random_source);
    }
    return values;
}
