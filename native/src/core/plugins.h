// ggml's backends where they are libraries of their own, loaded at run time.
#pragma once

namespace ga {

// Registers them, once for the process. Before anything asks ggml for devices.
//
// A build for the machine it runs on has its backends linked in, and nothing is done. A package that is built for other
// machines brings the CPU backend in several libraries (libggml-cpu-haswell.so, ...), and ggml takes the best one
// that this processor can run. They are looked for in the folder of ggml itself and nowhere else: ggml left to itself
// searches the current folder too.
void load_plugins_once();

} // namespace ga
