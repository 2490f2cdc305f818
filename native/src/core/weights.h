// Weights of a model: named tensors of a GGUF file, checked against the shape the model needs and placed once.
//
// Declare every tensor first (require/optional), then load(). A declared tensor's handle may be used in graphs after
// load(). How a tensor is used decides where it goes:
//   Multiply   left side of a product: for our own products where the CPU has them (for_quant_ops() tells), else the
//              fastest buffer type that multiplies its type (CPU: repacked layouts); a matrix that stays in plain CPU
//              layout is not copied at all but used where the file is mapped.
//   Elementwise norms, biases, scales, small kernels: converted to f32.
#pragma once

#include "core/backend.h"
#include "core/gguf_file.h"

#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

namespace ga {

enum class Use { Multiply, Elementwise };

class WeightSet {
  public:
    WeightSet(const GgufFile & file, Backend & backend);
    ~WeightSet();
    WeightSet(const WeightSet &) = delete;
    WeightSet & operator=(const WeightSet &) = delete;

    // shape: expected extents in ggml order; trailing 1s may be left out. Throws GA_ERROR_FORMAT naming file and tensor
    // where the tensor is missing or differs, GA_ERROR_UNSUPPORTED where its type cannot be used so.
    ggml_tensor * require(const std::string & name, std::initializer_list<int64_t> shape, Use use);
    // nullptr where the file has no such tensor.
    ggml_tensor * optional(const std::string & name, std::initializer_list<int64_t> shape, Use use);
    // Rows [first, first + n) of a matrix, as a matrix of its own (Use::Multiply).
    ggml_tensor * require_rows(const std::string & name, std::initializer_list<int64_t> shape, int64_t first,
                               int64_t n);
    // An f32 [n_in, n_out] matrix or kernel computed by the caller rather than read (data copied).
    ggml_tensor * constant(const std::string & name, std::initializer_list<int64_t> shape, std::vector<float> data);
    // A one-element tensor's value, read at once; nullopt where absent.
    std::optional<float> scalar(const std::string & name) const;
    // The whole tensor as f32, read at once.
    std::vector<float> read_f32(const std::string & name, std::initializer_list<int64_t> shape) const;

    // The file's tensor of that name, for tables that the caller looks up itself; nullptr where it has none.
    const TensorInfo * table(const std::string & name);
    // The first tensor of the file that none of the calls above asked for, and that `spare` does not call one to leave
    // alone; nullptr where there is none. A tensor that nobody reads would change the result in silence.
    const TensorInfo * find_unread(const std::function<bool(const std::string &)> & spare) const;

    // Type that BF16 matrices are multiplied in from now on (BF16: as they are).
    void set_bf16_as(ggml_type type) { bf16_as_ = type; }

    // Where what is declared from now on lies: the device, unless told otherwise.
    void set_place(const MemoryPlace & place) { place_ = &place; }

    // Places and fills everything declared. progress(fraction) may be empty. Throws as check_file() where the file changed
    // meanwhile.
    void load(const std::function<void(float)> & progress);

    // Throws GA_ERROR_IO where the file was cut short or written over since it was opened.
    void check_file() const { file_.check(); }

    size_t bytes_resident() const { return bytes_resident_; }
    size_t bytes_mapped() const { return bytes_mapped_; }
    // Bytes by buffer type's name, for a verbose line.
    const std::map<std::string, size_t> & bytes_by_buffer() const { return bytes_by_buffer_; }

  private:
    struct Item {
        ggml_tensor * tensor = nullptr;
        const TensorInfo * info = nullptr; // null: constant
        int64_t first_row = 0;
        int64_t n_rows = 0;
        std::vector<float> constant;
        bool mapped = false;
        bool packed = false; // as quant_layout.h says
    };
    struct Place {
        ggml_context * ctx = nullptr;
        ggml_backend_buffer_t buffer = nullptr;
    };
    ggml_tensor * declare(const TensorInfo & info, int64_t first_row, int64_t n_rows, Use use);
    const TensorInfo * find_checked(const std::string & name, std::initializer_list<int64_t> shape,
                                    bool required) const;
    // Descriptions of what lies in buffers of a type; nullptr: of what stays mapped.
    ggml_context * context_for(ggml_backend_buffer_type_t buft);
    void place_mapped();
    void fill(const Item & item);
    // Outputs of a packed matrix, shared among the engine's threads.
    void pack(const Item & item, const uint8_t * data);

    const GgufFile & file_;
    Backend & backend_;
    const MemoryPlace * place_;
    ggml_type bf16_as_ = GGML_TYPE_BF16;
    mutable std::unordered_set<std::string> asked_; // names, whether the file has them or not
    std::vector<Item> items_;
    std::map<ggml_backend_buffer_type_t, Place> places_;
    ggml_context * mapped_ctx_ = nullptr; // tensors that are used where their file is mapped
    std::map<const FileMap *, ggml_backend_buffer_t> mapped_;
    size_t bytes_resident_ = 0;
    size_t bytes_mapped_ = 0;
    std::map<std::string, size_t> bytes_by_buffer_;
};

// One row (or part) of a matrix in any ggml type as f32. Throws nothing; n must be a multiple of the block size.
void dequantize_row(ggml_type type, const void * row, float * out, int64_t n);

} // namespace ga
