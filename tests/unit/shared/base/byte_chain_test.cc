#include "shared/base/byte_chain.h"

#include <doctest/doctest.h>

#include <cstring>
#include <string>

#include "shared/base/random.h"

namespace base {
namespace {

BufferRef buffer_of(std::string_view text) {
  BufferRef buffer = SharedBuffer::heap(text.size());
  std::memcpy(buffer->data(), text.data(), text.size());
  return buffer;
}

// What follows the first `skip` bytes, read `pieces` at a time.
std::string contents(const ByteChain& chain, size_t skip = 0, int pieces = 3) {
  std::string out;
  std::vector<iovec> iov(static_cast<size_t>(pieces));
  for (;;) {
    const int n = chain.gather(skip + out.size(), iov.data(), pieces);
    if (n == 0) return out;
    for (int i = 0; i < n; ++i) {
      const iovec& piece = iov[static_cast<size_t>(i)];
      REQUIRE(piece.iov_len > 0);
      out.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
    }
  }
}

}  // namespace

TEST_CASE("byte_chain: small pieces share a chunk") {
  ChunkPool pool;
  ByteChain chain(pool);
  for (const char* text : {"one", "", "two", "three"}) chain.append(text);
  iovec iov[4];
  CHECK(chain.gather(0, iov, 4) == 1);
  CHECK(chain.size() == 11);
  CHECK(contents(chain) == "onetwothree");
}

TEST_CASE("byte_chain: references stand in order among copies and keep their buffer") {
  ChunkPool pool;
  ByteChain chain(pool);
  chain.append("a");
  {
    const BufferRef buffer = buffer_of("0123456789");
    chain.append_ref(buffer, {buffer->data() + 2, 3});
    chain.append_ref(buffer, {});
  }
  chain.append("b");
  CHECK(contents(chain) == "a234b");
  CHECK(contents(chain, 2) == "34b");
  chain.drop_front(3);
  CHECK(contents(chain) == "4b");
}

TEST_CASE("byte_chain: a piece larger than a chunk is contiguous") {
  ChunkPool pool;
  ByteChain chain(pool);
  chain.append("x");
  const std::string large(3 * ChunkPool::kChunkSize, 'l');
  chain.append(large);
  chain.append("y");
  CHECK(contents(chain) == "x" + large + "y");
  iovec iov[4];
  CHECK(chain.gather(0, iov, 4) == 3);
}

TEST_CASE("byte_chain: gather stops at its maximum and at the end") {
  ChunkPool pool;
  ByteChain chain(pool);
  const BufferRef buffer = buffer_of("abc");
  for (int i = 0; i < 5; ++i) chain.append_ref(buffer, {buffer->data(), 3});
  iovec iov[8];
  CHECK(chain.gather(0, iov, 2) == 2);
  CHECK(chain.gather(4, iov, 8) == 4);
  CHECK(iov[0].iov_len == 2);
  CHECK(chain.gather(15, iov, 8) == 0);
  CHECK(chain.gather(0, iov, 0) == 0);
}

TEST_CASE("byte_chain: an empty append and an emptied chain leave nothing behind") {
  ChunkPool pool;
  ByteChain chain(pool);
  chain.append(size_t{0});
  CHECK(chain.empty());
  CHECK(contents(chain).empty());
  chain.append("abc");
  chain.drop_front(3);
  CHECK(chain.empty());
  chain.append("d");
  CHECK(contents(chain) == "d");
  chain.clear();
  chain.clear();
  CHECK(chain.empty());
}

TEST_CASE("byte_chain: a chain that was moved from is empty and usable") {
  ChunkPool pool;
  ByteChain from(pool);
  from.append("abc");
  ByteChain to(std::move(from));
  CHECK(contents(to) == "abc");
  CHECK(from.empty());  // NOLINT: says what a moved-from chain is
  CHECK(from.size() == 0);
  from.append("d");
  CHECK(contents(from) == "d");
}

TEST_CASE("chunk_pool: chunks are used again") {
  ChunkPool pool;
  size_t capacity = 0;
  char* first = pool.take(1, capacity);
  CHECK(capacity == ChunkPool::kChunkSize);
  pool.give(first, capacity);
  CHECK(pool.take(100, capacity) == first);
  pool.give(first, capacity);
  char* large = pool.take(ChunkPool::kChunkSize + 1, capacity);
  CHECK(capacity == ChunkPool::kChunkSize + 1);
  CHECK(large != first);
  pool.give(large, capacity);
}

TEST_CASE("byte_chain: random operations agree with a string") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    ChunkPool pool;
    ByteChain chain(pool);
    std::string model;
    for (int i = 0; i < 300; ++i) {
      const std::string text(random.below(random.one_in(10) ? 20'000 : 300), static_cast<char>('a' + i % 26));
      switch (random.below(4)) {
        case 0:
          chain.append(text);
          model += text;
          break;
        case 1: {
          const BufferRef buffer = buffer_of(text);
          const size_t from = random.below(text.size() + 1);
          chain.append_ref(buffer, {buffer->data() + from, text.size() - from});
          model += text.substr(from);
          break;
        }
        case 2:
          std::memcpy(chain.append(text.size()), text.data(), text.size());
          model += text;
          break;
        default: {
          const size_t n = random.one_in(10) ? model.size() : random.below(model.size() + 1);
          chain.drop_front(n);
          model.erase(0, n);
        }
      }
      REQUIRE(chain.size() == model.size());
      const size_t skip = random.below(model.size() + 1);
      REQUIRE(contents(chain, skip, 1 + static_cast<int>(random.below(5))) == model.substr(skip));
    }
  }
}

}  // namespace base
