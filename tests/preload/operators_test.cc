// SPDX-License-Identifier: MIT
/*
 * operators_test.cc - new and delete of a C++ program, beside malloc() and free().
 *
 * Usage: LD_PRELOAD=... operators_test
 */
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

struct alignas(256) Wide {
	char bytes[3 << 20];
};

static bool grows()
{
	std::vector<std::string> lines;
	std::vector<char> bytes;

	for (int i = 0; i < 20000; i++) {
		lines.push_back("line " + std::to_string(i));
		bytes.insert(bytes.end(), 200, static_cast<char>(i));
	}
	return lines[19999] == "line 19999" && bytes[200 * 77] == 77;
}

static bool aligned()
{
	auto wide = std::make_unique<Wide>();
	std::unique_ptr<char, decltype(&std::free)> raw(
		static_cast<char *>(std::malloc(2 << 20)), std::free);

	std::memset(wide->bytes, 1, sizeof(wide->bytes));
	std::memset(raw.get(), 1, 2 << 20);
	/* else the compiler does without both */
	__asm__ volatile("" : : "r"(wide.get()), "r"(raw.get()) : "memory");
	return reinterpret_cast<std::uintptr_t>(wide.get()) % 256 == 0;
}

int main()
{
	bool ok = grows() && aligned();

	std::thread t([&ok] { ok = grows() && ok; });
	t.join();
	std::puts(ok ? "ok" : "not ok");
	return ok ? 0 : 1;
}
