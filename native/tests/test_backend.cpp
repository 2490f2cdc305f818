// Where weights may lie: only in layouts that are known to compute right.
#include "core/backend.h"
#include "testing.h"

static void untrusted_layouts_are_left_out() {
    CHECK(ga::is_trusted_layout("CPU_REPACK"), "ggml's repacked layouts are used");
    for (const char * name : {"AMX", "CPU_HBM", "CPU_KLEIDIAI", "CPU_REPACK2", ""}) {
        CHECK(!ga::is_trusted_layout(name), "%s is not on the list", name);
    }
}

static void the_cpu_offers_trusted_layouts_only() {
    ga::Backend backend("CPU", 1, /*use_repack =*/true, nullptr);
    const auto & bufts = backend.device_place().matrix_bufts;
    CHECK(!bufts.empty() && bufts.back() == backend.device_place().default_buft, "the plain layout is the last resort");
    for (size_t i = 0; i + 1 < bufts.size(); i++) {
        CHECK(ga::is_trusted_layout(ggml_backend_buft_name(bufts[i])), "%s", ggml_backend_buft_name(bufts[i]));
    }
}

int main() {
    untrusted_layouts_are_left_out();
    the_cpu_offers_trusted_layouts_only();
    return testing::result();
}
