# Compiler flags: warnings everywhere, hardening in release, sanitizers by preset.
add_library(mr_flags INTERFACE)
target_compile_options(mr_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes
  -Wold-style-definition -Wconversion -Wno-sign-conversion -Wimplicit-fallthrough -Wswitch-enum
  -Wvla -Wcast-qual -Wcast-align -Wwrite-strings -Wpointer-arith -Wformat=2 -Wundef
  -Wnull-dereference -fno-common -fvisibility=hidden -fno-omit-frame-pointer)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  target_compile_options(mr_flags INTERFACE
    -Wlogical-op -Wduplicated-cond -Wduplicated-branches -Wjump-misses-init
    -Wno-format-truncation) # texts for people are cut on purpose
endif()
if(MR_WERROR)
  target_compile_options(mr_flags INTERFACE -Werror)
endif()
target_compile_definitions(mr_flags INTERFACE _GNU_SOURCE)
target_include_directories(mr_flags INTERFACE ${CMAKE_SOURCE_DIR}/src ${CMAKE_BINARY_DIR}/generated)

if(CMAKE_BUILD_TYPE STREQUAL "Release")
  target_compile_options(mr_flags INTERFACE
    -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection
    -fcf-protection=full)
  target_link_options(mr_flags INTERFACE -pie -Wl,-z,relro,-z,now)
endif()
# The program itself is optimized across rooms; its objects hold plain code too, for all others.
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
  target_compile_options(mr_flags INTERFACE -flto -ffat-lto-objects)
  target_link_options(mr_flags INTERFACE $<IF:$<BOOL:$<TARGET_PROPERTY:MR_LTO>>,-flto=auto,-fno-lto>)
endif()
if(MR_SANITIZE STREQUAL "address")
  target_compile_options(mr_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all)
  target_link_options(mr_flags INTERFACE -fsanitize=address,undefined)
elseif(MR_SANITIZE STREQUAL "thread")
  target_compile_options(mr_flags INTERFACE -fsanitize=thread)
  target_link_options(mr_flags INTERFACE -fsanitize=thread)
elseif(MR_SANITIZE STREQUAL "fuzz")
  target_compile_options(mr_flags INTERFACE -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all)
  target_link_options(mr_flags INTERFACE -fsanitize=address,undefined)
endif()
if(MR_COVERAGE)
  target_compile_options(mr_flags INTERFACE --coverage)
  target_link_options(mr_flags INTERFACE --coverage)
endif()
