// libFuzzer's entry; see model_files.h. Run by scripts/fuzz/run.
#include "model_files.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t * data, size_t size) {
    fuzz::run_model(data, size);
    return 0;
}
