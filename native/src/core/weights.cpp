#include "core/weights.h"

#include "cpu/quant_layout.h"
#include "cpu/quant_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <system_error>
#include <thread>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace ga {

namespace {

// What the CPU backend needs of a tensor's address.
constexpr size_t kTensorAlignment = 32;
// Tensors that are computed rather than read, and row slices, on top of one per tensor of the file.
constexpr size_t kExtraTensors = 256;
// Less than this is not worth a thread.
constexpr int64_t kGroupsPerThread = 16;

std::string shape_text(const std::initializer_list<int64_t> & shape) {
    std::string text = "[";
    for (const int64_t n : shape) {
        text += (text.size() > 1 ? ", " : "") + std::to_string(n);
    }
    return text + "]";
}

// Converts n values (a multiple of the block size) of any type that ggml can read.
void to_f32(ggml_type type, const void * data, float * out, int64_t n) {
    if (type == GGML_TYPE_F32) {
        std::memcpy(out, data, (size_t)n * sizeof(float)); // the file need not keep them aligned
    } else {
        ggml_get_type_traits(type)->to_float(data, out, n);
    }
}

bool readable(ggml_type type) {
    return type == GGML_TYPE_F32 || ggml_get_type_traits(type)->to_float != nullptr;
}

// A gigabyte of weights is a quarter of a million pages, each of them a fault while loading and a look-up while multiplying.
void ask_for_large_pages(void * base, size_t size) {
#if defined(__linux__)
    constexpr uintptr_t page = 1 << 21;
    const uintptr_t begin = (reinterpret_cast<uintptr_t>(base) + page - 1) / page * page;
    const uintptr_t end = (reinterpret_cast<uintptr_t>(base) + size) / page * page;
    if (begin < end) {
        madvise(reinterpret_cast<void *>(begin), end - begin, MADV_HUGEPAGE); // where there are none, small ones do
    }
#else
    (void)base;
    (void)size;
#endif
}

} // namespace

void dequantize_row(ggml_type type, const void * row, float * out, int64_t n) {
    to_f32(type, row, out, n);
}

WeightSet::WeightSet(const GgufFile & file, Backend & backend)
    : file_(file), backend_(backend), place_(&backend.device_place()) {}

WeightSet::~WeightSet() {
    for (auto & [buft, place] : places_) {
        ggml_backend_buffer_free(place.buffer);
        ggml_free(place.ctx);
    }
    for (auto & [map, buffer] : mapped_) {
        ggml_backend_buffer_free(buffer);
    }
    ggml_free(mapped_ctx_);
}

const TensorInfo * WeightSet::find_checked(const std::string & name, std::initializer_list<int64_t> shape,
                                           bool required) const {
    asked_.insert(name);
    const TensorInfo * info = file_.find_tensor(name);
    if (!info) {
        if (required) {
            fail(GA_ERROR_FORMAT, "%s: the tensor %s is missing", file_.path().c_str(), name.c_str());
        }
        return nullptr;
    }
    int64_t expected[4] = {1, 1, 1, 1};
    std::copy(shape.begin(), shape.end(), expected);
    if (!std::equal(expected, expected + 4, info->ne)) {
        fail(GA_ERROR_FORMAT, "%s: the tensor %s has shape %s, expected %s", file_.path().c_str(), name.c_str(),
             info->shape().c_str(), shape_text(shape).c_str());
    }
    if (!readable(info->type)) {
        fail(GA_ERROR_UNSUPPORTED, "%s: the tensor %s has type %s, which holds no weights", file_.path().c_str(),
             name.c_str(), ggml_type_name(info->type));
    }
    return info;
}

ggml_context * WeightSet::context_for(ggml_backend_buffer_type_t buft) {
    ggml_context *& ctx = buft ? places_[buft].ctx : mapped_ctx_;
    if (!ctx) {
        const size_t n_tensors = file_.tensors().size() + kExtraTensors;
        ggml_init_params params = {ggml_tensor_overhead() * n_tensors, nullptr, /*no_alloc =*/true};
        ctx = ggml_init(params);
        if (!ctx) {
            fail(GA_ERROR_OUT_OF_MEMORY, "no memory for tensor descriptions");
        }
    }
    return ctx;
}

ggml_tensor * WeightSet::declare(const TensorInfo & info, int64_t first_row, int64_t n_rows, Use use) {
    Item item;
    item.info = &info;
    item.first_row = first_row;
    item.n_rows = n_rows;
    bool ours = false; // multiplied by QuantOps
    ggml_type type = info.type;
    ggml_backend_buffer_type_t buft = place_->default_buft;
    if (use == Use::Elementwise) {
        type = GGML_TYPE_F32;
    } else if (place_->packs && info.n_rows() == info.ne[1] && quant_products().takes(type, info.ne[0], n_rows)) {
        ours = true;
        item.packed = true;
    } else {
        if (type == GGML_TYPE_BF16) {
            type = bf16_as_;
        }
        const auto & bufts = place_->matrix_bufts;
        const auto fits = [&](ggml_backend_buffer_type_t b) {
            return backend_.can_multiply(b, type, info.ne[0], n_rows);
        };
        const auto found = std::find_if(bufts.begin(), bufts.end(), fits);
        if (found == bufts.end()) {
            fail(GA_ERROR_UNSUPPORTED, "%s: the tensor %s has type %s, which %s cannot multiply", file_.path().c_str(),
                 info.name.c_str(), ggml_type_name(type), ggml_backend_dev_name(place_->device));
        }
        buft = *found;
    }
    const size_t row_offset = (size_t)first_row * ggml_row_size(info.type, info.ne[0]);
    item.mapped = !item.packed && ggml_backend_buft_is_host(buft) && buft == ggml_backend_cpu_buffer_type() &&
                  type == info.type && (info.offset + row_offset) % kTensorAlignment == 0;
    ggml_context * ctx = context_for(item.mapped ? nullptr : buft);
    if (n_rows == info.n_rows()) {
        item.tensor = ggml_new_tensor_4d(ctx, type, info.ne[0], info.ne[1], info.ne[2], info.ne[3]);
    } else {
        item.tensor = ggml_new_tensor_2d(ctx, type, info.ne[0], n_rows);
    }
    ggml_set_name(item.tensor, info.name.c_str());
    if (ours) {
        mark_for_quant_ops(item.tensor);
    }
    items_.push_back(std::move(item));
    return items_.back().tensor;
}

ggml_tensor * WeightSet::require(const std::string & name, std::initializer_list<int64_t> shape, Use use) {
    const TensorInfo * info = find_checked(name, shape, true);
    return declare(*info, 0, info->n_rows(), use);
}

ggml_tensor * WeightSet::optional(const std::string & name, std::initializer_list<int64_t> shape, Use use) {
    const TensorInfo * info = find_checked(name, shape, false);
    return info ? declare(*info, 0, info->n_rows(), use) : nullptr;
}

ggml_tensor * WeightSet::require_rows(const std::string & name, std::initializer_list<int64_t> shape, int64_t first,
                                      int64_t n) {
    const TensorInfo * info = find_checked(name, shape, true);
    if (first < 0 || n <= 0 || first + n > info->n_rows()) {
        fail(GA_ERROR_INTERNAL, "%s: rows of %s out of range", file_.path().c_str(), name.c_str());
    }
    return declare(*info, first, n, Use::Multiply);
}

ggml_tensor * WeightSet::constant(const std::string & name, std::initializer_list<int64_t> shape,
                                  std::vector<float> data) {
    Item item;
    int64_t ne[4] = {1, 1, 1, 1};
    std::copy(shape.begin(), shape.end(), ne);
    item.tensor = ggml_new_tensor_4d(context_for(place_->default_buft), GGML_TYPE_F32, ne[0], ne[1], ne[2], ne[3]);
    ggml_set_name(item.tensor, name.c_str());
    if ((int64_t)data.size() != ggml_nelements(item.tensor)) {
        fail(GA_ERROR_INTERNAL, "constant %s has the wrong size", name.c_str());
    }
    item.constant = std::move(data);
    items_.push_back(std::move(item));
    return items_.back().tensor;
}

std::optional<float> WeightSet::scalar(const std::string & name) const {
    const TensorInfo * info = find_checked(name, {1}, false);
    if (!info) {
        return std::nullopt;
    }
    if (ggml_blck_size(info->type) != 1) {
        fail(GA_ERROR_FORMAT, "%s: the scalar %s has the block type %s", file_.path().c_str(), name.c_str(),
             ggml_type_name(info->type));
    }
    float value;
    to_f32(info->type, info->data, &value, 1);
    return value;
}

std::vector<float> WeightSet::read_f32(const std::string & name, std::initializer_list<int64_t> shape) const {
    const TensorInfo * info = find_checked(name, shape, true);
    std::vector<float> values((size_t)info->n_elements());
    to_f32(info->type, info->data, values.data(), info->n_elements());
    return values;
}

const TensorInfo * WeightSet::table(const std::string & name) {
    asked_.insert(name);
    return file_.find_tensor(name);
}

const TensorInfo * WeightSet::find_unread(const std::function<bool(const std::string &)> & spare) const {
    const auto & all = file_.tensors();
    const auto unread = [&](const TensorInfo & info) { return asked_.count(info.name) == 0 && !spare(info.name); };
    const auto found = std::find_if(all.begin(), all.end(), unread);
    return found == all.end() ? nullptr : &*found;
}

void WeightSet::pack(const Item & item, const uint8_t * data) {
    const TensorInfo & info = *item.info;
    const int64_t n_groups = item.n_rows / kQuantOutputs;
    const int64_t n_threads = std::min<int64_t>(backend_.n_threads(), 1 + n_groups / kGroupsPerThread);
    const auto part = [&](int64_t thread) {
        const int64_t first = n_groups * thread / n_threads, end = n_groups * (thread + 1) / n_threads;
        pack_quants(info.type, data, info.ne[0], item.n_rows, first, end - first, item.tensor->data);
    };
    std::vector<std::thread> others;
    others.reserve((size_t)n_threads);
    for (int64_t thread = 1; thread < n_threads; thread++) {
        try {
            others.emplace_back(part, thread);
        } catch (const std::system_error &) { // the system gives no more threads
            part(thread);
        }
    }
    part(0);
    for (std::thread & other : others) {
        other.join();
    }
}

void WeightSet::fill(const Item & item) {
    ggml_tensor * tensor = item.tensor;
    if (!item.info) {
        ggml_backend_tensor_set(tensor, item.constant.data(), 0, ggml_nbytes(tensor));
        return;
    }
    const TensorInfo & info = *item.info;
    const size_t row_bytes = ggml_row_size(info.type, info.ne[0]);
    const size_t start = (size_t)item.first_row * row_bytes;
    const size_t n_bytes = (size_t)item.n_rows * row_bytes;
    const uint8_t * data = info.data + start;
    if (item.mapped) {
        return;
    }
    if (item.packed) {
        pack(item, data);
    } else if (tensor->type == info.type) {
        ggml_backend_tensor_set(tensor, data, 0, n_bytes); // whole tensors only: repacked layouts need all rows
    } else {
        const int64_t n = info.ne[0] * item.n_rows;
        std::vector<float> values((size_t)n);
        to_f32(info.type, data, values.data(), n);
        if (tensor->type == GGML_TYPE_F32) {
            ggml_backend_tensor_set(tensor, values.data(), 0, ggml_nbytes(tensor));
        } else {
            // BF16 to F16: exact for 6.1e-5 <= |w| <= 65504; larger ones saturate rather than become infinite.
            std::vector<ggml_fp16_t> halves((size_t)n);
            for (float & v : values) {
                v = std::clamp(v, -65504.0f, 65504.0f);
            }
            ggml_fp32_to_fp16_row(values.data(), halves.data(), n);
            ggml_backend_tensor_set(tensor, halves.data(), 0, ggml_nbytes(tensor));
        }
    }
    info.map->forget(info.offset + start, n_bytes);
}

void WeightSet::place_mapped() {
    for (const Item & item : items_) {
        if (!item.mapped) {
            continue;
        }
        const TensorInfo & info = *item.info;
        ggml_backend_buffer_t & buffer = mapped_[info.map];
        if (!buffer) {
            buffer = ggml_backend_cpu_buffer_from_ptr(const_cast<uint8_t *>(info.map->data()), info.map->size());
            if (!buffer) {
                fail(GA_ERROR_OUT_OF_MEMORY, "%s: no memory for the mapped weights", file_.path().c_str());
            }
            ggml_backend_buffer_set_usage(buffer, GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
        }
        const size_t row_offset = (size_t)item.first_row * ggml_row_size(info.type, info.ne[0]);
        ggml_backend_tensor_alloc(buffer, item.tensor, const_cast<uint8_t *>(info.data) + row_offset);
        bytes_mapped_ += ggml_nbytes(item.tensor);
    }
    if (mapped_ctx_) {
        bytes_by_buffer_["mapped"] += bytes_mapped_;
    }
}

void WeightSet::load(const std::function<void(float)> & progress) {
    for (auto & [buft, place] : places_) {
        place.buffer = ggml_backend_alloc_ctx_tensors_from_buft(place.ctx, buft);
        if (!place.buffer) {
            fail(GA_ERROR_OUT_OF_MEMORY, "%s: no memory on %s for the weights", file_.path().c_str(),
                 ggml_backend_buft_name(buft));
        }
        ggml_backend_buffer_set_usage(place.buffer, GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
        if (ggml_backend_buffer_is_host(place.buffer)) {
            ask_for_large_pages(ggml_backend_buffer_get_base(place.buffer), ggml_backend_buffer_get_size(place.buffer));
        }
        const size_t size = ggml_backend_buffer_get_size(place.buffer);
        bytes_by_buffer_[ggml_backend_buft_name(buft)] += size;
        bytes_resident_ += size;
    }
    place_mapped();
    size_t total = 1, done = 0;
    for (const Item & item : items_) {
        total += ggml_nbytes(item.tensor);
    }
    for (Item & item : items_) {
        if (backend_.cancelled()) {
            fail(GA_ERROR_CANCELLED, "cancelled");
        }
        fill(item);
        item.constant.clear();
        done += ggml_nbytes(item.tensor);
        if (progress) {
            progress((float)((double)done / (double)total));
        }
    }
    file_.check();
}

} // namespace ga
