// The compute devices an engine runs on, and the running of graphs on them.
//
// A Backend is the chosen device plus the CPU (for what the device cannot do). A GraphRunner owns the scheduler and
// compute memory of one kind of graph; it builds a graph in reusable memory, places it, fills inputs and runs it.
#pragma once

#include "core/error.h"

#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "ggml.h"

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace ga {

using CancelCheck = std::function<bool()>;

// Where weights and caches lie, and what multiplies them there.
struct MemoryPlace {
    ggml_backend_dev_t device = nullptr;
    ggml_backend_buffer_type_t default_buft = nullptr;
    // Buffer types to try for a matrix that is only multiplied, best first (repacked CPU layouts before plain ones).
    std::vector<ggml_backend_buffer_type_t> matrix_bufts;
    // True where matrices may be kept in layouts of our own: the CPU, unless told to leave them as they are.
    bool packs = false;
    // True where everything but products runs on the CPU, on its memory: the CPU itself, BLAS, OpenVINO.
    bool is_host = false;
};

class Backend {
  public:
    // device: a ggml device name, or empty for the best GPU and else the CPU. n_threads 0: one per physical core.
    Backend(const std::string & device, int n_threads, bool use_repack, CancelCheck cancel);
    ~Backend();
    Backend(const Backend &) = delete;
    Backend & operator=(const Backend &) = delete;

    ggml_backend_dev_t device() const { return device_; }
    const std::string & device_name() const { return device_name_; }
    bool is_cpu() const { return backends_.size() == 1; }
    // The chosen device, and the CPU beside it (on the CPU: the same).
    const MemoryPlace & device_place() const { return memory_places_[0]; }
    const MemoryPlace & cpu_place() const { return memory_places_[1]; }
    bool is_host() const { return device_place().is_host; }
    // True where the device is given products with weights and nothing else, whatever it says that it supports.
    bool multiplies_only() const { return multiplies_only_; }
    // Free and total bytes of the device's memory; 0 where it does not say.
    void memory(size_t & n_free, size_t & n_total) const;
    int n_threads() const { return n_threads_; }
    // Device first, CPU last.
    std::vector<ggml_backend_t> & backends() { return backends_; }
    ggml_backend_dev_t buft_device(ggml_backend_buffer_type_t buft) const;
    // True where a mul_mat of a matrix of this type and shape, kept in this buffer type, runs on the buffer's device.
    bool can_multiply(ggml_backend_buffer_type_t buft, ggml_type type, int64_t n_in, int64_t n_out) const;
    bool cancelled() const { return cancel_ && cancel_(); }

  private:
    ggml_backend_dev_t device_ = nullptr;
    std::string device_name_;
    int n_threads_ = 1;
    std::vector<ggml_backend_t> backends_;
    MemoryPlace memory_places_[2];
    bool multiplies_only_ = false;
    CancelCheck cancel_;
};

// True for the name of an extra CPU buffer type that weights may be kept in.
bool is_trusted_layout(const std::string & name);

// Builds and runs graphs. Use: begin() -> build with ctx() and input() -> output() -> compute() -> read().
class GraphRunner {
  public:
    GraphRunner(Backend & backend, size_t max_nodes);
    ~GraphRunner();
    GraphRunner(const GraphRunner &) = delete;
    GraphRunner & operator=(const GraphRunner &) = delete;

    // Forgets the last graph; tensors made with the returned context are valid until the next begin().
    ggml_context * begin();
    // Keeps the last graph, which was computed, for other data: the calls of input() that follow return its inputs, in the order
    // in which they were made, and must give each the type and size that it has.
    void begin_again();
    ggml_context * ctx() const { return ctx_; }
    ggml_cgraph * graph() const { return graph_; }

    // A graph input. The runner keeps the data (at least the tensor's bytes) and copies it in at compute().
    ggml_tensor * input(ggml_type type, int64_t ne0, int64_t ne1, int64_t ne2, int64_t ne3, std::vector<uint8_t> data,
                        const char * name);
    template <typename T>
    ggml_tensor * input(ggml_type type, const std::vector<T> & values, int64_t ne0, int64_t ne1, int64_t ne2,
                        int64_t ne3, const char * name) {
        const uint8_t * bytes = reinterpret_cast<const uint8_t *>(values.data());
        return input(type, ne0, ne1, ne2, ne3, std::vector<uint8_t>(bytes, bytes + values.size() * sizeof(T)), name);
    }
    // As above, but the caller keeps the data alive and unchanged until compute() returns.
    ggml_tensor * input_view(ggml_type type, int64_t ne0, int64_t ne1, int64_t ne2, int64_t ne3, const void * data,
                             const char * name);

    // weight · x, on the weight's side, accumulated in at least this precision.
    ggml_tensor * multiply(ggml_tensor * weight, ggml_tensor * x, ggml_prec precision = GGML_PREC_DEFAULT);

    // Adds a node that must be computed (a result to read, or a copy into a state or cache).
    void output(ggml_tensor * tensor, bool read_later);

    // Places the graph, copies the inputs and runs it. Throws GA_ERROR_CANCELLED, _OUT_OF_MEMORY or _BACKEND.
    void compute();
    // Copies a computed tensor's data (contiguous) to the host.
    void read(const ggml_tensor * tensor, void * out, size_t offset, size_t n_bytes) const;

  private:
    // All nodes but those of multiply() on the CPU.
    void place_products();
    ggml_tensor * next_input(ggml_type type, int64_t ne0, int64_t ne1, int64_t ne2, int64_t ne3, const char * name);

    struct Input {
        ggml_tensor * tensor;
        std::vector<uint8_t> owned;
        const void * data;
    };
    Backend & backend_;
    size_t max_nodes_;
    std::vector<uint8_t> memory_;
    ggml_context * ctx_ = nullptr;
    ggml_cgraph * graph_ = nullptr;
    ggml_backend_sched_t sched_ = nullptr;
    std::vector<Input> inputs_;
    size_t n_given_ = 0;                         // of inputs_, for this computation
    bool again_ = false;                         // the graph has its place already
    std::set<const ggml_tensor *> device_nodes_; // where multiplies_only()
};

// Tensors that live longer than a graph: K/V caches and carried encoder states. Allocated together on one side.
class DeviceTensors {
  public:
    DeviceTensors(const MemoryPlace & place, size_t max_tensors);
    ~DeviceTensors();
    DeviceTensors(const DeviceTensors &) = delete;
    DeviceTensors & operator=(const DeviceTensors &) = delete;

    ggml_tensor * add(ggml_type type, int64_t ne0, int64_t ne1, int64_t ne2, int64_t ne3, const char * name);
    void allocate(bool zeroed = true); // throws GA_ERROR_OUT_OF_MEMORY
    void clear();                      // zeroes again
    size_t n_bytes() const;

  private:
    const MemoryPlace & place_;
    ggml_context * ctx_ = nullptr;
    ggml_backend_buffer_t buffer_ = nullptr;
};

} // namespace ga
