#include "core/graph_nodes.h"

#include <algorithm>

namespace ga {

ggml_tensor * WorkNodes::node(ggml_type type, int64_t ne0, int64_t ne1, int64_t ne2, std::vector<ggml_tensor *> inputs,
                              int64_t total, int64_t size,
                              std::function<void(ggml_tensor * out, int64_t first, int64_t n)> run) {
    inputs.erase(std::remove(inputs.begin(), inputs.end(), nullptr), inputs.end());
    Node & node = nodes_.emplace_back();
    node.run = std::move(run);
    node.total = total;
    node.size = size;
    const auto take_units = [](ggml_tensor * out, int, int, void * data) {
        Node & mine = *static_cast<Node *>(data);
        for (int64_t first = mine.next.fetch_add(mine.size); first < mine.total;
             first = mine.next.fetch_add(mine.size)) {
            mine.run(out, first, std::min(mine.size, mine.total - first));
        }
    };
    return ggml_custom_4d(ctx_, type, ne0, ne1, ne2, 1, inputs.data(), static_cast<int>(inputs.size()), take_units,
                          GGML_N_TASKS_MAX, &node);
}

} // namespace ga
