// A GGUF file, mapped read-only: typed metadata and tensors whose place in the file has been checked.
//
// A model in parts, NAME-00001-of-0000N.gguf and so on, is one GgufFile: metadata is the first part's, tensors are those of
// all parts, and each knows which mapping it lies in.
//
// ggml's reader parses the header; its typed getters abort on a wrong type, so every read here checks first and
// throws an Error that names the file and the key or tensor.
#pragma once

#include "core/error.h"
#include "core/file_map.h"

#include "ggml.h"
#include "gguf.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ga {

struct TensorInfo {
    std::string name;
    ggml_type type = GGML_TYPE_F32;
    int64_t ne[4] = {1, 1, 1, 1}; // ggml order: ne[0] is the input dimension
    size_t n_bytes = 0;
    size_t offset = 0;             // from the start of its file
    const FileMap * map = nullptr; // its file
    const uint8_t * data = nullptr;

    int64_t n_rows() const { return ne[1] * ne[2] * ne[3]; }
    int64_t n_elements() const { return ne[0] * n_rows(); }
    std::string shape() const; // "[1536, 2048]"
};

class GgufFile {
  public:
    // Opens the file, and the parts beside it where it is the first of several. Throws GA_ERROR_IO or GA_ERROR_FORMAT.
    explicit GgufFile(const std::string & path);

    const std::string & path() const { return path_; }
    // Throws GA_ERROR_IO where one of its files was cut short or written over since it was opened.
    void check() const;

    bool has(const std::string & key) const;
    // Integers of any width and sign are accepted where a number fits; otherwise GA_ERROR_FORMAT.
    std::optional<int64_t> find_int(const std::string & key) const;
    std::optional<double> find_float(const std::string & key) const;
    std::optional<std::string> find_string(const std::string & key) const;
    int64_t get_int(const std::string & key, int64_t min, int64_t max) const;
    double get_float(const std::string & key, double min, double max) const;
    std::string get_string(const std::string & key) const;
    // One value for all n, or an array of exactly n (integers or booleans).
    std::vector<int64_t> get_ints(const std::string & key, size_t n, int64_t min, int64_t max) const;
    // Element type and length of an array, or nullopt where the key is absent or no array.
    std::optional<std::pair<gguf_type, size_t>> find_array(const std::string & key) const;
    // The values of an array of numbers, as they are stored; nullptr where there is none.
    const void * array_data(const std::string & key) const;
    std::vector<int64_t> find_int_array(const std::string & key) const;
    // Views into the file's own memory; empty where the key is absent or no array of strings.
    std::vector<std::string_view> find_string_array(const std::string & key) const;

    const TensorInfo * find_tensor(const std::string & name) const;
    const std::vector<TensorInfo> & tensors() const { return tensors_; }

  private:
    struct GgufDeleter {
        void operator()(gguf_context * ctx) const { gguf_free(ctx); }
    };
    struct OnePart {};
    GgufFile(const std::string & path, OnePart); // this file only
    void add_parts();
    void index_tensors();
    int64_t key_id(const std::string & key) const;

    std::string path_;
    FileMap map_;
    std::unique_ptr<gguf_context, GgufDeleter> ctx_;
    std::vector<std::unique_ptr<GgufFile>> more_; // the other parts
    std::vector<TensorInfo> tensors_;             // of all parts
    std::unordered_map<std::string, size_t> index_;
};

} // namespace ga
