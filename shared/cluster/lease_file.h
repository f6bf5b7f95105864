// Until when this host's lease ran, as Redis confirmed it last: nobody has adopted the host before that. In the data
// directory, for the next master: a host that starts without Redis learns from it whether its sessions may have gone on
// elsewhere.
#pragma once

#include <cstdint>
#include <string>

namespace cluster {

class LeaseFile {
 public:
  explicit LeaseFile(const std::string& data_dir, std::string boot_id = this_boot());

  // The lease has been confirmed, and runs until then (base::boottime_ms()). False: that could not be noted.
  bool note(uint64_t until_ms) const;
  // It ran beyond that moment of this boot of the machine. False as well if there is nothing that says so.
  bool ran_at(uint64_t ms) const;

  // What the kernel calls this boot: CLOCK_BOOTTIME begins anew with the next.
  static std::string this_boot();

 private:
  const std::string path_;
  const std::string boot_id_;
};

}  // namespace cluster
