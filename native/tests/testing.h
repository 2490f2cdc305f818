// What the native tests share: checks that count, expected errors, and files that clean up after themselves.
#pragma once

#include "core/error.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

namespace testing {

inline int failures = 0;

#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            testing::failures++;                                                                                       \
            std::printf("%s:%d: %s: ", __FILE__, __LINE__, #condition);                                                \
            std::printf(__VA_ARGS__);                                                                                  \
            std::printf("\n");                                                                                         \
        }                                                                                                              \
    } while (0)

// The status a call throws, and its message in text; GA_OK where it throws nothing.
inline ga_status thrown(const std::function<void()> & call, std::string * text = nullptr) {
    try {
        call();
    } catch (const ga::Error & e) {
        if (text) {
            *text = e.what();
        }
        return e.status();
    }
    return GA_OK;
}

// A file in the temporary folder, removed at the end of its scope.
class TempFile {
  public:
    explicit TempFile(const std::string & name)
        : path_((std::filesystem::temp_directory_path() / ("gemma-audio-test-" + name)).string()) {}
    ~TempFile() {
        std::error_code ignored;
        std::filesystem::remove(path_, ignored);
    }
    TempFile(const TempFile &) = delete;
    TempFile & operator=(const TempFile &) = delete;

    const std::string & path() const { return path_; }
    void write(const std::vector<char> & bytes) const {
        std::ofstream(path_, std::ios::binary).write(bytes.data(), (std::streamsize)bytes.size());
    }
    std::vector<char> read() const {
        std::ifstream file(path_, std::ios::binary);
        return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    }

  private:
    std::string path_;
};

inline int result() {
    std::printf("%d failures\n", failures);
    return failures == 0 ? 0 : 1;
}

} // namespace testing
