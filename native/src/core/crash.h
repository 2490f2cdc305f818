// The last net: what ends a process inside ggml or libllama ends it with one line on stderr and a code, not with a debugger.
#pragma once

namespace ga {

// Exit code of a process whose engine gave up.
constexpr int kGaveUp = 3;

// Takes over ggml's abort callback and the handler of uncaught exceptions, once. ggml's own start gdb or lldb on the process,
// which print on stdout.
void catch_crashes_once();

} // namespace ga
