// A file mapped read-only, that may be cut short or written over by others while it is in use.
//
// A page that a mapped file no longer has raises SIGBUS, which would end the process without a word. A handler for that signal
// puts zeros in the place of such pages, if they are of a mapping made here, and remembers it; check() then says so. Faults
// elsewhere go to whatever handled them before. check() also compares the file's size and time with those at the opening: what
// was written over raises no signal and would give wrong results in silence.
#pragma once

#include "core/error.h"

#include <cstddef>
#include <cstdint>
#include <string>

namespace ga {

struct GuardedRange; // see file_map.cpp

class FileMap {
  public:
    // A regular file of at least one byte. Throws GA_ERROR_IO or GA_ERROR_FORMAT (empty), naming it.
    explicit FileMap(const std::string & path);
    ~FileMap();
    FileMap(const FileMap &) = delete;
    FileMap & operator=(const FileMap &) = delete;

    const uint8_t * data() const { return data_; }
    size_t size() const { return size_; }
    // Tells the system that [offset, offset + n) is not needed any more; the pages can be read again later.
    void forget(size_t offset, size_t n) const;
    // Throws GA_ERROR_IO where the file is no longer what was mapped. To be asked after what was read is used, and before its
    // results are given away.
    void check() const;

  private:
    std::string path_;
    const uint8_t * data_ = nullptr;
    size_t size_ = 0;
#if defined(_WIN32)
    void * handle_ = nullptr; // the mapping object
#else
    // The file, when it was last written, and the place where lost pages are noted.
    int file_ = -1;
    int64_t seconds_ = 0, nanoseconds_ = 0;
    GuardedRange * range_ = nullptr;
#endif
};

} // namespace ga
