#include "core/gguf_file.h"

#include "core/gguf_scan.h"

#include <algorithm>
#include <cmath>

namespace ga {

// More than that is a damaged file.
static constexpr int64_t kMaxParts = 1000;

// "-00002-of-00003.gguf" for number 1 (from 0) of 3.
static std::string part_ending(int64_t number, int64_t count) {
    return format("-%05d-of-%05d.gguf", (int)number + 1, (int)count);
}

// ---- metadata ----------------------------------------------------------------------------------------

std::string TensorInfo::shape() const {
    int n_dims = 4;
    while (n_dims > 1 && ne[n_dims - 1] == 1) {
        n_dims--;
    }
    std::string text = "[";
    for (int i = 0; i < n_dims; i++) {
        text += (i ? ", " : "") + std::to_string(ne[i]);
    }
    return text + "]";
}

GgufFile::GgufFile(const std::string & path) : GgufFile(path, OnePart{}) {
    add_parts();
    index_tensors();
}

GgufFile::GgufFile(const std::string & path, OnePart) : path_(path), map_(path) {
    scan_header(map_.data(), map_.size(), path_);
    gguf_init_params params = {/*no_alloc =*/true, /*ctx =*/nullptr};
    ctx_.reset(gguf_init_from_buffer(map_.data(), map_.size(), params));
    if (!ctx_) {
        fail(GA_ERROR_FORMAT, "%s: the header cannot be read: it is truncated or damaged", path_.c_str());
    }
    const size_t data_start = gguf_get_data_offset(ctx_.get());
    const int64_t n = gguf_get_n_tensors(ctx_.get());
    tensors_.reserve((size_t)n);
    for (int64_t i = 0; i < n; i++) {
        TensorInfo info;
        info.name = gguf_get_tensor_name(ctx_.get(), i);
        info.type = gguf_get_tensor_type(ctx_.get(), i);
        std::copy_n(gguf_get_tensor_ne(ctx_.get(), i), 4, info.ne);
        info.n_bytes = gguf_get_tensor_size(ctx_.get(), i);
        const size_t offset = gguf_get_tensor_offset(ctx_.get(), i);
        if (data_start > map_.size() || offset > map_.size() - data_start ||
            info.n_bytes > map_.size() - data_start - offset) {
            fail(GA_ERROR_FORMAT, "%s: the file ends before tensor %s: it is truncated (incomplete download?)",
                 path_.c_str(), info.name.c_str());
        }
        info.offset = data_start + offset;
        info.map = &map_;
        info.data = map_.data() + info.offset;
        tensors_.push_back(std::move(info));
    }
}

void GgufFile::check() const {
    map_.check();
    for (const auto & part : more_) {
        part->map_.check();
    }
}

void GgufFile::add_parts() {
    const int64_t count = has("split.count") ? get_int("split.count", 0, kMaxParts) : 1;
    if (count <= 1) {
        return;
    }
    const int64_t number = get_int("split.no", 0, count - 1);
    if (number != 0) {
        fail(GA_ERROR_FORMAT, "%s: this is part %lld of %lld; name the first part", path_.c_str(),
             (long long)number + 1, (long long)count);
    }
    const std::string ending = part_ending(0, count);
    if (path_.size() <= ending.size() || path_.compare(path_.size() - ending.size(), ending.size(), ending) != 0) {
        fail(GA_ERROR_FORMAT, "%s: the first of %lld parts, but its name does not end in %s: the others are not found",
             path_.c_str(), (long long)count, ending.c_str());
    }
    const std::string stem = path_.substr(0, path_.size() - ending.size());
    for (int64_t i = 1; i < count; i++) {
        more_.emplace_back(new GgufFile(stem + part_ending(i, count), OnePart{}));
        const GgufFile & part = *more_.back();
        if (part.get_int("split.no", 0, kMaxParts) != i || part.get_int("split.count", 0, kMaxParts) != count) {
            fail(GA_ERROR_FORMAT, "%s: not part %lld of %lld of this model", part.path().c_str(), (long long)i + 1,
                 (long long)count);
        }
        tensors_.insert(tensors_.end(), part.tensors_.begin(), part.tensors_.end());
    }
    const auto stated = find_int("split.tensors.count");
    if (stated && *stated != (int64_t)tensors_.size()) {
        fail(GA_ERROR_FORMAT, "%s: its parts hold %zu tensors, not %lld: one of them is of another model",
             path_.c_str(), tensors_.size(), (long long)*stated);
    }
}

void GgufFile::index_tensors() {
    index_.reserve(tensors_.size());
    for (size_t i = 0; i < tensors_.size(); i++) {
        if (!index_.emplace(tensors_[i].name, i).second) { // ggml's reader has looked within each part
            fail(GA_ERROR_FORMAT, "%s: two of its parts hold the tensor %s", path_.c_str(), tensors_[i].name.c_str());
        }
    }
}

int64_t GgufFile::key_id(const std::string & key) const {
    return gguf_find_key(ctx_.get(), key.c_str());
}

bool GgufFile::has(const std::string & key) const {
    return key_id(key) >= 0;
}

// Element i of scalar storage of an integer or boolean type; nullopt for other types and for values beyond int64.
static std::optional<int64_t> int_at(gguf_type type, const void * data, size_t i) {
    switch (type) {
    case GGUF_TYPE_BOOL:
    case GGUF_TYPE_INT8:
        return static_cast<const int8_t *>(data)[i];
    case GGUF_TYPE_UINT8:
        return static_cast<const uint8_t *>(data)[i];
    case GGUF_TYPE_INT16:
        return static_cast<const int16_t *>(data)[i];
    case GGUF_TYPE_UINT16:
        return static_cast<const uint16_t *>(data)[i];
    case GGUF_TYPE_INT32:
        return static_cast<const int32_t *>(data)[i];
    case GGUF_TYPE_UINT32:
        return static_cast<const uint32_t *>(data)[i];
    case GGUF_TYPE_INT64:
        return static_cast<const int64_t *>(data)[i];
    case GGUF_TYPE_UINT64: {
        const uint64_t value = static_cast<const uint64_t *>(data)[i];
        return value > (uint64_t)INT64_MAX ? std::nullopt : std::optional<int64_t>((int64_t)value);
    }
    default:
        return std::nullopt;
    }
}

std::optional<int64_t> GgufFile::find_int(const std::string & key) const {
    const int64_t id = key_id(key);
    if (id < 0) {
        return std::nullopt;
    }
    const gguf_type type = gguf_get_kv_type(ctx_.get(), id);
    std::optional<int64_t> value;
    if (type != GGUF_TYPE_ARRAY && type != GGUF_TYPE_STRING) {
        value = int_at(type, gguf_get_val_data(ctx_.get(), id), 0);
    }
    if (!value) {
        fail(GA_ERROR_FORMAT, "%s: %s is not a whole number", path_.c_str(), key.c_str());
    }
    return value;
}

std::optional<double> GgufFile::find_float(const std::string & key) const {
    const int64_t id = key_id(key);
    if (id < 0) {
        return std::nullopt;
    }
    const gguf_type type = gguf_get_kv_type(ctx_.get(), id);
    double value = NAN;
    if (type == GGUF_TYPE_FLOAT32) {
        value = gguf_get_val_f32(ctx_.get(), id);
    } else if (type == GGUF_TYPE_FLOAT64) {
        value = gguf_get_val_f64(ctx_.get(), id);
    } else if (type != GGUF_TYPE_ARRAY && type != GGUF_TYPE_STRING) {
        const auto whole = int_at(type, gguf_get_val_data(ctx_.get(), id), 0);
        value = whole ? (double)*whole : NAN;
    }
    if (!std::isfinite(value)) {
        fail(GA_ERROR_FORMAT, "%s: %s is not a finite number", path_.c_str(), key.c_str());
    }
    return value;
}

std::optional<std::string> GgufFile::find_string(const std::string & key) const {
    const int64_t id = key_id(key);
    if (id < 0) {
        return std::nullopt;
    }
    if (gguf_get_kv_type(ctx_.get(), id) != GGUF_TYPE_STRING) {
        fail(GA_ERROR_FORMAT, "%s: %s is not a string", path_.c_str(), key.c_str());
    }
    return std::string(gguf_get_val_str(ctx_.get(), id));
}

int64_t GgufFile::get_int(const std::string & key, int64_t min, int64_t max) const {
    const auto value = find_int(key);
    if (!value) {
        fail(GA_ERROR_FORMAT, "%s: the key %s is missing", path_.c_str(), key.c_str());
    }
    if (*value < min || *value > max) {
        fail(GA_ERROR_FORMAT, "%s: %s is %lld, not between %lld and %lld", path_.c_str(), key.c_str(),
             (long long)*value, (long long)min, (long long)max);
    }
    return *value;
}

double GgufFile::get_float(const std::string & key, double min, double max) const {
    const auto value = find_float(key);
    if (!value) {
        fail(GA_ERROR_FORMAT, "%s: the key %s is missing", path_.c_str(), key.c_str());
    }
    if (*value < min || *value > max) {
        fail(GA_ERROR_FORMAT, "%s: %s is %g, not between %g and %g", path_.c_str(), key.c_str(), *value, min, max);
    }
    return *value;
}

std::string GgufFile::get_string(const std::string & key) const {
    const auto value = find_string(key);
    if (!value) {
        fail(GA_ERROR_FORMAT, "%s: the key %s is missing", path_.c_str(), key.c_str());
    }
    return *value;
}

std::optional<std::pair<gguf_type, size_t>> GgufFile::find_array(const std::string & key) const {
    const int64_t id = key_id(key);
    if (id < 0 || gguf_get_kv_type(ctx_.get(), id) != GGUF_TYPE_ARRAY) {
        return std::nullopt;
    }
    return std::make_pair(gguf_get_arr_type(ctx_.get(), id), gguf_get_arr_n(ctx_.get(), id));
}

const void * GgufFile::array_data(const std::string & key) const {
    const auto array = find_array(key);
    return array && array->first != GGUF_TYPE_STRING ? gguf_get_arr_data(ctx_.get(), key_id(key)) : nullptr;
}

std::vector<int64_t> GgufFile::find_int_array(const std::string & key) const {
    const auto array = find_array(key);
    std::vector<int64_t> values;
    if (!array || array->first == GGUF_TYPE_STRING) {
        return values;
    }
    const void * data = gguf_get_arr_data(ctx_.get(), key_id(key));
    for (size_t i = 0; i < array->second; i++) {
        const auto value = int_at(array->first, data, i);
        if (!value) {
            fail(GA_ERROR_FORMAT, "%s: %s is not an array of whole numbers", path_.c_str(), key.c_str());
        }
        values.push_back(*value);
    }
    return values;
}

std::vector<std::string_view> GgufFile::find_string_array(const std::string & key) const {
    const auto array = find_array(key);
    std::vector<std::string_view> values;
    if (!array || array->first != GGUF_TYPE_STRING) {
        return values;
    }
    const int64_t id = key_id(key);
    values.reserve(array->second);
    for (size_t i = 0; i < array->second; i++) {
        values.emplace_back(gguf_get_arr_str(ctx_.get(), id, i));
    }
    return values;
}

std::vector<int64_t> GgufFile::get_ints(const std::string & key, size_t n, int64_t min, int64_t max) const {
    const auto array = find_array(key);
    if (!array) {
        return std::vector<int64_t>(n, get_int(key, min, max));
    }
    std::vector<int64_t> values = find_int_array(key);
    if (values.size() != n) {
        fail(GA_ERROR_FORMAT, "%s: %s has %zu values, expected %zu", path_.c_str(), key.c_str(), values.size(), n);
    }
    for (const int64_t value : values) {
        if (value < min || value > max) {
            fail(GA_ERROR_FORMAT, "%s: %s holds %lld, not between %lld and %lld", path_.c_str(), key.c_str(),
                 (long long)value, (long long)min, (long long)max);
        }
    }
    return values;
}

const TensorInfo * GgufFile::find_tensor(const std::string & name) const {
    const auto found = index_.find(name);
    return found == index_.end() ? nullptr : &tensors_[found->second];
}

} // namespace ga
