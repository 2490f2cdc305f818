#include "core/backend.h"

#include "core/crash.h"
#include "core/plugins.h"
#include "core/threads.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <set>

namespace ga {

// ---- backend -----------------------------------------------------------------------------------------

namespace {

template <typename Function> Function proc(ggml_backend_dev_t device, const char * name) {
    ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(device);
    return reinterpret_cast<Function>(ggml_backend_reg_get_proc_address(reg, name));
}

ggml_backend_dev_t find_device(const std::string & name) {
    if (!name.empty()) {
        for (size_t i = 0; i < ggml_backend_dev_count(); i++) {
            if (name == ggml_backend_dev_name(ggml_backend_dev_get(i))) {
                return ggml_backend_dev_get(i);
            }
        }
        std::string known;
        for (size_t i = 0; i < ggml_backend_dev_count(); i++) {
            known += (i ? ", " : "") + std::string(ggml_backend_dev_name(ggml_backend_dev_get(i)));
        }
        fail(GA_ERROR_BACKEND, "no device %s; this build has: %s", name.c_str(), known.c_str());
    }
    for (const enum ggml_backend_dev_type type :
         {GGML_BACKEND_DEVICE_TYPE_GPU, GGML_BACKEND_DEVICE_TYPE_IGPU, GGML_BACKEND_DEVICE_TYPE_CPU}) {
        if (ggml_backend_dev_t device = ggml_backend_dev_by_type(type)) {
            return device;
        }
    }
    fail(GA_ERROR_BACKEND, "ggml reports no device at all, not even the CPU: the installation is damaged");
}

// CPU layouts that are known to compute right wherever ggml offers them. What is not on this list is never used, however
// ggml praises it: its AMX layout ends the process with SIGSEGV where GCC 12 compiled it (llama.cpp #20824).
constexpr const char * kTrustedLayouts[] = {"CPU_REPACK"};

// ggml's OpenVINO backend translates whole graphs of libllama's making, and fails on others; single products it takes.
bool is_fit_for_products_only(ggml_backend_dev_t device) {
    return std::string(ggml_backend_reg_name(ggml_backend_dev_backend_reg(device))) == "OPENVINO";
}

} // namespace

bool is_trusted_layout(const std::string & name) {
    return std::any_of(std::begin(kTrustedLayouts), std::end(kTrustedLayouts),
                       [&](const char * trusted) { return name == trusted; });
}

namespace {

bool abort_callback(void * data) {
    return static_cast<const Backend *>(data)->cancelled();
}

} // namespace

Backend::Backend(const std::string & device, int n_threads, bool use_repack, CancelCheck cancel) {
    catch_crashes_once();
    load_plugins_once();
    if (cancel) {
        // Asked before every node of a graph; the caller's check may be slow (Python), so at most 50 times a second.
        cancel_ = [cancel, last = std::chrono::steady_clock::time_point(), said = false]() mutable {
            const auto now = std::chrono::steady_clock::now();
            if (now - last > std::chrono::milliseconds(20)) {
                last = now;
                said = cancel();
            }
            return said;
        };
    }
    device_ = find_device(device);
    device_name_ = ggml_backend_dev_name(device_);
    n_threads_ = n_threads != 0 ? n_threads : std::min(default_thread_count(), kMaxThreads);
    require_threads(n_threads_);

    ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    if (!cpu) {
        fail(GA_ERROR_BACKEND, "ggml has no CPU device: the installation is damaged");
    }
    std::vector<ggml_backend_dev_t> devices = {device_};
    if (device_ != cpu) {
        devices.push_back(cpu);
    }
    for (ggml_backend_dev_t dev : devices) {
        ggml_backend_t backend = ggml_backend_dev_init(dev, nullptr);
        if (!backend) {
            for (ggml_backend_t other : backends_) {
                ggml_backend_free(other);
            }
            fail(GA_ERROR_BACKEND, "the device %s cannot be started", ggml_backend_dev_name(dev));
        }
        backends_.push_back(backend);
    }
    if (auto set_n_threads = proc<ggml_backend_set_n_threads_t>(cpu, "ggml_backend_set_n_threads")) {
        set_n_threads(backends_.back(), n_threads_);
    }
    if (cancel_) {
        if (auto set_abort = proc<ggml_backend_set_abort_callback_t>(cpu, "ggml_backend_set_abort_callback")) {
            set_abort(backends_.back(), abort_callback, this);
        }
    }

    MemoryPlace & own = memory_places_[0];
    MemoryPlace & host = memory_places_[1];
    own.device = device_;
    multiplies_only_ = is_fit_for_products_only(device_);
    ggml_backend_buffer_type_t device_buft = ggml_backend_dev_buffer_type(device_);
    own.default_buft = multiplies_only_ ? ggml_backend_dev_buffer_type(cpu) : device_buft;
    own.packs = device_ == cpu && use_repack;
    own.is_host = device_ == cpu || multiplies_only_ ||
                  (ggml_backend_dev_type(device_) == GGML_BACKEND_DEVICE_TYPE_ACCEL &&
                   own.default_buft == ggml_backend_cpu_buffer_type());
    if (own.packs) {
        if (auto extra = proc<ggml_backend_dev_get_extra_bufts_t>(cpu, "ggml_backend_dev_get_extra_bufts")) {
            for (ggml_backend_buffer_type_t * buft = extra(cpu); buft && *buft; buft++) {
                if (is_trusted_layout(ggml_backend_buft_name(*buft))) {
                    own.matrix_bufts.push_back(*buft);
                }
            }
        }
    }
    own.matrix_bufts.push_back(device_buft);
    if (device_ == cpu) {
        host = own;
        return;
    }
    host.device = cpu;
    host.default_buft = ggml_backend_dev_buffer_type(cpu);
    host.is_host = true;
    // Plain layouts: ggml has the device multiply them too where there are many rows, and copies them to it for that.
    host.matrix_bufts = {host.default_buft};
    own.matrix_bufts.push_back(host.default_buft); // types the device cannot multiply stay on the CPU
}

Backend::~Backend() {
    for (ggml_backend_t backend : backends_) {
        ggml_backend_free(backend);
    }
}

void Backend::memory(size_t & n_free, size_t & n_total) const {
    n_free = n_total = 0;
    ggml_backend_dev_memory(device_, &n_free, &n_total);
}

ggml_backend_dev_t Backend::buft_device(ggml_backend_buffer_type_t buft) const {
    ggml_backend_dev_t device = ggml_backend_buft_get_device(buft);
    return device ? device : ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
}

bool Backend::can_multiply(ggml_backend_buffer_type_t buft, ggml_type type, int64_t n_in, int64_t n_out) const {
    if (n_in % ggml_blck_size(type) != 0) {
        return false;
    }
    ggml_init_params params = {ggml_tensor_overhead() * 4, nullptr, /*no_alloc =*/true};
    std::unique_ptr<ggml_context, decltype(&ggml_free)> ctx(ggml_init(params), ggml_free);
    ggml_tensor * weight = ggml_new_tensor_2d(ctx.get(), type, n_in, n_out);
    ggml_tensor * rows = ggml_new_tensor_2d(ctx.get(), GGML_TYPE_F32, n_in, 512);
    ggml_tensor * op = ggml_mul_mat(ctx.get(), weight, rows);
    // Whether a buffer type takes part is asked through the weight's buffer: give it an empty one of that type.
    weight->buffer = ggml_backend_buft_alloc_buffer(buft, 0);
    const bool supported = ggml_backend_dev_supports_op(buft_device(buft), op);
    ggml_backend_buffer_free(weight->buffer);
    weight->buffer = nullptr;
    return supported;
}

// ---- graphs ------------------------------------------------------------------------------------------

// Bytes that ggml's scheduler takes for each node a graph may have: a description and four numbers for each of 30 inputs and
// their copies, and its tables. It does not look whether it got them.
static constexpr size_t kSchedulerBytes = 2 * 30 * (sizeof(ggml_tensor) + 4 * sizeof(int)) + 256;

GraphRunner::GraphRunner(Backend & backend, size_t max_nodes) : backend_(backend), max_nodes_(max_nodes) {
    void * const enough = std::malloc(kSchedulerBytes * max_nodes);
    std::free(enough);
    if (!enough) {
        fail(GA_ERROR_OUT_OF_MEMORY, "no memory for the graph scheduler");
    }
    memory_.resize(ggml_tensor_overhead() * max_nodes + ggml_graph_overhead_custom(max_nodes, false));
    auto & backends = backend_.backends();
    sched_ = ggml_backend_sched_new(backends.data(), nullptr, (int)backends.size(), max_nodes, /*parallel =*/false,
                                    /*op_offload =*/true);
    if (!sched_) {
        fail(GA_ERROR_OUT_OF_MEMORY, "no memory for the graph scheduler");
    }
}

GraphRunner::~GraphRunner() {
    ggml_backend_sched_free(sched_);
    ggml_free(ctx_);
}

ggml_context * GraphRunner::begin() {
    ggml_backend_sched_reset(sched_);
    ggml_free(ctx_);
    ggml_init_params params = {memory_.size(), memory_.data(), /*no_alloc =*/true};
    ctx_ = ggml_init(params);
    graph_ = ggml_new_graph_custom(ctx_, max_nodes_, false);
    inputs_.clear();
    n_given_ = 0;
    again_ = false;
    device_nodes_.clear();
    return ctx_;
}

void GraphRunner::begin_again() {
    n_given_ = 0;
    again_ = true;
}

// The input of the kept graph whose turn it is.
ggml_tensor * GraphRunner::next_input(ggml_type type, int64_t ne0, int64_t ne1, int64_t ne2, int64_t ne3,
                                      const char * name) {
    const ggml_tensor * known = n_given_ < inputs_.size() ? inputs_[n_given_].tensor : nullptr;
    if (!known || known->type != type || known->ne[0] != ne0 || known->ne[1] != ne1 || known->ne[2] != ne2 ||
        known->ne[3] != ne3) {
        fail(GA_ERROR_INTERNAL, "graph input %s is not that of the kept graph", name);
    }
    return inputs_[n_given_].tensor;
}

ggml_tensor * GraphRunner::input(ggml_type type, int64_t ne0, int64_t ne1, int64_t ne2, int64_t ne3,
                                 std::vector<uint8_t> data, const char * name) {
    ggml_tensor * tensor = input_view(type, ne0, ne1, ne2, ne3, nullptr, name);
    Input & in = inputs_[n_given_ - 1];
    in.owned = std::move(data);
    in.data = in.owned.data();
    if (in.owned.size() < ggml_nbytes(tensor)) {
        fail(GA_ERROR_INTERNAL, "graph input %s: %zu bytes given, %zu needed", name, in.owned.size(),
             ggml_nbytes(tensor));
    }
    return tensor;
}

ggml_tensor * GraphRunner::input_view(ggml_type type, int64_t ne0, int64_t ne1, int64_t ne2, int64_t ne3,
                                      const void * data, const char * name) {
    if (again_) {
        ggml_tensor * known = next_input(type, ne0, ne1, ne2, ne3, name);
        inputs_[n_given_++].data = data;
        return known;
    }
    ggml_tensor * tensor = ggml_new_tensor_4d(ctx_, type, ne0, ne1, ne2, ne3);
    ggml_set_name(tensor, name);
    ggml_set_input(tensor);
    inputs_.push_back({tensor, {}, data});
    n_given_++;
    return tensor;
}

ggml_tensor * GraphRunner::multiply(ggml_tensor * weight, ggml_tensor * x, ggml_prec precision) {
    if (!backend_.multiplies_only() || ggml_backend_buffer_is_host(weight->buffer)) {
        ggml_tensor * result = ggml_mul_mat(ctx_, weight, x);
        ggml_prec_set_acc(result, precision);
        return result;
    }
    // One product at a time and of a copy: of views, and where several are translated together, other results come back.
    // The copy is copied once more by the device: ggml has OpenVINO round to BF16 what begins with a product.
    ggml_tensor * operand = ggml_cont(ctx_, ggml_cont(ctx_, x));
    ggml_tensor * product = ggml_mul_mat(ctx_, weight, operand);
    ggml_prec_set_acc(product, precision);
    for (ggml_tensor * node : {operand, product}) {
        ggml_backend_sched_set_tensor_backend(sched_, node, backend_.backends().front());
        device_nodes_.insert(node);
    }
    return ggml_cont(ctx_, product);
}

void GraphRunner::output(ggml_tensor * tensor, bool read_later) {
    if (read_later) {
        ggml_set_output(tensor); // its memory is not reused by later nodes
    }
    ggml_build_forward_expand(graph_, tensor);
}

void GraphRunner::place_products() {
    for (int i = 0; i < ggml_graph_n_nodes(graph_); i++) {
        ggml_tensor * node = ggml_graph_node(graph_, i);
        if (!device_nodes_.count(node)) {
            ggml_backend_sched_set_tensor_backend(sched_, node, backend_.backends().back());
        }
    }
}

void GraphRunner::compute() {
    if (backend_.cancelled()) {
        fail(GA_ERROR_CANCELLED, "cancelled");
    }
    require_threads(backend_.n_threads());
    if (n_given_ != inputs_.size()) {
        fail(GA_ERROR_INTERNAL, "%zu of %zu graph inputs given", n_given_, inputs_.size());
    }
    if (backend_.multiplies_only() && !again_) {
        place_products();
    }
    if (!again_ && !ggml_backend_sched_alloc_graph(sched_, graph_)) {
        fail(GA_ERROR_OUT_OF_MEMORY, "no memory on %s for the intermediate results", backend_.device_name().c_str());
    }
    require_headroom();
    for (const Input & in : inputs_) {
        if (in.tensor->buffer) { // an input the graph turned out not to use has no place
            ggml_backend_tensor_set(in.tensor, in.data, 0, ggml_nbytes(in.tensor));
        }
    }
    const ggml_status status = ggml_backend_sched_graph_compute(sched_, graph_);
    if (status == GGML_STATUS_ABORTED) {
        fail(GA_ERROR_CANCELLED, "cancelled");
    }
    if (status != GGML_STATUS_SUCCESS) {
        fail(status == GGML_STATUS_ALLOC_FAILED ? GA_ERROR_OUT_OF_MEMORY : GA_ERROR_BACKEND,
             "computing on %s failed: %s", backend_.device_name().c_str(), ggml_status_to_string(status));
    }
}

void GraphRunner::read(const ggml_tensor * tensor, void * out, size_t offset, size_t n_bytes) const {
    ggml_backend_tensor_get(tensor, out, offset, n_bytes);
}

// ---- tensors that stay -------------------------------------------------------------------------------

DeviceTensors::DeviceTensors(const MemoryPlace & place, size_t max_tensors) : place_(place) {
    ggml_init_params params = {ggml_tensor_overhead() * max_tensors, nullptr, /*no_alloc =*/true};
    ctx_ = ggml_init(params);
    if (!ctx_) {
        fail(GA_ERROR_OUT_OF_MEMORY, "no memory for tensor descriptions");
    }
}

DeviceTensors::~DeviceTensors() {
    ggml_backend_buffer_free(buffer_);
    ggml_free(ctx_);
}

ggml_tensor * DeviceTensors::add(ggml_type type, int64_t ne0, int64_t ne1, int64_t ne2, int64_t ne3,
                                 const char * name) {
    ggml_tensor * tensor = ggml_new_tensor_4d(ctx_, type, ne0, ne1, ne2, ne3);
    ggml_set_name(tensor, name);
    return tensor;
}

void DeviceTensors::allocate(bool zeroed) {
    if (!ggml_get_first_tensor(ctx_)) {
        return; // nothing lies on this side
    }
    buffer_ = ggml_backend_alloc_ctx_tensors_from_buft(ctx_, place_.default_buft);
    if (!buffer_) {
        fail(GA_ERROR_OUT_OF_MEMORY, "no memory on %s for caches", ggml_backend_dev_name(place_.device));
    }
    if (zeroed) {
        clear();
    }
}

void DeviceTensors::clear() {
    if (buffer_) {
        ggml_backend_buffer_clear(buffer_, 0);
    }
}

size_t DeviceTensors::n_bytes() const {
    return buffer_ ? ggml_backend_buffer_get_size(buffer_) : 0;
}

} // namespace ga
