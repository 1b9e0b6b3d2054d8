# Thin: each target is one command that can be run by hand as well.
.PHONY: build run test check bench fmt clean

# The release binary, at build/release/millrace.
build:
	cmake --preset release
	cmake --build --preset release --target millrace

run:
	script/run

test:
	script/test

# The rules of the code that a tool can judge; needs no running program.
check:
	cmake --preset release
	cmake --build --preset release
	ctest --test-dir build/release -L '^check$$' --output-on-failure

bench:
	cmake --preset release
	cmake --build --preset release
	bench/run --quick

fmt:
	find src test bench tools -name '*.[ch]' -not -path '*/node_modules/*' \
		-exec clang-format-14 -i {} +

clean:
	rm -rf build
