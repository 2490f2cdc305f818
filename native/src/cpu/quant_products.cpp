#include "cpu/quant_products.h"

#include "cpu/cpu_class.h"
#include "cpu/quant_layout.h"
#include "cpu/quant_proof.h"

#include <algorithm>

namespace ga {

namespace {

constexpr const char *kNone = "ggml", *kPortable = "portable";

} // namespace

QuantProducts::QuantProducts(const std::vector<const QuantClass *> & classes, const std::string & cap)
    : quantise_(quant_portable().quantise) {
    const auto named = [&](const QuantClass * c) { return cap == c->name; };
    auto from = cap.empty() ? classes.begin() : std::find_if(classes.begin(), classes.end(), named);
    if (cap == kNone) {
        describe();
        return;
    }
    if (from == classes.end()) {
        left_out_.push_back(std::string(kCpuClassVariable) + " is " + cap + ", which is no class of processors");
        from = classes.begin();
    }
    // A lower class first: what a higher one lacks or does wrong is left as it is.
    for (auto one = classes.end(); one != from;) {
        const QuantClass & candidate = **--one;
        if (candidate.present && (cap == kPortable || candidate.name != std::string(kPortable))) {
            choose(candidate);
        }
    }
    describe();
}

void QuantProducts::choose(const QuantClass & candidate) {
    const auto leave_out = [&](const std::string & what, const std::string & reason) {
        left_out_.push_back(std::string(candidate.name) + " " + what + " " + reason);
    };
    if (candidate.quantise) {
        const std::string wrong = disproof(candidate.quantise);
        if (wrong.empty()) {
            quantise_ = candidate.quantise;
        } else {
            leave_out("rounding", wrong);
        }
    }
    for (const QuantKernel & kernel : candidate.kernels) {
        const std::string wrong = disproof(kernel);
        if (!wrong.empty()) {
            leave_out(ggml_type_name(kernel.type), wrong);
            continue;
        }
        const auto same = [&](const Choice & c) { return c.kernel.type == kernel.type; };
        choices_.erase(std::remove_if(choices_.begin(), choices_.end(), same), choices_.end());
        choices_.push_back({kernel, candidate.name});
    }
}

const QuantKernel * QuantProducts::find(ggml_type type) const {
    for (const Choice & choice : choices_) {
        if (choice.kernel.type == type) {
            return &choice.kernel;
        }
    }
    return nullptr;
}

bool QuantProducts::takes(ggml_type type, int64_t n_in, int64_t n_out) const {
    return find(type) && fits_quant_layout(type, n_in, n_out);
}

void QuantProducts::describe() {
    std::string last;
    for (const Choice & choice : choices_) {
        if (last != choice.class_name) {
            description_ += (last.empty() ? "" : "; ") + std::string(choice.class_name) + ":";
            last = choice.class_name;
        }
        description_ += std::string(" ") + ggml_type_name(choice.kernel.type);
    }
    if (choices_.empty()) {
        description_ = kNone;
    }
    for (const std::string & reason : left_out_) {
        description_ += "; left out: " + reason;
    }
}

const QuantProducts & quant_products() {
    static const QuantProducts products({&quant_avx512(), &quant_avxvnni(), &quant_avx2(), &quant_portable()},
                                        cpu_class_cap());
    return products;
}

} // namespace ga
