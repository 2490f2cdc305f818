// What the fuzzers began with and what they found, run once more without them. See tests/fuzz/.
#include "fuzz/calls.h"
#include "fuzz/model_files.h"
#include "testing.h"

#include <filesystem>

namespace {

void replay(const char * folder, void (*run)(const uint8_t *, size_t)) {
    size_t n = 0;
    for (const auto & entry : std::filesystem::directory_iterator(folder)) {
        std::ifstream in(entry.path(), std::ios::binary);
        const std::vector<char> bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
        std::printf("%s\n", entry.path().string().c_str());
        std::fflush(stdout); // the last line tells which one ended the process
        run(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size());
        n++;
    }
    CHECK(n > 0, "no seeds in %s", folder);
}

} // namespace

int main() {
    replay("tests/fuzz/model", fuzz::run_model);
    replay("tests/fuzz/calls", fuzz::run_calls);
    return testing::result();
}
