#include "core/file_map.h"

#include <algorithm>

#if defined(_WIN32)
#define NOMINMAX
#include <windows.h>
#else
#include "core/bus_guard.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace ga {

#if defined(_WIN32)

static std::wstring wide(const std::string & text) {
    const int n = MultiByteToWideChar(CP_UTF8, 0, text.data(), (int)text.size(), nullptr, 0);
    std::wstring out(n, L'\0');
    MultiByteToWideChar(CP_UTF8, 0, text.data(), (int)text.size(), out.data(), n);
    return out;
}

// Nobody can cut or write a file that is open here: it is not shared for writing.
FileMap::FileMap(const std::string & path) : path_(path) {
    HANDLE file = CreateFileW(wide(path).c_str(), GENERIC_READ, FILE_SHARE_READ, nullptr, OPEN_EXISTING, 0, nullptr);
    if (file == INVALID_HANDLE_VALUE) {
        fail(GA_ERROR_IO, "%s: cannot be opened", path.c_str());
    }
    LARGE_INTEGER size;
    GetFileSizeEx(file, &size);
    size_ = (size_t)size.QuadPart;
    HANDLE mapping = size_ > 0 ? CreateFileMappingW(file, nullptr, PAGE_READONLY, 0, 0, nullptr) : nullptr;
    CloseHandle(file);
    if (size_ == 0) {
        fail(GA_ERROR_FORMAT, "%s: the file is empty", path.c_str());
    }
    data_ = mapping ? (const uint8_t *)MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, 0) : nullptr;
    handle_ = mapping;
    if (!data_) {
        if (mapping) {
            CloseHandle(mapping);
        }
        fail(GA_ERROR_IO, "%s: cannot be mapped into memory", path.c_str());
    }
}

FileMap::~FileMap() {
    UnmapViewOfFile(data_);
    CloseHandle((HANDLE)handle_);
}

void FileMap::forget(size_t, size_t) const {}

void FileMap::check() const {}

#else

namespace {

#if defined(__APPLE__)
const timespec & written(const struct stat & st) {
    return st.st_mtimespec;
}
#else
const timespec & written(const struct stat & st) {
    return st.st_mtim;
}
#endif

// Closed at the end of its scope, unless let go.
class OpenFile {
  public:
    // Without waiting: a FIFO that nobody writes to would keep open() for ever.
    explicit OpenFile(const char * path) : fd_(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
    ~OpenFile() {
        if (fd_ >= 0) {
            close(fd_);
        }
    }
    OpenFile(const OpenFile &) = delete;
    OpenFile & operator=(const OpenFile &) = delete;
    int get() const { return fd_; }
    int let_go() {
        const int fd = fd_;
        fd_ = -1;
        return fd;
    }

  private:
    int fd_;
};

} // namespace

FileMap::FileMap(const std::string & path) : path_(path) {
    OpenFile file(path.c_str());
    if (file.get() < 0) {
        fail(GA_ERROR_IO, "%s: %s", path.c_str(), std::strerror(errno));
    }
    struct stat st;
    if (fstat(file.get(), &st) != 0 || !S_ISREG(st.st_mode)) {
        fail(GA_ERROR_IO, "%s: not a regular file", path.c_str());
    }
    if (st.st_size == 0) {
        fail(GA_ERROR_FORMAT, "%s: the file is empty", path.c_str());
    }
    size_ = (size_t)st.st_size;
    seconds_ = written(st).tv_sec;
    nanoseconds_ = written(st).tv_nsec;
    void * addr = mmap(nullptr, size_, PROT_READ, MAP_SHARED, file.get(), 0);
    if (addr == MAP_FAILED) {
        fail(errno == ENOMEM ? GA_ERROR_OUT_OF_MEMORY : GA_ERROR_IO, "%s: cannot be mapped into memory (%s)",
             path.c_str(), std::strerror(errno));
    }
    range_ = guard_range(addr, size_);
    if (!range_) {
        munmap(addr, size_);
        fail(GA_ERROR_OUT_OF_MEMORY, "%s: no memory to map it", path.c_str());
    }
    data_ = static_cast<const uint8_t *>(addr);
    file_ = file.let_go();
}

FileMap::~FileMap() {
    release_range(range_);
    munmap(const_cast<uint8_t *>(data_), size_);
    close(file_);
}

void FileMap::forget(size_t offset, size_t n) const {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t first = (offset + page - 1) / page * page;
    const size_t last = std::min(offset + n, size_) / page * page;
    if (last > first) {
        madvise(const_cast<uint8_t *>(data_) + first, last - first, MADV_DONTNEED);
    }
}

void FileMap::check() const {
    struct stat st;
    const bool known = fstat(file_, &st) == 0;
    if (known && (size_t)st.st_size < size_) {
        fail(GA_ERROR_IO, "%s: the file was cut short while it was in use; get it again", path_.c_str());
    }
    if (is_lost(range_)) {
        fail(GA_ERROR_IO, "%s: the file cannot be read any more (its disk or connection fails)", path_.c_str());
    }
    if (known &&
        ((size_t)st.st_size != size_ || written(st).tv_sec != seconds_ || written(st).tv_nsec != nanoseconds_)) {
        fail(GA_ERROR_IO, "%s: the file was changed while it was in use; start again when it is complete",
             path_.c_str());
    }
}

#endif

} // namespace ga
