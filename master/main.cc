// One program: the master, the commands that talk to it, and, when the master has executed it again, a worker.
#include <sys/prctl.h>

#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "master/command_line.h"
#include "master/commands.h"
#include "master/guests.h"
#include "master/title.h"
#include "master/worker_process.h"
#include "shared/control/boot.h"
#include "shared/control/worker_entry.h"

int main(int argc, char** argv) {
  prctl(PR_SET_NAME, "mqtt-master");  // executed through /proc/self/exe it would be "exe"
  if (std::optional<control::Boot> boot = control::take_boot_record()) return worker::worker_main(std::move(*boot));

  if (argc == 4 && std::string_view(argv[1]) == master::kPrepareStores) {
    return master::prepare_stores_main(argv[2], argv[3]);
  }
  if (argc == 4 && std::string_view(argv[1]) == master::kRestore) return master::restore_main(argv[2], argv[3]);
  if (argc == 4 && std::string_view(argv[1]) == master::kGuest) {
    const std::string file = argv[2];
    const std::string node = argv[3];
    master::set_title(argc, argv, ("mqtt-master: guest " + node).c_str());
    return master::guest_main(file, node);
  }

  const std::vector<std::string_view> words(argv + 1, argv + argc);
  const auto parsed = master::parse_command_line(words);
  if (const auto* wrong = std::get_if<std::string>(&parsed)) {
    std::fprintf(stderr, "mqtt-master: %s; see mqtt-master --help\n", wrong->c_str());
    return 2;
  }
  const auto arguments = std::get<master::Arguments>(parsed);  // a copy: the title is written over argv
  if (arguments.command == master::Command::start) master::set_title(argc, argv, "mqtt-master: master");
  return master::run_command(arguments);
}
