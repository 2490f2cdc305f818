// Graph nodes that run a function of ours on the CPU.
//
// A node's work is cut into units that the threads take as they come, so that a thread the system holds up does not hold up
// the others.
#pragma once

#include "ggml.h"

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <vector>

namespace ga {

class WorkNodes {
  public:
    // The nodes' work is described here: the object must live until the graph has run.
    explicit WorkNodes(ggml_context * ctx) : ctx_(ctx) {}

    // A tensor that run(out, first, n) fills, called for every piece of `total` things, about `size` at a time. Inputs may be null.
    ggml_tensor * node(ggml_type type, int64_t ne0, int64_t ne1, int64_t ne2, std::vector<ggml_tensor *> inputs,
                       int64_t total, int64_t size,
                       std::function<void(ggml_tensor * out, int64_t first, int64_t n)> run);

  private:
    struct Node {
        std::function<void(ggml_tensor * out, int64_t first, int64_t n)> run;
        int64_t total = 0;
        int64_t size = 0;
        std::atomic<int64_t> next{0};
    };
    ggml_context * ctx_;
    std::deque<Node> nodes_;
};

// Null for a tensor the model does not have.
inline float * floats(const ggml_tensor * tensor) {
    return tensor ? static_cast<float *>(tensor->data) : nullptr;
}

} // namespace ga
