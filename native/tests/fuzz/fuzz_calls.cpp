// libFuzzer's entry; see calls.h. Run by scripts/fuzz/run.
#include "calls.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t * data, size_t size) {
    fuzz::run_calls(data, size);
    return 0;
}
