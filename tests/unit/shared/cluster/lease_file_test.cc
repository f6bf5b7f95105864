#include "shared/cluster/lease_file.h"

#include <doctest/doctest.h>

#include <fstream>

#include "tests/support/temporary_directory.h"

using cluster::LeaseFile;

TEST_CASE("lease file: a lease ran until it ended") {
  const support::TemporaryDirectory directory;
  const LeaseFile file(directory.path());
  REQUIRE(file.note(5000));
  CHECK(file.ran_at(4999));
  CHECK_FALSE(file.ran_at(5000));
  REQUIRE(file.note(6000));
  CHECK(LeaseFile(directory.path()).ran_at(5000));
}

TEST_CASE("lease file: without one, of another boot, or of nonsense nothing is known") {
  const support::TemporaryDirectory directory;
  CHECK_FALSE(LeaseFile(directory.path()).ran_at(0));
  REQUIRE(LeaseFile(directory.path(), "another").note(5000));
  CHECK_FALSE(LeaseFile(directory.path()).ran_at(0));
  std::ofstream(directory.path() + "/lease") << "nonsense";
  CHECK_FALSE(LeaseFile(directory.path()).ran_at(0));
}

TEST_CASE("lease file: it cannot be written") {
  CHECK_FALSE(LeaseFile("/nowhere").note(1));
}
