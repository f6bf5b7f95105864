#include "shared/log/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <chrono>
#include <span>
#include <stdexcept>

#include "shared/log/format.h"

namespace logging {
namespace {

// The lines are made in format.h; spdlog carries them.
void open_sinks(const Log::Options& options, spdlog::logger& logger) {
  std::vector<spdlog::sink_ptr> sinks;
  if (!options.file.empty()) sinks.push_back(std::make_shared<spdlog::sinks::basic_file_sink_st>(options.file));
  if (options.to_stderr) sinks.push_back(std::make_shared<spdlog::sinks::stderr_sink_st>());
  for (const auto& sink : sinks) sink->set_pattern("%v");
  logger.sinks() = std::move(sinks);
}

uint64_t wall_ms() {
  using std::chrono::milliseconds, std::chrono::system_clock;
  return static_cast<uint64_t>(
      std::chrono::duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count());
}

}  // namespace

Log::Log(const Options& options)
    : level_(options.level), options_(options), logger_(std::make_shared<spdlog::logger>(options.process)) {
  logger_->set_level(spdlog::level::trace);
  logger_->flush_on(spdlog::level::trace);
  try {
    open_sinks(options_, *logger_);
  } catch (const spdlog::spdlog_ex& error) {
    throw std::runtime_error(error.what());
  }
}

Log::~Log() = default;

void Log::write(Level level, std::string_view event, std::initializer_list<Field> fields) {
  if (!enabled(level)) return;
  const std::string line = format_line(options_.format, wall_ms(), level, options_.process, event,
                                       std::span<const Field>(fields.begin(), fields.size()));
  logger_->log(spdlog::level::info, spdlog::string_view_t(line));
}

void Log::reopen() {
  try {
    open_sinks(options_, *logger_);
  } catch (const spdlog::spdlog_ex& error) {
    write(Level::error, "cannot open the log file again", {{"error", error.what()}});
  }
}

}  // namespace logging
