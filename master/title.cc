#include "master/title.h"

#include <bsd/unistd.h>

#include <cstring>

extern char** environ;

namespace master {

void set_title(int argc, char** argv, const char* title) {
  const size_t room = std::strlen(argv[0]);
  setproctitle_init(argc, argv, environ);
  setproctitle("-%s", title);
  // libbsd marks the end of a longer argv[0] with a dot, which shows when there are more arguments.
  if (std::strlen(title) < room) argv[0][room] = '\0';
}

}  // namespace master
