#include "master/daemonize.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "master/error.h"

namespace master {
namespace {

// What comes through the pipe: one byte, the exit code, then a text.
[[noreturn]] void wait_for_outcome(int pipe) {
  std::string outcome;
  char buffer[4096];
  ssize_t got = 0;
  while ((got = read(pipe, buffer, sizeof buffer)) > 0) outcome.append(buffer, static_cast<size_t>(got));
  if (outcome.empty()) outcome = "\1mqtt-master: the daemon died while starting\n";
  FILE* out = outcome[0] == 0 ? stdout : stderr;
  std::fputs(outcome.substr(1).c_str(), out);
  std::fflush(out);
  _exit(static_cast<unsigned char>(outcome[0]));
}

void redirect(const std::string& stdout_file) {
  const base::UniqueFd null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const base::UniqueFd out(open(stdout_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
  if (!out) throw system_error("cannot open " + stdout_file);
  if (dup2(null.get(), STDIN_FILENO) < 0 || dup2(out.get(), STDOUT_FILENO) < 0 || dup2(out.get(), STDERR_FILENO) < 0) {
    throw system_error("dup2");
  }
}

}  // namespace

Daemon Daemon::detach(const std::string& stdout_file) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw system_error("pipe");
  base::UniqueFd reading(ends[0]);
  base::UniqueFd writing(ends[1]);
  const pid_t first = fork();
  if (first < 0) throw system_error("fork");
  if (first > 0) {
    writing.reset();
    waitpid(first, nullptr, 0);
    wait_for_outcome(reading.get());
  }
  setsid();
  if (fork() != 0) _exit(0);  // so that the daemon leads no session and can get no terminal
  Daemon daemon(std::move(writing));
  try {
    redirect(stdout_file);
    if (chdir("/") != 0) throw system_error("chdir");
  } catch (const Error& error) {
    daemon.failed(1, std::string("mqtt-master: ") + error.what() + '\n');
    _exit(1);
  }
  return daemon;
}

void Daemon::succeeded(const std::string& text) {
  say(0, text);
}

void Daemon::failed(int exit_code, const std::string& text) {
  say(exit_code, text);
}

// Only the first word counts.
void Daemon::say(int exit_code, const std::string& text) {
  if (!pipe_) return;
  const std::string outcome = static_cast<char>(exit_code) + text;
  if (write(pipe_.get(), outcome.data(), outcome.size()) < 0) std::fputs(text.c_str(), stderr);
  pipe_.reset();
}

}  // namespace master
