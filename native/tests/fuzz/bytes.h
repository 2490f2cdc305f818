// A fuzzer's input, taken apart. Behind its end come zeros.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

namespace fuzz {

class Bytes {
  public:
    Bytes(const uint8_t * data, size_t size) : p_(data), end_(data + size) {}

    bool empty() const { return p_ == end_; }
    template <typename T> T take() {
        T value{};
        const size_t n = left() < sizeof(T) ? left() : sizeof(T);
        if (n > 0) {
            std::memcpy(&value, p_, n);
            p_ += n;
        }
        return value;
    }
    // In [0, n), n >= 1.
    size_t below(size_t n) { return take<uint16_t>() % n; }
    std::string text(size_t most) {
        size_t n = take<uint8_t>();
        n = n < most ? n : most;
        n = n < left() ? n : left();
        std::string result(reinterpret_cast<const char *>(p_), n);
        p_ += n;
        return result;
    }

  private:
    size_t left() const { return (size_t)(end_ - p_); }
    const uint8_t * p_;
    const uint8_t * end_;
};

} // namespace fuzz
