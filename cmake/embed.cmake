# Files as read-only data of the program.
#
#   mr_embed(<target> <name> <folder> <files...>)
#
# adds to <target> a C file made at build time (generated/embed/<name>.c) with each file's bytes and,
# by path, a table of them; generated/embed/<name>.h declares both:
#   extern const unsigned char embed_<name>_<path, other characters as _>[<length>];
#   extern const struct mr_embedded mr_embedded_<name>[<count>];     (base/embed.h)
# Paths are relative to <folder>. Made anew when a file changes.

if(CMAKE_SCRIPT_MODE_FILE)
  # cmake -DNAME=… -DFOLDER=… -DOUT=… -DFILES=a|b -P embed.cmake
  string(REPLACE "|" ";" files "${FILES}")
  set(declared "")
  set(defined "")
  set(table "")
  set(count 0)
  foreach(file ${files})
    string(REGEX REPLACE "[^A-Za-z0-9]" "_" symbol "embed_${NAME}_${file}")
    file(READ ${FOLDER}/${file} hex HEX)
    string(LENGTH "${hex}" digits)
    math(EXPR length "${digits} / 2")
    if(length EQUAL 0)
      message(FATAL_ERROR "${file} is empty: it cannot be an array")
    endif()
    string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," hex "${hex}")
    string(APPEND declared "extern const unsigned char ${symbol}[${length}];\n")
    string(APPEND defined "const unsigned char ${symbol}[${length}] = {\n${hex}};\n")
    string(APPEND table "    {{\"${file}\", sizeof \"${file}\" - 1}, {(const char *)${symbol}, ${length}}},\n")
    math(EXPR count "${count} + 1")
  endforeach()
  string(TOUPPER "MR_EMBED_${NAME}_H" guard)
  file(WRITE ${OUT}/${NAME}.h "/* Made by cmake/embed.cmake. */\n#ifndef ${guard}\n#define ${guard}\n\n"
    "#include \"base/embed.h\"\n\n${declared}"
    "extern const struct mr_embedded mr_embedded_${NAME}[${count}];\n\n#endif\n")
  file(WRITE ${OUT}/${NAME}.c "/* Made by cmake/embed.cmake. */\n#include \"embed/${NAME}.h\"\n\n${defined}\n"
    "const struct mr_embedded mr_embedded_${NAME}[${count}] = {\n${table}};\n")
  return()
endif()

set(MR_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})

function(mr_embed target name folder)
  set(out ${CMAKE_BINARY_DIR}/generated/embed)
  set(depends "")
  foreach(file ${ARGN})
    list(APPEND depends ${folder}/${file})
  endforeach()
  string(REPLACE ";" "|" joined "${ARGN}")
  add_custom_command(
    OUTPUT ${out}/${name}.c ${out}/${name}.h
    COMMAND ${CMAKE_COMMAND} -DNAME=${name} -DFOLDER=${folder} -DOUT=${out} "-DFILES=${joined}"
            -P ${MR_EMBED_SCRIPT}
    DEPENDS ${depends} ${MR_EMBED_SCRIPT}
    VERBATIM)
  target_sources(${target} PRIVATE ${out}/${name}.c ${out}/${name}.h)
endfunction()
