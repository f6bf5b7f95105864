#include "tests/bench/process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "tests/bench/process_tree.h"
#include "tests/bench/socket.h"

namespace bench {
namespace {

constexpr int kStopMilliseconds = 10'000;
constexpr int kLongStopMilliseconds = 300'000;  // for what has a gigabyte to write

[[noreturn]] void become(std::vector<char*>& argv, const char* log, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);
  const int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (out >= 0) {
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
  }
  setpgid(0, 0);  // Ctrl-C is for the benchmark, which ends its children itself
  execv(argv[0], argv.data());
  dprintf(STDERR_FILENO, "cannot run %s: %s\n", argv[0], std::strerror(errno));
  _exit(127);
}

}  // namespace

Process::Process(const std::vector<std::string>& arguments, const std::filesystem::path& log) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ < 0) throw_errno("fork");
  if (pid_ == 0) become(argv, log.c_str(), parent);
}

Process::~Process() {
  if (!running()) return;
  const std::vector<pid_t> tree = process_tree(pid_);
  kill(pid_, SIGTERM);
  if (ended_within(kStopMilliseconds)) return;
  for (const pid_t pid : tree) kill(pid, SIGKILL);
  ended_within(kStopMilliseconds);
}

bool Process::stop(int signal) {
  if (!running()) return true;
  const std::vector<pid_t> tree = process_tree(pid_);
  kill(pid_, signal);
  if (!ended_within(kLongStopMilliseconds)) return false;
  for (int waited = 0; std::ranges::any_of(tree, runs); waited += 5) {
    if (waited >= kStopMilliseconds) return false;
    usleep(5000);
  }
  return true;
}

bool Process::running() {
  return !ended_within(0);
}

bool Process::ended_within(int milliseconds) {
  for (int waited = 0; pid_ > 0; waited += 5) {
    if (waitpid(pid_, nullptr, WNOHANG) == pid_) {
      pid_ = -1;
      break;
    }
    if (waited >= milliseconds) return false;
    usleep(5000);
  }
  return true;
}

}  // namespace bench
