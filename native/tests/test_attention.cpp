// Attention with a cache, every class that this processor has: against sums in double, among themselves, and cut anywhere.
#include "cpu/attention.h"
#include "cpu/attention_classes.h"
#include "cpu/cpu_class.h"
#include "cpu/cpu_target.h"
#include "random_values.h"
#include "testing.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

namespace {

struct Case {
    ggml_type type;
    int64_t head_dim, n_head, n_head_kv, pos, n, window;

    std::string name() const {
        return ga::format("%s, dim %d, %d heads of %d, %d rows from %d, window %d", ggml_type_name(type), (int)head_dim,
                          (int)n_head, (int)n_head_kv, (int)n, (int)pos, (int)window);
    }
};

// Keys or values of a cache that is longer than what is in it: what lies beyond is no number.
struct Cache {
    std::vector<uint8_t> bytes;
    std::vector<float> known; // [n_head_kv][keys][head_dim], as the type keeps them
    int64_t stride, head_stride;

    explicit Cache(const Case & c) {
        const int64_t keys = c.pos + c.n, room = keys + 40;
        stride = (int64_t)ggml_row_size(c.type, c.head_dim);
        head_stride = room * stride;
        bytes.assign((size_t)(head_stride * c.n_head_kv), 0xff);
        for (int64_t head = 0; head < c.n_head_kv; head++) {
            const std::vector<float> wide = normal((size_t)(keys * c.head_dim));
            uint8_t * to = bytes.data() + head * head_stride;
            ggml_quantize_chunk(c.type, wide.data(), to, 0, keys, c.head_dim, nullptr);
            std::vector<float> back(wide.size());
            const auto to_float = ggml_get_type_traits(c.type)->to_float;
            if (to_float) {
                to_float(to, back.data(), (int64_t)back.size());
            } else {
                std::memcpy(back.data(), to, back.size() * sizeof(float));
            }
            known.insert(known.end(), back.begin(), back.end());
        }
    }
};

ga::CacheAttention args_of(const Case & c, const Cache & k, const Cache & v, const std::vector<float> & q,
                           std::vector<float> & out) {
    ga::CacheAttention args;
    args.q = q.data();
    args.out = out.data();
    args.type = c.type;
    args.k = k.bytes.data();
    args.v = v.bytes.data();
    args.stride = k.stride;
    args.head_stride = k.head_stride;
    args.n_head = c.n_head;
    args.n_head_kv = c.n_head_kv;
    args.head_dim = c.head_dim;
    args.n = c.n;
    args.pos = c.pos;
    args.window = c.window;
    return args;
}

std::vector<double> expected(const Case & c, const Cache & k, const Cache & v, const std::vector<float> & q) {
    std::vector<double> out(q.size(), 0.0);
    const int64_t keys = c.pos + c.n, dim = c.head_dim;
    for (int64_t row = 0; row < c.n; row++) {
        for (int64_t head = 0; head < c.n_head; head++) {
            const int64_t at = (row * c.n_head + head) * dim, of = head / (c.n_head / c.n_head_kv) * keys * dim;
            const int64_t pos = c.pos + row, first = c.window > 0 ? std::max<int64_t>(0, pos - c.window + 1) : 0;
            std::vector<double> logits;
            for (int64_t key = first; key <= pos; key++) {
                double sum = 0;
                for (int64_t d = 0; d < dim; d++) {
                    sum += (double)q[(size_t)(at + d)] * k.known[(size_t)(of + key * dim + d)];
                }
                logits.push_back(sum);
            }
            const double largest = *std::max_element(logits.begin(), logits.end());
            double total = 0;
            for (double & logit : logits) {
                logit = std::exp(logit - largest);
                total += logit;
            }
            for (int64_t key = first; key <= pos; key++) {
                for (int64_t d = 0; d < dim; d++) {
                    out[(size_t)(at + d)] +=
                        logits[(size_t)(key - first)] / total * v.known[(size_t)(of + key * dim + d)];
                }
            }
        }
    }
    return out;
}

void test_case(ga::AttendCache attend, const char * name, const Case & c, std::vector<float> & found) {
    random_source.seed(11); // the same numbers for each class
    const Cache k(c), v(c);
    const std::vector<float> q = normal((size_t)(c.n * c.n_head * c.head_dim), 2.0f / std::sqrt((float)c.head_dim));
    found.assign(q.size() + 1, NAN);
    ga::CacheAttention args = args_of(c, k, v, q, found);
    const int64_t units = ga::attention_units(args);
    for (int64_t unit = units - 1; unit >= 0; unit--) { // in any order
        attend(args, unit, 1);
    }
    CHECK(std::isnan(found.back()), "%s %s: written beyond the end", name, c.name().c_str());
    found.pop_back();
    const std::vector<double> wanted = expected(c, k, v, q);
    double worst = 0;
    for (size_t i = 0; i < found.size(); i++) {
        worst = std::max(worst, std::isfinite(found[i]) ? std::fabs(found[i] - wanted[i])
                                                        : std::numeric_limits<double>::infinity());
    }
    CHECK(worst <= 5e-6, "%s %s: off by %g", name, c.name().c_str(), worst);

    // The last rows alone, from another position: the same bits.
    for (const int64_t n : {int64_t(1), c.n / 2, c.n - 1}) {
        if (n <= 0) {
            continue;
        }
        const int64_t row = c.n_head * c.head_dim;
        std::vector<float> part((size_t)(n * row), NAN);
        ga::CacheAttention some = args;
        some.q = q.data() + (c.n - n) * row;
        some.out = part.data();
        some.n = n;
        some.pos = c.pos + c.n - n;
        attend(some, 0, ga::attention_units(some));
        CHECK(std::memcmp(part.data(), found.data() + (c.n - n) * row, part.size() * sizeof(float)) == 0,
              "%s %s: the last %d rows alone are others", name, c.name().c_str(), (int)n);
    }
}

// A query that is no number gives none; the rows beside it do not change.
void test_what_is_no_number(ga::AttendCache attend, const char * name) {
    const Case c = {GGML_TYPE_F16, 32, 2, 1, 3, 40, 0};
    const Cache k(c), v(c);
    std::vector<float> q = normal((size_t)(c.n * c.n_head * c.head_dim)), clean(q.size()), found(q.size());
    const ga::CacheAttention args = args_of(c, k, v, q, clean);
    attend(args, 0, ga::attention_units(args));
    const int64_t row = c.n_head * c.head_dim, bad = 7;
    for (const float value : {NAN, INFINITY}) {
        q[(size_t)(bad * row + 5)] = value;
        const ga::CacheAttention again = args_of(c, k, v, q, found);
        attend(again, 0, ga::attention_units(again));
        for (int64_t i = 0; i < (int64_t)q.size(); i++) {
            const bool of_it = i / row == bad && i % row < c.head_dim;
            CHECK(of_it ? std::isnan(found[(size_t)i]) : found[(size_t)i] == clean[(size_t)i], "%s: %g became %g", name,
                  value, found[(size_t)i]);
        }
    }
}

const std::vector<Case> cases = {
    {GGML_TYPE_F16, 256, 8, 1, 0, 50, 0}, {GGML_TYPE_F16, 256, 8, 1, 700, 37, 512},
    {GGML_TYPE_F16, 512, 8, 1, 90, 9, 0}, {GGML_TYPE_F16, 256, 8, 2, 33, 70, 40},
    {GGML_TYPE_F16, 16, 3, 3, 5, 150, 7}, {GGML_TYPE_F32, 64, 4, 2, 0, 1, 0},
    {GGML_TYPE_F32, 32, 2, 1, 31, 34, 1}, {GGML_TYPE_Q8_0, 128, 4, 1, 64, 33, 64},
};

} // namespace

int main() {
#if GA_X86
    const struct {
        const char * name;
        bool present;
        ga::AttendCache attend;
    } classes[] = {{"avx2", ga::may_use_avx2(), ga::attend_avx2}, {"avx512", ga::may_use_avx512(), ga::attend_avx512}};
    for (const Case & c : cases) {
        std::vector<float> results[2];
        for (int i = 0; i < 2; i++) {
            if (classes[i].present) {
                test_case(classes[i].attend, classes[i].name, c, results[i]);
            }
        }
        CHECK(!classes[0].present || !classes[1].present || results[0] == results[1], "%s: the classes differ",
              c.name().c_str());
    }
    for (const auto & one : classes) {
        if (one.present) {
            test_what_is_no_number(one.attend, one.name);
        }
        std::printf("%s: %s\n", one.present ? "tested" : "not tested, for want of a processor", one.name);
    }
#endif
    CHECK(!ga::cache_attention(GGML_TYPE_F16, 24) && !ga::cache_attention(GGML_TYPE_F16, 528), "shapes");
    return testing::result();
}
