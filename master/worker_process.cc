#include "master/worker_process.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <system_error>
#include <vector>

#include "master/error.h"
#include "master/guests.h"
#include "shared/control/boot.h"
#include "shared/control/channel.h"
#include "shared/store/stores.h"

extern char** environ;

namespace master {
namespace {

// Everything a child needs, made before the fork: between fork and exec it only makes system calls.
struct Birth {
  const char* executable;
  std::vector<char*> argv;
  std::vector<char*> envp;
  std::vector<int> inherited;
  const Identity& identity;
  pid_t parent;
  int standard_error = -1;  // -1: ours
};

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "mqtt-master: cannot start a process: %s: %s\n", what, std::strerror(errno));
  _exit(control::kExitFatal);
}

void reset_signals() {
  for (int number = 1; number < NSIG; ++number) std::signal(number, SIG_DFL);
  // The terminal sends these to the whole foreground group; it is the master that decides what they mean.
  for (const int number : {SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE}) std::signal(number, SIG_IGN);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

// Some libraries open files without O_CLOEXEC, so this is not left to those who open them.
void inherit_only(const std::vector<int>& descriptors) {
  if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) != 0) {
    const auto limit = static_cast<int>(sysconf(_SC_OPEN_MAX));
    for (int fd = 3; fd < limit; ++fd) fcntl(fd, F_SETFD, FD_CLOEXEC);
  }
  for (const int fd : descriptors) {
    if (fcntl(fd, F_SETFD, 0) != 0) fail("a descriptor is not open");
  }
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null < 0 || dup2(null, STDIN_FILENO) < 0) fail("/dev/null");
}

void drop_privileges(const Identity& identity) {
  if (!identity.switches) return;
  if (initgroups(identity.user.c_str(), identity.gid) != 0) fail("initgroups");
  if (setgid(identity.gid) != 0) fail("setgid");
  if (setuid(identity.uid) != 0) fail("setuid");
}

void die_with_parent(pid_t parent) {
  // After the change of user, which clears it. The parent may have died just before.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) fail("PR_SET_PDEATHSIG");
  if (getppid() != parent) _exit(0);
}

[[noreturn]] void become(Birth& birth) {
  reset_signals();
  if (birth.standard_error >= 0 && dup2(birth.standard_error, STDERR_FILENO) < 0) _exit(control::kExitFatal);
  inherit_only(birth.inherited);
  drop_privileges(birth.identity);
  die_with_parent(birth.parent);
  execve(birth.executable, birth.argv.data(), birth.envp.data());
  fail(birth.executable);
}

std::vector<char*> environment() {
  std::vector<char*> envp;
  for (char** variable = environ; *variable != nullptr; ++variable) envp.push_back(*variable);
  envp.push_back(nullptr);
  return envp;
}

std::vector<char*> environment_with(std::string& entry) {
  std::vector<char*> envp = environment();
  envp.insert(envp.end() - 1, entry.data());
  return envp;
}

std::string read_to_end(int fd) {
  std::string text;
  char buffer[1024];
  for (;;) {
    const ssize_t size = read(fd, buffer, sizeof buffer);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return text;
    text.append(buffer, static_cast<size_t>(size));
  }
}

}  // namespace

void raise_file_limit() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

SpawnedWorker spawn_worker(SpawnRequest request) {
  auto [ours, theirs] = control::channel_pair();
  control::BootRecord& record = request.record;
  record.control = theirs.get();
  const base::UniqueFd boot = control::write_boot_record(request.config, record);

  const std::string role = request.config.is_gateway(record.slot) ? "" : "worker ";
  std::string title = "mqtt-master: " + role + config::slot_name(request.config, record.slot);
  std::string variable = control::boot_variable(boot.get());
  Birth birth{request.executable.c_str(), {title.data(), nullptr},
              environment_with(variable), {boot.get(), record.control, record.metrics, record.lock},
              request.identity,           getpid()};
  for (const auto& [fd, listen] : record.listeners) birth.inherited.push_back(fd);

  const pid_t pid = fork();
  if (pid < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (pid == 0) become(birth);
  return {pid, std::move(ours)};
}

namespace {

// Runs this program with these words, as `identity`, to its end. Throws Error with what it said.
void run_to_end(const std::string& executable, std::vector<std::string> words, std::vector<int> inherited,
                const Identity& identity, const char* what) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw system_error("pipe");
  const base::UniqueFd ours(ends[0]);
  base::UniqueFd theirs(ends[1]);
  Birth birth{executable.c_str(), {}, environment(), std::move(inherited), identity, getpid(), theirs.get()};
  for (std::string& word : words) birth.argv.push_back(word.data());
  birth.argv.push_back(nullptr);
  const pid_t pid = fork();
  if (pid < 0) throw system_error("fork");
  if (pid == 0) become(birth);
  theirs.reset();
  std::string said = read_to_end(ours.get());
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  while (said.ends_with('\n')) said.pop_back();
  throw Error(said.empty() ? std::string(what) + ": its process has died" : said);
}

}  // namespace

void prepare_stores(const std::string& executable, const config::Config& config, const Identity& identity, int lock) {
  if (store::stores_prepared(config.data_dir, config.slot_count())) return;
  run_to_end(executable, {"mqtt-master: stores", kPrepareStores, config.data_dir, std::to_string(config.slot_count())},
             {lock}, identity, "the stores could not be prepared");
}

void restore_stores(const std::string& executable, const std::string& config_file, const std::string& node,
                    const Identity& identity) {
  run_to_end(executable, {"mqtt-master: restore", kRestore, config_file, node}, {}, identity,
             "the stores could not be made");
}

pid_t spawn_guest(const std::string& executable, const std::string& config_file, const std::string& node) {
  std::string words[] = {"mqtt-master: guest", kGuest, config_file, node};
  const Identity as_we_are;
  Birth birth{executable.c_str(), {}, environment(), {}, as_we_are, getpid()};
  for (std::string& word : words) birth.argv.push_back(word.data());
  birth.argv.push_back(nullptr);
  const pid_t pid = fork();
  if (pid < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (pid == 0) become(birth);
  return pid;
}

int prepare_stores_main(const std::string& data_dir, const std::string& slots) {
  try {
    store::prepare_stores(data_dir, static_cast<uint32_t>(std::stoul(slots)));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

}  // namespace master
