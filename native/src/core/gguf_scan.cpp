#include "core/gguf_scan.h"

#include "core/error.h"

#include "gguf.h"

#include <cstring>

namespace ga {

namespace {

class HeaderScan {
  public:
    HeaderScan(const uint8_t * data, size_t size, const std::string & path)
        : p_(data), end_(data + size), path_(path) {}

    void run() {
        if (end_ - p_ < 4 || std::memcmp(p_, "GGUF", 4) != 0) {
            fail(GA_ERROR_FORMAT, "%s: not a GGUF file", path_.c_str());
        }
        p_ += 4;
        const uint32_t version = number<uint32_t>();
        if (version < 2 || version > 3) {
            fail(GA_ERROR_FORMAT, "%s: GGUF version %u is not supported", path_.c_str(), version);
        }
        number<uint64_t>(); // tensors: ggml's reader checks them
        const uint64_t n_kv = number<uint64_t>();
        for (uint64_t i = 0; i < n_kv; i++) {
            const std::string key = string();
            if (key.empty()) {
                fail(GA_ERROR_FORMAT, "%s: a metadata key is empty", path_.c_str());
            }
            const uint32_t type = number<uint32_t>();
            if (key == "general.alignment") {
                check_alignment(type);
            } else {
                skip_value(type);
            }
        }
    }

  private:
    void need(uint64_t n) const {
        if ((uint64_t)(end_ - p_) < n) {
            fail(GA_ERROR_FORMAT, "%s: the file ends inside its header: it is truncated or damaged", path_.c_str());
        }
    }
    template <typename T> T number() {
        need(sizeof(T));
        T value;
        std::memcpy(&value, p_, sizeof(T));
        p_ += sizeof(T);
        return value;
    }
    std::string string() {
        const uint64_t n = number<uint64_t>();
        need(n);
        std::string text(reinterpret_cast<const char *>(p_), (size_t)n);
        p_ += n;
        return text;
    }
    void check_alignment(uint32_t type) {
        const uint32_t value = type == GGUF_TYPE_UINT32 ? number<uint32_t>() : 0;
        if (value == 0 || (value & (value - 1)) != 0) {
            fail(GA_ERROR_FORMAT, "%s: general.alignment is not a power of two", path_.c_str());
        }
    }
    void skip_value(uint32_t type) {
        if (type == GGUF_TYPE_STRING) {
            string();
        } else if (type == GGUF_TYPE_ARRAY) {
            const uint32_t of = number<uint32_t>();
            const uint64_t n = number<uint64_t>();
            if (of == GGUF_TYPE_STRING) {
                for (uint64_t i = 0; i < n; i++) {
                    const uint64_t length = number<uint64_t>();
                    need(length);
                    p_ += length;
                }
            } else {
                const uint64_t size = scalar_size(of);
                need(0);
                if (n > (uint64_t)(end_ - p_) / size) {
                    need(UINT64_MAX);
                }
                p_ += n * size;
            }
        } else {
            const uint64_t size = scalar_size(type);
            need(size);
            p_ += size;
        }
    }
    uint64_t scalar_size(uint32_t type) const {
        switch (type) {
        case GGUF_TYPE_UINT8:
        case GGUF_TYPE_INT8:
        case GGUF_TYPE_BOOL:
            return 1;
        case GGUF_TYPE_UINT16:
        case GGUF_TYPE_INT16:
            return 2;
        case GGUF_TYPE_UINT32:
        case GGUF_TYPE_INT32:
        case GGUF_TYPE_FLOAT32:
            return 4;
        case GGUF_TYPE_UINT64:
        case GGUF_TYPE_INT64:
        case GGUF_TYPE_FLOAT64:
            return 8;
        default:
            fail(GA_ERROR_FORMAT, "%s: a metadata value has the unknown type %u", path_.c_str(), type);
        }
    }

    const uint8_t * p_;
    const uint8_t * end_;
    const std::string & path_;
};

} // namespace

void scan_header(const uint8_t * data, size_t size, const std::string & path) {
    HeaderScan(data, size, path).run();
}

} // namespace ga
