// SIGINT and SIGTERM as a flag that every loop looks at, so that all children are stopped on the way out.
#pragma once

#include <csignal>

namespace bench {

inline volatile std::sig_atomic_t interrupt_flag = 0;  // a signal handler reaches nothing else

inline bool interrupted() {
  return interrupt_flag != 0;
}

inline void catch_interrupts() {
  for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, [](int) { interrupt_flag = 1; });
}

}  // namespace bench
