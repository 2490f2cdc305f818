// Zeros for pages that a mapped file has lost, in place of the end of the process (SIGBUS). Not on Windows.
#pragma once

#include <cstddef>

namespace ga {

struct GuardedRange;

// Guards [address, address + size), a mapping of a file. nullptr: no memory.
GuardedRange * guard_range(void * address, size_t size);
// Before the range is unmapped.
void release_range(GuardedRange * range);
// Was a page of the range lost, so that zeros were read?
bool is_lost(const GuardedRange * range);

} // namespace ga
