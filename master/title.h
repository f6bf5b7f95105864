// The process's name as ps shows it.
#pragma once

namespace master {

// Writes `title` over the arguments (and, if need be, the environment, which moves). REQUIRES: called once, with main's
// own argc and argv; nothing refers to their texts any more.
void set_title(int argc, char** argv, const char* title);

}  // namespace master
