#include "shared/cluster/host_identity.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "tests/support/temporary_directory.h"

TEST_CASE("host_identity: stays while the directory does") {
  const support::TemporaryDirectory one;
  const support::TemporaryDirectory two;
  const cluster::HostIdentity first = cluster::host_identity(one.path());
  CHECK_FALSE(first.disk.empty());
  CHECK_FALSE(first.boot.empty());
  CHECK(cluster::host_identity(one.path()).disk == first.disk);
  CHECK(cluster::host_identity(two.path()).disk != first.disk);
  std::filesystem::remove(one.path() + "/host");
  CHECK(cluster::host_identity(one.path()).disk != first.disk);
}

TEST_CASE("host_identity: is not known where nothing can be written") {
  CHECK(cluster::host_identity("/nowhere").disk.empty());
}
