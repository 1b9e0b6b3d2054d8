# Unit tests: one executable per test/unit/<room>/test_*.c, linked with its room and what the
# room links. A file test_x.c may be accompanied by test/unit/<room>/support_*.c.
find_package(PkgConfig REQUIRED)
pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)

file(GLOB unit_rooms LIST_DIRECTORIES true RELATIVE ${CMAKE_SOURCE_DIR}/test/unit
     CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/test/unit/*)
foreach(room ${unit_rooms})
  file(GLOB tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/test/unit/${room}/test_*.c)
  file(GLOB support CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/test/unit/${room}/support_*.c)
  foreach(test ${tests})
    get_filename_component(stem ${test} NAME_WE)
    string(REPLACE "test_" "" stem ${stem})
    set(target unit_${room}_${stem})
    add_executable(${target} ${test} ${support})
    target_compile_options(${target} PRIVATE -Wno-missing-prototypes)
    target_link_libraries(${target} PRIVATE mr_${room} PkgConfig::CMOCKA)
    target_compile_definitions(${target} PRIVATE MR_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
    add_test(NAME unit.${room}.${stem} COMMAND ${target})
    set_tests_properties(unit.${room}.${stem} PROPERTIES LABELS unit TIMEOUT 120)
  endforeach()
endforeach()

# Further kinds of tests add themselves where they live.
foreach(kind sim fault fuzz judges)
  if(EXISTS ${CMAKE_SOURCE_DIR}/test/${kind}/CMakeLists.txt)
    add_subdirectory(${CMAKE_SOURCE_DIR}/test/${kind} ${CMAKE_BINARY_DIR}/test/${kind})
  endif()
endforeach()
if(EXISTS ${CMAKE_SOURCE_DIR}/tools/CMakeLists.txt)
  add_subdirectory(${CMAKE_SOURCE_DIR}/tools ${CMAKE_BINARY_DIR}/tools)
endif()

# Judges of rooms that need no server: programs that test/e2e feeds with lines.
add_executable(schema_lines ${CMAKE_SOURCE_DIR}/test/e2e/schema_lines.c)
target_link_libraries(schema_lines PRIVATE mr_schema)

# Signs requests by the product's code, for vectors of other hands.
add_executable(sigv4-sign ${CMAKE_SOURCE_DIR}/test/judges/sigv4_sign.c)
target_link_libraries(sigv4-sign PRIVATE mr_sink)
# Puts records by the product's sink alone, for tests that stand in AWS's place.
add_executable(kinesis-put ${CMAKE_SOURCE_DIR}/test/judges/kinesis_put.c)
target_link_libraries(kinesis-put PRIVATE mr_sink)
