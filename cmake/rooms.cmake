# Rooms of src/, bottom up. mr_room(name deps...) makes the library mr_<name> of src/<name>/.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET libssl>=3.0 libcrypto>=3.0)
pkg_check_modules(SODIUM REQUIRED IMPORTED_TARGET libsodium)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3>=3.40)
pkg_check_modules(CARES REQUIRED IMPORTED_TARGET libcares)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(YAML REQUIRED IMPORTED_TARGET yaml-0.1)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl)

function(mr_room name)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${name}/*.c
       ${CMAKE_SOURCE_DIR}/src/${name}/*/*.c)
  if(NOT sources)
    add_library(mr_${name} INTERFACE)
    target_link_libraries(mr_${name} INTERFACE mr_flags ${ARGN})
    return()
  endif()
  add_library(mr_${name} STATIC ${sources})
  target_link_libraries(mr_${name} PUBLIC mr_flags ${ARGN})
endfunction()

include(${CMAKE_CURRENT_LIST_DIR}/embed.cmake)

mr_room(base)
mr_room(os mr_base Threads::Threads ${CMAKE_DL_LIBS})
mr_room(loop mr_os mr_base)
mr_room(crypto mr_os mr_base PkgConfig::OPENSSL PkgConfig::SODIUM)
mr_room(json mr_base)
mr_room(event mr_json mr_base)
file(GLOB schemas RELATIVE ${CMAKE_SOURCE_DIR}/data/schemas CONFIGURE_DEPENDS
     ${CMAKE_SOURCE_DIR}/data/schemas/*.json)
mr_embed(mr_event schemas ${CMAKE_SOURCE_DIR}/data/schemas ${schemas})
mr_room(schema mr_json mr_base PkgConfig::PCRE2)
mr_embed(mr_schema meta ${CMAKE_SOURCE_DIR}/data/json-schema draft-07.json)
mr_room(route mr_event mr_json mr_base PkgConfig::PCRE2)
mr_room(deliver mr_base)
mr_room(auth mr_json mr_crypto mr_base PkgConfig::OPENSSL)
mr_room(model mr_route mr_schema mr_event mr_json mr_auth mr_crypto mr_base)
mr_room(journal mr_loop mr_crypto mr_os mr_base)
mr_room(ledger mr_journal mr_loop mr_crypto mr_os mr_base)
mr_room(net mr_loop mr_crypto mr_os mr_base PkgConfig::OPENSSL PkgConfig::CARES)
target_include_directories(mr_net PRIVATE ${CURL_INCLUDE_DIRS}) # opened when needed, not linked
mr_room(http mr_net mr_loop mr_os mr_base)
mr_room(sink mr_http mr_net mr_model mr_deliver mr_event mr_json mr_crypto mr_loop mr_base)
mr_room(dispatch mr_sink mr_deliver mr_ledger mr_journal mr_model mr_schema mr_json mr_loop mr_event mr_os mr_base)
mr_room(control mr_model mr_auth mr_ledger mr_route mr_schema mr_event mr_json mr_crypto mr_loop mr_os mr_base PkgConfig::SQLITE PkgConfig::SODIUM)
add_custom_command(
  OUTPUT ${CMAKE_BINARY_DIR}/generated/passwords/common.txt
  COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/generated/passwords
  COMMAND ${CMAKE_SOURCE_DIR}/tools/common-passwords
          ${CMAKE_BINARY_DIR}/generated/passwords/common.txt
  DEPENDS ${CMAKE_SOURCE_DIR}/tools/common-passwords
  VERBATIM)
mr_embed(mr_control passwords ${CMAKE_BINARY_DIR}/generated/passwords common.txt)
mr_room(mail mr_control mr_net mr_crypto mr_loop mr_os mr_base)
target_include_directories(mr_mail PRIVATE ${CURL_INCLUDE_DIRS})
mr_room(history mr_ledger mr_journal mr_os mr_base)
mr_room(api mr_history mr_control mr_dispatch mr_sink mr_http mr_ledger mr_model mr_auth mr_route mr_event mr_json mr_base)
mr_room(portal mr_http mr_base)
mr_room(server mr_portal mr_api mr_history mr_mail mr_control mr_dispatch mr_http mr_ledger mr_journal mr_model mr_auth mr_loop mr_os mr_base PkgConfig::YAML)
mr_room(cli mr_server mr_http mr_ledger mr_journal mr_schema mr_event mr_json mr_crypto mr_os mr_base)
target_include_directories(mr_cli PRIVATE ${CURL_INCLUDE_DIRS})
